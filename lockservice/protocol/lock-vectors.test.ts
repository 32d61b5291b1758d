import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  groupOf,
  LockItem,
  rangeGroupOf,
  VECTOR_HEADER_BYTES,
  VECTOR_ITEMS_MAX,
  VectorReader,
  VectorWriter,
} from './lock-vectors.js';
import type { VectorType } from './lock-vectors.js';
import { LOCK_GROUPS, MessageType } from './messages.js';

const u32 = fc.nat(0xffff_ffff);
const u64 = fc.maxSafeNat();
const PLAIN = [
  MessageType.request,
  MessageType.release,
  MessageType.cancel,
  MessageType.grant,
  MessageType.revoke,
  MessageType.refuse,
] as const;

/** An item as `type` carries it: what the message has no room for is left at 0. */
function itemOf(type: VectorType): fc.Arbitrary<LockItem> {
  const some =
    type === MessageType.request || type === MessageType.grant || type === MessageType.claim;
  const level = fc.integer({
    min: some ? 1 : 0,
    max:
      type === MessageType.cancel || type === MessageType.refuse
        ? 0
        : type === MessageType.revoke
          ? 1
          : 2,
  });
  const withGrant =
    type === MessageType.release || type === MessageType.revoke || type === MessageType.claim;
  return fc
    .record({
      table: u32,
      idHigh: u32,
      idLow: u32,
      aspect: fc.constantFrom(0, 1),
      level,
      noWait: type === MessageType.request ? fc.boolean() : fc.constant(false),
      keeps: type === MessageType.release ? fc.boolean() : fc.constant(false),
      why: type === MessageType.refuse ? fc.integer({ min: 1, max: 7 }) : fc.constant(1),
      epoch: type === MessageType.claim ? fc.constant(0) : u32,
      request: withGrant ? fc.constant(0) : u64,
      grant: withGrant || type === MessageType.grant ? u64 : fc.constant(0),
    })
    .map((fields) => Object.assign(new LockItem(), fields));
}

function add(writer: VectorWriter, item: LockItem): void {
  switch (writer.type) {
    case MessageType.request:
      return writer.addRequest(item);
    case MessageType.release:
      return writer.addRelease(item);
    case MessageType.cancel:
      return writer.addCancel(item);
    case MessageType.grant:
      return writer.addGrant(item);
    case MessageType.revoke:
      return writer.addRevoke(item);
    case MessageType.refuse:
      return writer.addRefuse(item);
    case MessageType.claim:
      return writer.addClaim(item);
  }
}

function readAll(reader: VectorReader): LockItem[] {
  const items: LockItem[] = [];
  while (reader.next()) items.push(Object.assign(new LockItem(), reader.item));
  return items;
}

describe('groups', () => {
  it('are dealt evenly, for dense ids too', () => {
    for (const stride of [1, 2, 512, 4096]) {
      const sizes = new Uint32Array(LOCK_GROUPS);
      for (let i = 0; i < 100_000; i++) {
        const group = groupOf(1, 0, i * stride);
        sizes[group] = sizes[group]! + 1;
      }
      expect(Math.min(...sizes)).toBeGreaterThan(850);
      expect(Math.max(...sizes)).toBeLessThan(1150);
    }
  });

  it('depend on every word of the name, and tables have range groups of their own', () => {
    const groups = (make: (i: number) => number): number =>
      new Set(Array.from({ length: 1000 }, (_, i) => make(i))).size;
    expect(groups((i) => groupOf(i, 0, 5))).toBe(LOCK_GROUPS);
    expect(groups((i) => groupOf(1, i, 5))).toBe(LOCK_GROUPS);
    expect(groups((i) => rangeGroupOf(i))).toBe(LOCK_GROUPS);
  });

  it('never change: every server and clerk must agree', () => {
    expect([groupOf(1, 0, 1), groupOf(1, 0, 2), groupOf(7, 0xffff_ffff, 0xffff_ffff)]).toEqual([
      83, 24, 86,
    ]);
    expect([rangeGroupOf(1), rangeGroupOf(2)]).toEqual([44, 30]);
  });
});

describe('a vector', () => {
  for (const type of PLAIN) {
    it(`of type ${type} reads as it was written`, () => {
      const writer = new VectorWriter(type);
      const reader = new VectorReader();
      const header = fc.record({ token: u64, clock: u64, fenceEpoch: u64 });
      fc.assert(
        fc.property(header, fc.array(itemOf(type), { maxLength: 40 }), (head, items) => {
          writer.clear();
          for (const item of items) add(writer, item);
          reader.open(type, writer.finish(head));
          const { token, clock, fenceEpoch, count } = reader;
          expect({ token, clock, fenceEpoch, count }).toEqual({ ...head, count: items.length });
          expect(readAll(reader)).toEqual(items);
        }),
        { numRuns: 40 },
      );
    });
  }

  it('of claims reads as it was written', () => {
    const writer = new VectorWriter(MessageType.claim);
    const reader = new VectorReader();
    const header = fc.record({
      token: u64,
      clock: u64,
      group: fc.nat(LOCK_GROUPS - 1),
      epoch: u32,
      attempt: fc.nat(0xffff),
      part: fc.nat(0xffff),
      last: fc.boolean(),
    });
    fc.assert(
      fc.property(header, fc.array(itemOf(MessageType.claim)), (head, items) => {
        writer.clear();
        for (const item of items) writer.addClaim(item);
        reader.open(MessageType.claim, writer.finishClaim(head));
        const { token, clock, group, epoch, attempt, part, last } = reader;
        expect({ token, clock, group, epoch, attempt, part, last }).toEqual(head);
        expect(readAll(reader)).toEqual(items);
      }),
    );
  });

  it('holds 65,536 items and not one more', () => {
    const writer = new VectorWriter(MessageType.request);
    const item = Object.assign(new LockItem(), { level: 1 });
    for (let i = 0; i < VECTOR_ITEMS_MAX; i++) writer.addRequest(item);
    expect(writer.full).toBe(true);
    expect(() => writer.addRequest(item)).toThrow('overfilled');
    const reader = new VectorReader();
    reader.open(MessageType.request, writer.finish({ token: 1, clock: 0, fenceEpoch: 0 }));
    expect(readAll(reader)).toHaveLength(VECTOR_ITEMS_MAX);
  });

  it('at an odd place of a larger buffer is read all the same', () => {
    const writer = new VectorWriter(MessageType.grant);
    writer.addGrant(Object.assign(new LockItem(), { level: 2, grant: 2 ** 52, request: 9 }));
    const body = writer.finish({ token: 3, clock: 4, fenceEpoch: 5 });
    const larger = new Uint8Array(body.length + 7);
    larger.set(body, 3);
    const reader = new VectorReader();
    reader.open(MessageType.grant, larger.subarray(3, 3 + body.length));
    expect(readAll(reader)[0]).toMatchObject({ level: 2, grant: 2 ** 52, request: 9 });
  });
});

const CLAIM_HEADER = { token: 1, clock: 1, group: 1, epoch: 1, attempt: 1, part: 0, last: true };

describe('a malformed vector', () => {
  /** A good vector of one item, changed by `spoil`. */
  function opened(type: VectorType, spoil: (view: DataView) => void, cut = 0): () => void {
    const writer = new VectorWriter(type);
    add(writer, Object.assign(new LockItem(), { level: levelOf(type), why: 1 }));
    const body =
      type === MessageType.claim
        ? writer.finishClaim(CLAIM_HEADER)
        : writer.finish({ token: 1, clock: 1, fenceEpoch: 1 });
    spoil(new DataView(body.buffer));
    return () => new VectorReader().open(type, body.subarray(0, body.length - cut));
  }
  const levelOf = (type: VectorType): number =>
    type === MessageType.cancel || type === MessageType.refuse ? 0 : 1;
  const item = VECTOR_HEADER_BYTES;
  const refused = expect.objectContaining({ code: 'PROTOCOL' });

  it('is refused: length, count, wide numbers', () => {
    const { request, grant } = MessageType;
    expect(opened(request, () => {})).not.toThrow();
    expect(opened(request, () => {}, 1)).toThrow(refused);
    expect(opened(request, () => {}, 40)).toThrow(refused);
    expect(opened(request, (view) => view.setUint32(24, 2, true))).toThrow(refused);
    expect(opened(request, (view) => view.setUint32(24, 65_537, true))).toThrow(refused);
    expect(opened(request, (view) => view.setUint8(28, 1))).toThrow(refused);
    for (const at of [4, 12, 20, item + 24, item + 32]) {
      expect(opened(grant, (view) => view.setUint32(at, 0x20_0000, true))).toThrow(refused);
    }
  });

  it('is refused: aspect, level, flags, reason, reserved bytes', () => {
    const types = [...PLAIN, MessageType.claim];
    for (const type of types) {
      const byte = (at: number, value: number): (() => void) =>
        opened(type, (view) => view.setUint8(item + at, value));
      expect(byte(12, 2)).toThrow(refused);
      expect(byte(13, 3)).toThrow(refused);
      expect(byte(14, 8)).toThrow(refused);
      expect(byte(15, 1)).toThrow(refused);
    }
    const level = (type: VectorType, value: number): (() => void) =>
      opened(type, (view) => view.setUint8(item + 13, value));
    expect(level(MessageType.request, 0)).toThrow(refused);
    expect(level(MessageType.grant, 0)).toThrow(refused);
    expect(level(MessageType.claim, 0)).toThrow(refused);
    expect(level(MessageType.revoke, 2)).toThrow(refused);
    expect(level(MessageType.cancel, 1)).toThrow(refused);
    expect(opened(MessageType.refuse, (view) => view.setUint8(item + 14, 0))).toThrow(refused);
  });

  it('is refused: group and parts of a claim', () => {
    const { claim } = MessageType;
    expect(opened(claim, (view) => view.setUint16(16, LOCK_GROUPS, true))).toThrow(refused);
    expect(opened(claim, (view) => view.setUint8(30, 2))).toThrow(refused);
    expect(opened(claim, (view) => view.setUint8(31, 1))).toThrow(refused);
    expect(opened(claim, (view) => view.setUint32(item + 16, 1, true))).toThrow(refused);
  });

  it('of arbitrary bytes throws nothing else', () => {
    const reader = new VectorReader();
    const types = fc.constantFrom(...PLAIN, MessageType.claim);
    fc.assert(
      fc.property(types, fc.uint8Array({ maxLength: 100 }), (type, bytes) => {
        try {
          reader.open(type, bytes);
        } catch (error) {
          expect(error).toEqual(refused);
        }
      }),
    );
  });
});
