/**
 * Codecs of every JSON body of the lock service: UTF-8 JSON, checked field by field when it comes in; what is not
 * such a message ends as PROTOCOL, and a lease out of bounds as OUT_OF_RANGE.
 */
import { SextantError } from '#core/errors.js';
import { flag, jsonCodec, list, lsn, object, oneOf, optional, text, u32 } from '#core/rpc/shape.js';
import type { Check } from '#core/rpc/shape.js';
import type * as M from './messages.js';
import { LOCK_GROUPS } from './messages.js';

/** Bounds of a lease that a clerk asks for. */
export const LEASE_MS_MIN = 500;
export const LEASE_MS_MAX = 600_000;
/** Of tables, clerks, kinds and owners. */
const NAME_CHARACTERS_MAX = 256;
const TABLES_PER_OPEN_MAX = 100;
const UNIX_PATH_BYTES_MAX = 107;

/** Names appear in listings and logs: printable, not empty, short. */
export const name: Check<string> = (value, path) => {
  const checked = text(value, path);
  if (checked.length === 0 || checked.length > NAME_CHARACTERS_MAX || /\p{Cc}/u.test(checked)) {
    throw new SextantError(
      'PROTOCOL',
      `${path}: 1 to ${NAME_CHARACTERS_MAX} printable characters expected`,
    );
  }
  return checked;
};
/** What a link can be made to: a bad one would else fail in a timer of whoever connects. */
export function isAddress(value: string): boolean {
  if (value.startsWith('unix:')) return Buffer.byteLength(value) - 5 <= UNIX_PATH_BYTES_MAX;
  const port = /^(?:\[[^\]\s]+\]|[^:\s]+):(\d{1,5})$/.exec(value)?.[1];
  return port !== undefined && Number(port) <= 65_535;
}
const address: Check<string> = (value, path) => {
  const checked = name(value, path);
  if (isAddress(checked)) return checked;
  throw new SextantError('PROTOCOL', `${path}: an address is host:port, not ${checked}`);
};
const group: Check<number> = (value, path) => {
  const number = u32(value, path);
  if (number < LOCK_GROUPS) return number;
  throw new SextantError('PROTOCOL', `${path}: group below ${LOCK_GROUPS} expected`);
};
/** Zero, negative, fractional, too short, too long: all the same to who asked. */
const lease: Check<number> = (value, path) => {
  const whole = typeof value === 'number' && Number.isInteger(value);
  if (whole && value >= LEASE_MS_MIN && value <= LEASE_MS_MAX) return value;
  throw new SextantError(
    'OUT_OF_RANGE',
    `${path}: a lease is ${LEASE_MS_MIN} to ${LEASE_MS_MAX} ms, not ${String(value)}`,
  );
};
const number: Check<number> = (value, path) => {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new SextantError('PROTOCOL', `${path}: number expected`);
};
const slot: Check<number> = (value, path) => (value === -1 ? -1 : u32(value, path));
/** Offsets of up to 2^63 as decimal text. */
const offset: Check<string> = (value, path) => {
  if (typeof value === 'string' && /^(0|[1-9]\d{0,18})$/.test(value)) return value;
  throw new SextantError('PROTOCOL', `${path}: decimal offset expected`);
};

export function orNull<T>(check: Check<T>): Check<T | null> {
  return (value, path) => (value === null ? null : check(value, path));
}

const nothing = object<Record<string, never>>({});
export const empty = jsonCodec('body', nothing);
/** For `{}` bodies. */
export const EMPTY_JSON: Uint8Array = new TextEncoder().encode('{}');

export const serverAddress = object<M.ServerAddress>({ id: name, address });
const groupEpoch = object<{ group: number; epoch: number }>({ group, epoch: u32 });

export const helloRequest = jsonCodec(
  'HELLO',
  object<M.HelloRequest>({
    protocol: u32,
    cluster: text,
    server: optional(name),
    role: oneOf('clerk', 'server', 'tool'),
    token: optional(lsn),
    from: optional(name),
  }),
);
export const helloAnswer = jsonCodec(
  'HELLO answer',
  object<M.HelloAnswer>({ protocol: u32, cluster: text, server: name, leader: orNull(name) }),
);

const map = object<M.GroupMap>({
  version: lsn,
  servers: list(serverAddress, 1000),
  groups: (value, path) => {
    const groups = list(object({ owner: orNull(name), epoch: u32 }), LOCK_GROUPS)(value, path);
    if (groups.length === LOCK_GROUPS) return groups;
    throw new SextantError('PROTOCOL', `${path}: ${LOCK_GROUPS} groups expected`);
  },
});
export const groupMap = jsonCodec('GROUPS answer', map);

const openTable = object<M.OpenTableRequest>({ name, create: flag });
const openedTable = object<M.OpenTableAnswer>({ name, table: u32 });
export const openClerkRequest = jsonCodec(
  'OPEN_CLERK',
  object<M.OpenClerkRequest>({
    name,
    kind: name,
    recovery: flag,
    leaseMs: optional(lease),
    tables: list(openTable, TABLES_PER_OPEN_MAX),
    nonce: name,
  }),
);
export const openClerkAnswer = jsonCodec(
  'OPEN_CLERK answer',
  object<M.OpenClerkAnswer>({
    token: lsn,
    leaseMs: lsn,
    slot,
    clockFloor: lsn,
    fenceEpoch: lsn,
    tables: list(openedTable, TABLES_PER_OPEN_MAX),
    map,
  }),
);
export const openTableRequest = jsonCodec('OPEN_TABLE', openTable);
export const openTableAnswer = jsonCodec('OPEN_TABLE answer', openedTable);
export const renewRequest = jsonCodec('RENEW', object<M.RenewRequest>({ token: lsn, clock: lsn }));
const recoveryTask = object<M.RecoveryTask>({
  dead: lsn,
  name,
  kind: name,
  slot,
  attempt: u32,
  state: oneOf('expired', 'fenced'),
});
export const renewAnswer = jsonCodec(
  'RENEW answer',
  object<M.RenewAnswer>({
    leaseMs: lsn,
    fenceEpoch: lsn,
    mapVersion: lsn,
    recoveries: list(recoveryTask, 1000),
  }),
);
export const closeClerkRequest = jsonCodec(
  'CLOSE_CLERK',
  object<M.CloseClerkRequest>({ token: lsn, clock: lsn }),
);
export const recoveryStepRequest = jsonCodec(
  'RECOVERY_STEP',
  object<M.RecoveryStepRequest>({
    demon: lsn,
    dead: lsn,
    attempt: u32,
    step: oneOf('fenced', 'recovered'),
    clock: lsn,
  }),
);
export const recoveryStepAnswer = jsonCodec(
  'RECOVERY_STEP answer',
  object<M.RecoveryStepAnswer>({ fenceEpoch: lsn }),
);
export const fenceList = jsonCodec(
  'FENCES answer',
  object<M.FenceList>({ fenceEpoch: lsn, tokens: list(lsn, 1_000_000) }),
);

export const serverBeatRequest = jsonCodec(
  'SERVER_BEAT',
  object<M.ServerBeatRequest>({ server: name, address, incarnation: name, leaves: optional(flag) }),
);
export const serverBeatAnswer = jsonCodec(
  'SERVER_BEAT answer',
  object<M.ServerBeatAnswer>({ leaseMs: lsn, index: lsn }),
);
export const gaveUpRequest = jsonCodec(
  'GAVE_UP',
  object<M.GaveUpRequest>({ server: name, groups: list(groupEpoch, LOCK_GROUPS) }),
);
export const expelRequest = jsonCodec(
  'EXPEL',
  object<M.ExpelRequest>({ server: name, token: lsn, why: text }),
);
export const rebuildRequest = jsonCodec(
  'REBUILD',
  object<M.RebuildRequest>({ server: name, groups: list(groupEpoch, LOCK_GROUPS) }),
);

const family = oneOf('posix', 'ofd', 'flock');
export const rangeRequest = jsonCodec(
  'RANGE',
  object<M.RangeRequest>({
    token: lsn,
    table: u32,
    idHigh: u32,
    idLow: u32,
    epoch: u32,
    op: oneOf('set', 'test', 'release-owner', 'cancel', 'claim'),
    family,
    owner: name,
    type: oneOf('read', 'write', 'unlock'),
    start: offset,
    end: offset,
    wait: flag,
    request: lsn,
    pid: lsn,
  }),
);
const rangeLock = {
  family,
  type: oneOf('read', 'write'),
  start: offset,
  end: offset,
  owner: name,
  pid: lsn,
} as const;
export const rangeAnswer = jsonCodec(
  'RANGE answer',
  object<M.RangeAnswer>({
    outcome: oneOf('granted', 'would-block', 'deadlock', 'cancelled', 'free'),
    blocker: optional(
      object<M.RangeLock & { readonly token: number }>({ ...rangeLock, token: lsn }),
    ),
  }),
);

type ClerkStatus = M.LockServerStatus['clerks'][number];
export const lockServerStatus = jsonCodec(
  'STATUS answer',
  object<M.LockServerStatus>({
    id: name,
    pid: lsn,
    state: oneOf('starting', 'follower', 'candidate', 'leader'),
    leader: orNull(name),
    term: lsn,
    commitIndex: lsn,
    appliedIndex: lsn,
    groups: u32,
    rebuilding: u32,
    locks: lsn,
    lockBytes: lsn,
    waiting: lsn,
    clerks: list(
      object<ClerkStatus>({
        token: lsn,
        name,
        kind: name,
        state: oneOf('live', 'expired', 'fenced', 'recovered'),
        leaseMsLeft: orNull(number),
      }),
    ),
    members: list(serverAddress, 1000),
  }),
);

export const listLocksRequest = jsonCodec(
  'LIST_LOCKS',
  object<M.ListLocksRequest>({ table: optional(name), hot: flag, limit: u32 }),
);
type Holder = M.ListedLock['holders'][number];
type Waiter = M.ListedLock['waiters'][number];
export const listLocksAnswer = jsonCodec(
  'LIST_LOCKS answer',
  object<M.ListLocksAnswer>({
    server: name,
    total: lsn,
    locks: list(
      object<M.ListedLock>({
        table: text,
        id: text,
        aspect: oneOf('content', 'life', 'range'),
        holders: list(
          object<Holder>({
            token: lsn,
            name: text,
            mode: text,
            heldMs: number,
            revokedMs: orNull(number),
          }),
        ),
        waiters: list(object<Waiter>({ token: lsn, name: text, mode: text, waitMs: number })),
        waits: lsn,
      }),
    ),
  }),
);
export const changeMembersRequest = jsonCodec(
  'CHANGE_MEMBERS',
  object<M.ChangeMembersRequest>({ add: optional(serverAddress), remove: optional(name) }),
);
