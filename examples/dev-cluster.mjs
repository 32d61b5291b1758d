// What the other examples share: a `sextant dev` cluster of their own in a temporary folder.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SEXTANT = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

/** Resolves once it takes queries: `{ url, data, status(), stop() }`. */
export async function startCluster() {
  const folder = mkdtempSync(join(tmpdir(), 'sextant-example-'));
  const port = String(await freePort());
  const args = [SEXTANT, 'dev', '--data', folder, '--port', port];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  process.once('exit', () => child.kill('SIGTERM'));
  const url = await new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`sextant dev ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('ready ')) resolve(line.slice('ready '.length));
    });
  });
  return {
    url,
    data: folder,
    status: () =>
      JSON.parse(execFileSync(process.execPath, [SEXTANT, 'status', '--data', folder, '--json'])),
    stop: async () => {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}
