import { describe, expect, it } from 'vitest';
import { isSextantError } from '#core/errors.js';
import * as codec from './control-codec.js';
import { LOCK_GROUPS } from './messages.js';

function bytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function refusalOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    return isSextantError(error) ? error.code : 'not a SextantError';
  }
  return 'nothing';
}

const OPEN = { name: 'host:1', kind: 'fs', recovery: true, tables: [], nonce: 'x' };

describe('control messages', () => {
  it('come back as they were, without the fields that they do not have', () => {
    const open = { ...OPEN, leaseMs: 500, tables: [{ name: 't', create: true }] };
    expect(codec.openClerkRequest.decode(bytes({ ...open, later: 1 }))).toEqual(open);
    const groups = Array.from({ length: LOCK_GROUPS }, () => ({ owner: null, epoch: 0 }));
    const map = { version: 3, servers: [{ id: 'a', address: 'a:1' }], groups };
    expect(codec.groupMap.decode(codec.groupMap.encode(map))).toEqual(map);
    for (const address of ['10.0.0.1:7201', '[::1]:7201', 'host.example:1', 'unix:/run/lock-1']) {
      const change = { add: { id: 'a', address } };
      expect(codec.changeMembersRequest.decode(bytes(change))).toEqual(change);
    }
  });

  it('are refused with PROTOCOL when a field is missing, of another type or too long', () => {
    const bad: [{ decode(body: Uint8Array): unknown }, unknown][] = [
      [codec.openClerkRequest, { ...OPEN, name: undefined }],
      [codec.openClerkRequest, { ...OPEN, name: '' }],
      [codec.openClerkRequest, { ...OPEN, name: 'a\nb' }],
      [codec.openClerkRequest, { ...OPEN, name: 'x'.repeat(257) }],
      [codec.openClerkRequest, { ...OPEN, tables: {} }],
      [codec.openTableRequest, { name: 'x'.repeat(300), create: true }],
      [codec.renewRequest, { token: -1, clock: 0 }],
      [codec.renewRequest, { token: 2 ** 60, clock: 0 }],
      [codec.recoveryStepRequest, { demon: 1, dead: 2, attempt: 1, step: 'else', clock: 0 }],
      [codec.gaveUpRequest, { server: 'a', groups: [{ group: LOCK_GROUPS, epoch: 1 }] }],
      [codec.groupMap, { version: 1, servers: [], groups: [] }],
      [codec.helloRequest, null],
      [codec.changeMembersRequest, { add: { id: 'a', address: 'nowhere' } }],
      [codec.changeMembersRequest, { add: { id: 'a', address: 'a:70000' } }],
      [
        codec.serverBeatRequest,
        { server: 'a', address: `unix:${'x'.repeat(108)}`, incarnation: 'i' },
      ],
    ];
    for (const [one, value] of bad)
      expect(refusalOf(() => one.decode(bytes(value)))).toBe('PROTOCOL');
    expect(refusalOf(() => codec.renewRequest.decode(new Uint8Array([0xff])))).toBe('PROTOCOL');
  });

  it('a lease out of bounds is OUT_OF_RANGE', () => {
    for (const leaseMs of [0, -1, 499, 600_001, 1.5, '1000', null]) {
      const read = () => codec.openClerkRequest.decode(bytes({ ...OPEN, leaseMs }));
      expect(refusalOf(read)).toBe('OUT_OF_RANGE');
    }
    expect(codec.openClerkRequest.decode(bytes({ ...OPEN, leaseMs: 500 })).leaseMs).toBe(500);
    expect(codec.openClerkRequest.decode(bytes(OPEN)).leaseMs).toBeUndefined();
  });
});
