/** Frames as the kernel writes them, and the answers to the byte, over a file system in memory and no device. */
import { describe, expect, it } from 'vitest';
import { MemoryVfs } from '#tests/vfs/memory-vfs.js';
import type { Answer } from './answer.js';
import { Call } from './call.js';
import { Dispatcher } from './dispatcher.js';
import { KernelView } from './kernel-view.js';
import { parseMountTable } from './mount-table.js';
import type { Notifier } from './notifier.js';
import { Opcode } from './protocol.js';

function stage(vfs = new MemoryVfs({ now: () => -1_999_999_993n })) {
  const sent: string[] = [];
  const log: string[] = [];
  const kernel = new KernelView({
    notifier: {} as Notifier,
    abort: () => undefined,
    resume: () => undefined,
    log: (line) => log.push(line),
  });
  kernel.namesKept = true;
  const dispatcher = new Dispatcher({
    vfs,
    kernel,
    send: (answer: Answer) => {
      sent.push(answer.bytes.subarray(0, answer.length).toString('hex'));
      return '';
    },
    ready: () => undefined,
    log: (line) => log.push(line),
  });
  const ask = (opcode: number, node: number, body: Buffer): string | undefined => {
    const header = Buffer.alloc(40);
    header.writeUInt32LE(40 + body.length, 0);
    header.writeUInt32LE(opcode, 4);
    header.writeUInt32LE(0x77, 8);
    header.writeUInt32LE(node, 16);
    Buffer.concat([header, body]).copy(dispatcher.buffer);
    dispatcher.frame(40 + body.length);
    return sent.pop();
  };
  return { vfs, log, kernel, dispatcher, ask };
}

function words(...values: number[]): Buffer {
  return Buffer.from(new Uint32Array(values).buffer);
}

describe('requests and answers', () => {
  it('INIT takes what both know', () => {
    const { ask } = stage();
    const answer = ask(
      Opcode.init,
      0,
      words(7, 99, 131_072, 0x7fff_ffff, 0xff, ...Array(11).fill(0)),
    );
    expect(answer?.slice(0, 56)).toBe('50000000000000007700000000000000070000002d00000000000200');
    expect(answer?.slice(64)).toBe(
      `80006000000010000100000000010000${'10000000'}${'00'.repeat(28)}`,
    );
    const flags = Buffer.from(answer?.slice(56, 64) ?? '', 'hex').readUInt32LE(0);
    expect(flags & (1 << 16)).toBe(0);
    expect(flags & (1 << 12)).not.toBe(0);
  });

  it('LOOKUP gives an entry, with times before 1970', () => {
    const { ask, vfs, kernel } = stage();
    const root = { uid: 0, gid: 0, groups: [], pid: 1 };
    vfs.setAttributes(1, { mode: 0o777 }, root);
    vfs.makeNode(1, Buffer.from('a'), 0o640, 0, { uid: 7, gid: 8, groups: [], pid: 1 });
    const answer = Buffer.from(ask(Opcode.lookup, 1, Buffer.from('a\0')) ?? '', 'hex');
    expect(answer.length).toBe(16 + 128);
    const at = (offset: number): number => answer.readUInt32LE(16 + offset);
    // Node 2, generation 1, names and attributes for a minute.
    expect([at(0), at(8), at(16), at(24), at(32), at(36)]).toEqual([2, 1, 60, 60, 0, 0]);
    expect([at(40), at(48)]).toEqual([2, 0]);
    expect([answer.readBigInt64LE(16 + 64), at(88)]).toEqual([-2n, 7]);
    expect([at(100), at(104), at(108), at(112), at(120)]).toEqual([0o100640, 1, 7, 8, 4096]);
    expect(kernel.inodeCount).toBe(1);
  });

  it('an unknown operation is ENOSYS, a file system that breaks is EIO and a line', () => {
    const { ask, log, vfs } = stage();
    expect(ask(63, 1, Buffer.alloc(0))).toBe('10000000daffffff7700000000000000');
    expect(ask(5000, 1, Buffer.alloc(0))).toBe('10000000daffffff7700000000000000');
    expect(ask(Opcode.ioctl, 1, Buffer.alloc(32))).toBe('10000000e7ffffff7700000000000000');
    vfs.readLink = () => {
      throw new Error('broken inside');
    };
    expect(ask(Opcode.readlink, 1, Buffer.alloc(0))).toBe('10000000fbffffff7700000000000000');
    expect(log.join()).toContain('broken inside');
  });

  it('counts lookups until they are forgotten', () => {
    const { ask, vfs, kernel } = stage();
    vfs.makeNode(1, Buffer.from('a'), 0o640, 0, { uid: 0, gid: 0, groups: [], pid: 1 });
    ask(Opcode.lookup, 1, Buffer.from('a\0'));
    ask(Opcode.lookup, 1, Buffer.from('a\0'));
    expect(kernel.inodeCount).toBe(1);
    expect(ask(Opcode.forget, 2, words(1, 0))).toBeUndefined();
    expect(kernel.inodeCount).toBe(1);
    expect(ask(Opcode.batchForget, 0, words(1, 0, 2, 0, 1, 0))).toBeUndefined();
    expect(kernel.inodeCount).toBe(0);
  });

  it('refuses a frame that is none', () => {
    const call = new Call();
    call.bytes.fill(0, 0, 64);
    expect(call.decode(39)).toBe(false);
    expect(call.decode(64)).toBe(false);
  });
});

describe('the mount table', () => {
  it('is read with its escapes', () => {
    const line = '36 35 0:52 / /a\\040b rw shared:1 - fuse.sextant sextant rw,user_id=0';
    expect(parseMountTable(`${line}\nnonsense\n`)).toEqual([
      { deviceMinor: 52, mountPoint: '/a b', type: 'fuse.sextant', source: 'sextant' },
    ]);
  });
});
