import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isSextantError } from '../../errors.js';
import { lockFolder } from './folder-lock.js';
import { realWorld } from './real-world.js';

const world = realWorld({ log: 'silent' });
let folder = '';

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sextant-world-'));
});
afterEach(() => fs.rmSync(folder, { recursive: true }));

function code(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    if (isSextantError(error)) return error.code;
    throw error;
  }
  return 'none';
}

describe('disk', () => {
  test('writes, reads, truncates, renames, lists and removes', () => {
    const { disk } = world;
    disk.makeFolder(`${folder}/a/b`);
    const file = disk.open(`${folder}/a/b/x`, { create: true });
    const bytes = new TextEncoder().encode('hello world');
    file.write(bytes, 6, 5, 0);
    file.write(bytes, 0, 5, 10);
    file.sync();
    expect(file.size()).toBe(15);
    const target = new Uint8Array(20);
    expect(file.read(target, 1, 18, 2)).toBe(13);
    expect(Buffer.from(target).toString('latin1')).toBe('\0rld\0\0\0\0\0hello\0\0\0\0\0\0');
    file.truncate(3);
    expect(file.size()).toBe(3);
    file.close();
    file.close();
    disk.rename(`${folder}/a/b/x`, `${folder}/a/y`);
    disk.syncFolder(`${folder}/a`);
    expect(disk.list(`${folder}/a`)).toEqual(['b', 'y']);
    expect(disk.exists(`${folder}/a/y`)).toBe(true);
    disk.remove(`${folder}/a`);
    expect(disk.list(`${folder}/a`)).toEqual([]);
    expect(disk.freeBytes(folder)).toBeGreaterThan(0);
  });

  test('errors have codes', () => {
    const { disk } = world;
    expect(code(() => disk.open(`${folder}/none`))).toBe('NOT_FOUND');
    expect(code(() => disk.remove(`${folder}/none`))).toBe('NOT_FOUND');
    expect(code(() => disk.rename(`${folder}/none`, `${folder}/x`))).toBe('NOT_FOUND');
    disk.open(`${folder}/x`, { create: true, exclusive: true }).close();
    expect(code(() => disk.open(`${folder}/x`, { create: true, exclusive: true }))).toBe(
      'DISK_FAILED',
    );
    expect(code(() => disk.lockFolder(`${folder}/none`))).toBe('NOT_FOUND');
    const full = disk.open('/dev/full');
    expect(code(() => full.write(new Uint8Array(10), 0, 10, 0))).toBe('DISK_FULL');
    full.close();
  });
});

describe('folder lock', () => {
  test.each([
    [true, true],
    [false, false],
    [true, false],
    [false, true],
  ])('flock %s excludes flock %s', (first, second) => {
    const held = lockFolder(folder, first);
    const link = `${folder}-link`;
    fs.symlinkSync(folder, link);
    try {
      let message = '';
      try {
        lockFolder(link, second);
      } catch (error) {
        message = `${isSextantError(error, 'FOLDER_LOCKED')} ${String(error)}`;
      }
      expect(message).toContain('true ');
      expect(message).toContain(link);
      expect(message).toContain(`process ${process.pid}`);
    } finally {
      fs.unlinkSync(link);
    }
    held.release();
    held.release();
    lockFolder(folder, second).release();
  });

  test('ends with the process that held it, however that dies', async () => {
    const require = `require(${JSON.stringify(path.resolve('node_modules/fs-ext'))})`;
    const script = `${require}.flockSync(require('fs').openSync(process.argv[1], 'w+'), 'exnb');
      require('fs').writeFileSync(process.argv[1], process.pid + '\\n');
      console.log('held'); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['-e', script, `${folder}/LOCK`]);
    const exited = new Promise((resolve) => child.once('exit', resolve));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    expect(() => world.disk.lockFolder(folder)).toThrow(`in use by process ${child.pid}`);
    child.kill('SIGKILL');
    await exited;
    world.disk.lockFolder(folder).release();
  });
});

describe('timers, clock and randomness', () => {
  test('timers fire in order, turns come after this one, sleeps can be cancelled', async () => {
    const seen: string[] = [];
    world.timers.after(1, () => seen.push('cancelled')).cancel();
    world.timers.turn(() => seen.push('turn'));
    seen.push('now');
    const before = world.clock.monotonicMs();
    await world.timers.sleep(5);
    expect(world.clock.monotonicMs() - before).toBeGreaterThan(3);
    expect(seen).toEqual(['now', 'turn']);
    const abort = new AbortController();
    const sleep = world.timers.sleep(10_000, abort.signal);
    abort.abort();
    await expect(sleep).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(world.timers.sleep(1, abort.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  test('random numbers stay in range and spread', () => {
    const counts = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 10_000; i++) counts[world.random.below(10)]!++;
    for (const count of counts) expect(count).toBeGreaterThan(800);
    expect(world.random.bytes(16)).toHaveLength(16);
    expect(world.random.bytes(16)).not.toEqual(world.random.bytes(16));
  });
});
