// A file system with the shape of node:fs/promises: files, streams, handles, attributes, watching, errors.
//
//   node examples/files.mjs
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { createGzip, gunzipSync } from 'node:zlib';
import { mount } from 'sextant/fs';
import { startCluster } from './dev-cluster.mjs';

const cluster = await startCluster();
// A file server within this program; the files are on the six storage nodes.
const fs = await mount({ data: cluster.data, umask: 0o022 });

// Whoever knows node:fs/promises knows this.
await fs.mkdir('/notes/2024', { recursive: true });
await fs.writeFile('/notes/2024/first.txt', 'Dear diary,\nit works.\n');
await fs.symlink('2024/first.txt', '/notes/latest');
console.log(await fs.readdir('/notes', { recursive: true }));
console.log('latest is', await fs.realpath('/notes/latest'));

// Handles: positions, parts, lines.
const letter = await fs.open('/notes/latest', 'r+');
await letter.write('reader', 5);
for await (const line of letter.readLines({ start: 0 })) console.log('>', line);

// Streams are Node's own.
await pipeline(
  fs.createReadStream('/notes/latest'),
  createGzip(),
  fs.createWriteStream('/notes/latest.gz'),
);
const text = gunzipSync(await fs.readFile('/notes/latest.gz'));
console.log('unzipped', createHash('sha256').update(text).digest('hex').slice(0, 8));

// Errors are Node's, too.
await fs.rmdir('/notes').catch((error) => console.log(error.code, error.syscall, error.path));

// Somebody watches while files come and go.
const stop = new AbortController();
const watching = (async () => {
  for await (const { eventType, filename } of fs.watch('/notes', { signal: stop.signal })) {
    console.log('seen', eventType, filename);
  }
})().catch((error) => console.log('watched until', error.name));
await new Promise(setImmediate);
await fs.cp('/notes/2024', '/notes/2025', { recursive: true, preserveTimestamps: true });
await fs.rm('/notes/2024', { recursive: true });
await new Promise(setImmediate);
stop.abort();
await watching;

// What Node has no words for.
await fs.extra.setXattr('/notes/2025/first.txt', 'user.mood', 'fine');
console.log('mood', String(await fs.extra.getXattr('/notes/2025/first.txt', 'user.mood')));
const file = await fs.open('/notes/2025/first.txt', 'r+');
await file.extra.lock({ start: 0, end: 5 });
console.log('locked', (await file.stat()).size, 'bytes');
await file.close();

await fs.unmount();

// What was written stays: here another server reads it, as would `sextant mount` or another program.
const again = await mount({ data: cluster.data });
console.log('read again:', String(await again.readFile('/notes/2025/first.txt')).split('\n')[0]);
await again.unmount();
await cluster.stop();
