/**
 * JSON bodies of COORD_WRITE, COORD_READ and COORD_EVENT, and the command of the replicated state.
 *
 * | message     | from -> to      | body                                                                       |
 * |-------------|-----------------|----------------------------------------------------------------------------|
 * | COORD_WRITE | clerk -> leader | WriteRequest -> WriteAnswer                                                |
 * | COORD_READ  | clerk -> leader | ReadRequest -> ReadAnswer: all reads as of one index; watches set and taken back |
 * | COORD_EVENT | leader -> clerk | WatchEvents: those that fired just now                                     |
 *
 * Data is base64 everywhere, in the tree too: it is decoded only by the client that wants it.
 *
 * Watches. The client numbers its watches. The leader keeps them per clerk in a *stream*, a random number that a new
 * leader, or the end of the connection, replaces; events are numbered within it from 1. A request says what was seen
 * of which stream; each answer carries every event of the stream that was not seen yet. So an event that was pushed
 * and lost comes with the next answer at the latest, before anything later can be read; and a client that meets
 * another stream than the one its watches are in sets them again.
 */
import type { ErrorCode } from '#core/errors.js';
import { SextantError } from '#core/errors.js';
import { flag, jsonCodec, list, lsn, object, oneOf, optional, text, u32 } from '#core/rpc/shape.js';
import type { Check } from '#core/rpc/shape.js';

export const DATA_BYTES_MAX = 1024 * 1024;
/** Of one request, base64 and JSON included; one operation with the largest data fits well. */
export const REQUEST_BYTES_MAX = 4 * 1024 * 1024;
/** Characters of data and names in one answer. */
export const ANSWER_CHARACTERS_MAX = 16 * 1024 * 1024;
export const OPERATIONS_MAX = 1000;
export const READS_MAX = 1000;
/** Of one clerk. */
export const WATCHES_MAX = 10_000;
/** Writes of one clerk that may be on their way at a time; so many results are kept for it. */
export const UNANSWERED_MAX = 128;

/** What a node is, apart from its data. Indices are those of the Raft log (ZooKeeper's czxid, mzxid, pzxid). */
export interface NodeStat {
  readonly createdIndex: number;
  readonly changedIndex: number;
  /** Of the last creation or deletion of a child; at first its own. */
  readonly childrenIndex: number;
  /** How often the data was set since the creation. */
  readonly version: number;
  /** How many children were made or deleted. */
  readonly childrenVersion: number;
  /** The clerk whose end is this node's end; 0: it stays. */
  readonly owner: number;
  readonly dataBytes: number;
  readonly children: number;
}

export type Operation = CreateOperation | SetOperation | DeleteOperation | CheckOperation;
/** EXISTS, NOT_FOUND (no parent), PROTOCOL (below an ephemeral node), OVERLOADED. */
export interface CreateOperation {
  readonly op: 'create';
  readonly path: string;
  readonly data: string;
  readonly ephemeral: boolean;
  /** Ten digits, a counter of the parent, are appended to the path. */
  readonly sequential: boolean;
}
/** NOT_FOUND; CONFLICT when `version` is given and is another; OVERLOADED. */
export interface SetOperation {
  readonly op: 'set';
  readonly path: string;
  readonly data: string;
  readonly version?: number;
}
/** NOT_FOUND, CONFLICT, NOT_EMPTY. */
export interface DeleteOperation {
  readonly op: 'delete';
  readonly path: string;
  readonly version?: number;
}
/** Changes nothing: NOT_FOUND, CONFLICT. */
export interface CheckOperation {
  readonly op: 'check';
  readonly path: string;
  readonly version?: number;
}

/** A write as it stands in the Raft log. */
export interface CoordinationCommand {
  readonly token: number;
  /** 1 for a clerk's first write, then one more each. */
  readonly sequence: number;
  /** The clerk has the answers of all writes up to here. */
  readonly acknowledged: number;
  /** All or nothing. */
  readonly operations: readonly Operation[];
}

export interface OperationResult {
  /** With the digits of a sequential node. */
  readonly path: string;
  /** null of a deleted node. */
  readonly stat: NodeStat | null;
}
/** `gap`: a write before it has not come in; nothing was changed, send again from `expected` on. */
export type WriteOutcome =
  | { readonly kind: 'done'; readonly index: number; readonly results: readonly OperationResult[] }
  | {
      readonly kind: 'refused';
      readonly index: number;
      /** Which operation; the ones before it were taken back. */
      readonly failed: number;
      readonly code: RefusalCode;
      readonly message: string;
    }
  | { readonly kind: 'gap'; readonly expected: number };

const REFUSALS = [
  'NOT_FOUND',
  'EXISTS',
  'CONFLICT',
  'NOT_EMPTY',
  'OVERLOADED',
  'OUT_OF_RANGE',
  'PROTOCOL',
] as const satisfies readonly ErrorCode[];
export type RefusalCode = (typeof REFUSALS)[number];

export interface WatchState {
  /** 0: none. */
  readonly stream: number;
  /** Every event of the stream up to here was seen. */
  readonly seen: number;
}
export interface WriteRequest extends WatchState {
  readonly sequence: number;
  readonly acknowledged: number;
  readonly operations: readonly Operation[];
}
export interface WriteAnswer {
  readonly outcome: WriteOutcome;
  readonly watch: WatchEvents;
}

export interface ReadOperation {
  /** `stat` without the data, `children` the names, sorted. */
  readonly op: 'get' | 'stat' | 'children';
  readonly path: string;
}
/**
 * | watches     | set on a node that is there        | set where none is     |
 * |-------------|------------------------------------|-----------------------|
 * | `data`      | fires when it is set or deleted    | when one is created   |
 * | `existence` | when it is deleted                 | when one is created   |
 * | `children`  | when a child or it comes or goes   | when one is created   |
 *
 * It fires once, and at once when that happened after `since`.
 */
export type WatchKind = 'data' | 'existence' | 'children';
export interface WatchRequest {
  readonly id: number;
  readonly kind: WatchKind;
  readonly path: string;
  /** What its setter saw at index `since`. */
  readonly present: boolean;
  readonly since: number;
}
export interface ReadRequest extends WatchState {
  readonly reads: readonly ReadOperation[];
  readonly watches: readonly WatchRequest[];
  /** Ids of watches that nobody waits for any more. */
  readonly unwatch: readonly number[];
}
export interface ReadResult {
  readonly stat: NodeStat | null;
  /** Of `get`. */
  readonly data?: string;
  /** Of `children`. */
  readonly names?: readonly string[];
}
export interface ReadAnswer {
  /** The last write that the reads see. */
  readonly index: number;
  /** As many as reads; a node that is not there has the stat null. */
  readonly results: readonly ReadResult[];
  readonly watch: WatchEvents;
}

export type EventKind = 'created' | 'deleted' | 'changed' | 'children';
export interface WatchEvent {
  readonly number: number;
  /** The watch's id. */
  readonly watch: number;
  readonly kind: EventKind;
  /** Of the write that did it; when it was missed, of the state that was found. */
  readonly index: number;
}
export interface WatchEvents {
  readonly stream: number;
  /** In order; without gaps after what the request had seen. */
  readonly events: readonly WatchEvent[];
}

/** Base64 of at most DATA_BYTES_MAX bytes. */
const data: Check<string> = (value, path) => {
  if (
    typeof value !== 'string' ||
    value.length % 4 !== 0 ||
    !/^[A-Za-z0-9+/]*={0,2}$/.test(value)
  ) {
    throw new SextantError('PROTOCOL', `${path}: base64 expected`);
  }
  if (base64Bytes(value) > DATA_BYTES_MAX) {
    throw new SextantError('OUT_OF_RANGE', `${path}: data of a node is at most 1 MiB`);
  }
  return value;
};
/** What a leader answers may be longer than what it takes: paths of 1024 characters with ten digits. */
const anyData: Check<string> = (value, path) => {
  if (typeof value === 'string') return value;
  throw new SextantError('PROTOCOL', `${path}: base64 expected`);
};

/** Decoded length of canonical base64. */
export function base64Bytes(text: string): number {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return (text.length / 4) * 3 - padding;
}

const createOperation = object<CreateOperation>({
  op: oneOf('create'),
  path: text,
  data,
  ephemeral: flag,
  sequential: flag,
});
const setOperation = object<SetOperation>({
  op: oneOf('set'),
  path: text,
  data,
  version: optional(lsn),
});
const deleteOperation = object<DeleteOperation>({
  op: oneOf('delete'),
  path: text,
  version: optional(lsn),
});
const checkOperation = object<CheckOperation>({
  op: oneOf('check'),
  path: text,
  version: optional(lsn),
});
const operationName = object<{ op: Operation['op'] }>({
  op: oneOf('create', 'set', 'delete', 'check'),
});

const operation: Check<Operation> = (value, path) => {
  switch (operationName(value, path).op) {
    case 'create':
      return createOperation(value, path);
    case 'set':
      return setOperation(value, path);
    case 'delete':
      return deleteOperation(value, path);
    case 'check':
      return checkOperation(value, path);
  }
};

const operations: Check<readonly Operation[]> = (value, path) => {
  const found = list(operation, OPERATIONS_MAX)(value, path);
  if (found.length > 0) return found;
  throw new SextantError('PROTOCOL', `${path}: a write without operations`);
};

/** Of a command in the Raft log. */
export const coordinationCommand = object<CoordinationCommand>({
  token: lsn,
  sequence: lsn,
  acknowledged: lsn,
  operations,
});

const stat = object<NodeStat>({
  createdIndex: lsn,
  changedIndex: lsn,
  childrenIndex: lsn,
  version: lsn,
  childrenVersion: lsn,
  owner: lsn,
  dataBytes: u32,
  children: u32,
});
const statOrNull: Check<NodeStat | null> = (value, path) =>
  value === null ? null : stat(value, path);

const done = object<WriteOutcome & { kind: 'done' }>({
  kind: oneOf('done'),
  index: lsn,
  results: list(object<OperationResult>({ path: text, stat: statOrNull })),
});
const refused = object<WriteOutcome & { kind: 'refused' }>({
  kind: oneOf('refused'),
  index: lsn,
  failed: u32,
  code: oneOf(...REFUSALS),
  message: text,
});
const gap = object<WriteOutcome & { kind: 'gap' }>({ kind: oneOf('gap'), expected: lsn });
const outcomeKind = object<{ kind: WriteOutcome['kind'] }>({
  kind: oneOf('done', 'refused', 'gap'),
});

export const writeOutcome: Check<WriteOutcome> = (value, path) => {
  switch (outcomeKind(value, path).kind) {
    case 'done':
      return done(value, path);
    case 'refused':
      return refused(value, path);
    case 'gap':
      return gap(value, path);
  }
};

const watchEvents = object<WatchEvents>({
  stream: lsn,
  events: list(
    object<WatchEvent>({
      number: lsn,
      watch: lsn,
      kind: oneOf('created', 'deleted', 'changed', 'children'),
      index: lsn,
    }),
  ),
});

export const writeRequest = jsonCodec(
  'COORD_WRITE',
  object<WriteRequest>({ stream: lsn, seen: lsn, sequence: lsn, acknowledged: lsn, operations }),
);
export const writeAnswer = jsonCodec(
  'COORD_WRITE answer',
  object<WriteAnswer>({ outcome: writeOutcome, watch: watchEvents }),
);
export const readRequest = jsonCodec(
  'COORD_READ',
  object<ReadRequest>({
    stream: lsn,
    seen: lsn,
    reads: list(
      object<ReadOperation>({ op: oneOf('get', 'stat', 'children'), path: text }),
      READS_MAX,
    ),
    watches: list(
      object<WatchRequest>({
        id: lsn,
        kind: oneOf('data', 'existence', 'children'),
        path: text,
        present: flag,
        since: lsn,
      }),
      WATCHES_MAX,
    ),
    unwatch: list(lsn, WATCHES_MAX),
  }),
);
export const readAnswer = jsonCodec(
  'COORD_READ answer',
  object<ReadAnswer>({
    index: lsn,
    results: list(
      object<ReadResult>({
        stat: statOrNull,
        data: optional(anyData),
        names: optional(list(text)),
      }),
    ),
    watch: watchEvents,
  }),
);
export const watchEventsBody = jsonCodec('COORD_EVENT', watchEvents);
