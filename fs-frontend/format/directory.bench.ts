/**
 * What a file server does with cached blocks: `npx vitest bench fs-frontend/format`. Each operation is one transaction with its log
 * record, over a directory of a million entries.
 */
import { bench, describe } from 'vitest';
import { insertEntry, listEntries, lookupEntry, removeEntry } from './directory.js';
import { S_IFREG, changeInode, eraseInode, initInode, readAttributes } from './inode.js';
import { Bench } from './memory-blocks.test-helper.js';
import { writeSmall } from './small-content.js';

const ENTRIES = 1_000_000;
const names = Array.from(
  { length: ENTRIES },
  (_, i) => new Uint8Array(Buffer.from(`file-${i}.txt`)),
);
const more = Array.from({ length: 1000 }, (_, i) => new Uint8Array(Buffer.from(`more-${i}`)));

function fill(): { world: Bench; header: ReturnType<Bench['makeInode']> } {
  const world = new Bench(2);
  world.log.keep = false;
  const header = world.makeInode(2, true);
  const start = performance.now();
  for (let i = 0; i < ENTRIES; i++) {
    world.run(() => insertEntry(world.tx, header, names[i], i + 100, 1, S_IFREG));
  }
  const us = ((performance.now() - start) * 1000) / ENTRIES;
  const logBytes = Math.round(world.log.bytes / ENTRIES);
  console.log(`filled: ${us.toFixed(2)} us and ${logBytes} bytes of log an insert`);
  return { world, header };
}

const { world, header } = fill();
const file = world.makeInode(77, false);
const content = new Uint8Array(4096).fill(7);
let next = 0;

describe('a million entries', () => {
  bench('lookup', () => {
    next = (next + 7919) % ENTRIES;
    lookupEntry(world.source, header, names[next]);
  });

  bench('insert and remove', () => {
    next = (next + 1) % more.length;
    world.run(() => insertEntry(world.tx, header, more[next], 5, 1, S_IFREG));
    world.run(() => removeEntry(world.tx, header, more[next]));
  });

  bench('list 100 entries', () => {
    next = (next + 7919) % ENTRIES;
    listEntries(world.source, header, next * 2 ** 28, 100);
  });
});

describe('inodes', () => {
  const now = { sec: 1_700_000_000, nsec: 5 };
  const init = { generation: 7, mode: S_IFREG | 0o644, nlink: 1, uid: 1, gid: 1, rdev: 0, now };

  bench('create and unlink a file', () => {
    next = (next + 1) % more.length;
    let ino = 0;
    world.run(() => {
      ino = world.allocator.inode(2);
      initInode(world.tx, ino, { ...init, project: 0, parent: 0, seed: 0 });
      insertEntry(world.tx, header, more[next], ino, 7, S_IFREG);
      changeInode(world.tx, header, { mtime: now, ctime: now });
    });
    world.run(() => {
      removeEntry(world.tx, header, more[next]);
      changeInode(world.tx, header, { mtime: now, ctime: now });
      eraseInode(world.tx, world.source.get(3, ino * 16, ino));
      world.allocator.freeInode(ino);
    });
  });

  bench('write 4 KiB into a small file', () => {
    world.run(() => {
      writeSmall(world.tx, file, 0, content, 0, 4096);
      changeInode(world.tx, file, { mtime: now, ctime: now });
    });
  });

  bench('read attributes', () => {
    readAttributes(header);
  });
});
