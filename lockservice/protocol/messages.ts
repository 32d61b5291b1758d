/**
 * The wire protocol of the lock service: message types, shapes, and who sends what.
 *
 * | type | name           | kind | from -> to       | body                                                     |
 * |------|----------------|------|------------------|----------------------------------------------------------|
 * |   1  | HELLO          | call | any -> server    | JSON HelloRequest -> HelloAnswer                          |
 * |  10  | RAFT           | push | server -> server | one message of the Raft group (lockservice/raft)          |
 * |  20  | OPEN_CLERK     | call | clerk -> leader  | JSON OpenClerkRequest -> OpenClerkAnswer                   |
 * |  21  | RENEW          | call | clerk -> leader  | JSON RenewRequest -> RenewAnswer                           |
 * |  22  | CLOSE_CLERK    | call | clerk -> leader  | JSON CloseClerkRequest -> {}                               |
 * |  23  | OPEN_TABLE     | call | clerk -> leader  | JSON OpenTableRequest -> OpenTableAnswer                   |
 * |  24  | GROUPS         | call | any -> server    | {} -> JSON GroupMap                                        |
 * |  25  | RECOVERY_STEP  | call | clerk -> leader  | JSON RecoveryStepRequest -> RecoveryStepAnswer             |
 * |  26  | SERVER_BEAT    | call | server -> leader | JSON ServerBeatRequest -> ServerBeatAnswer (rule 4)        |
 * |  27  | GAVE_UP        | call | server -> leader | JSON GaveUpRequest -> {}: phase 1 of a move is done        |
 * |  28  | EXPEL          | call | server -> leader | JSON ExpelRequest -> {}: no answer to a revoke             |
 * |  29  | FENCES         | call | clerk -> leader  | {} -> JSON FenceList (rule 12)                             |
 * |  40  | REQUEST        | push | clerk -> server  | LockVector of RequestItem                                 |
 * |  41  | RELEASE        | push | clerk -> server  | LockVector of ReleaseItem                                 |
 * |  42  | CANCEL         | push | clerk -> server  | LockVector of CancelItem                                  |
 * |  43  | CLAIM          | push | clerk -> server  | ClaimHeader + ClaimItem: the answer to REBUILD            |
 * |  44  | GRANT          | push | server -> clerk  | LockVector of GrantItem                                   |
 * |  45  | REVOKE         | push | server -> clerk  | LockVector of RevokeItem                                  |
 * |  46  | REFUSE         | push | server -> clerk  | LockVector of RefuseItem                                  |
 * |  47  | REBUILD        | push | server -> clerk  | JSON RebuildRequest (rule 5)                               |
 * |  50  | RANGE          | call | clerk -> server  | JSON RangeRequest -> RangeAnswer; waits as long as asked   |
 * |  60  | COORD_WRITE    | call | clerk -> leader  | JSON (lockservice/coordination)                            |
 * |  61  | COORD_READ     | call | clerk -> leader  | JSON                                                      |
 * |  62  | COORD_EVENT    | push | leader -> clerk  | JSON: a watch fires                                       |
 * |  80  | STATUS         | call | any -> server    | {} -> JSON LockServerStatus                               |
 * |  81  | LIST_LOCKS     | call | tool -> server   | JSON ListLocksRequest -> ListLocksAnswer                  |
 * |  82  | CHANGE_MEMBERS | call | tool -> leader   | JSON ChangeMembersRequest -> {}                           |
 *
 * Numbers are never reused. A call that only the leader can answer is refused elsewhere with NOT_LEADER, whose message
 * ends in `leader=<id>` when the leader is known. Pushes may be lost: whoever waits for their effect sends them again,
 * and whoever gets one twice answers twice.
 */

export const MessageType = {
  hello: 1,
  raft: 10,
  openClerk: 20,
  renew: 21,
  closeClerk: 22,
  openTable: 23,
  groups: 24,
  recoveryStep: 25,
  serverBeat: 26,
  gaveUp: 27,
  expel: 28,
  fences: 29,
  request: 40,
  release: 41,
  cancel: 42,
  claim: 43,
  grant: 44,
  revoke: 45,
  refuse: 46,
  rebuild: 47,
  range: 50,
  coordWrite: 60,
  coordRead: 61,
  coordEvent: 62,
  status: 80,
  listLocks: 81,
  changeMembers: 82,
} as const;

export const PROTOCOL_VERSION = 1;
/** Locks are dealt to servers in so many groups (papers: FR 5). */
export const LOCK_GROUPS = 100;
/** Range locks of one table live in one group, so that its server sees every cycle of waits. */
export const RANGE_GROUP_SALT = 0x52414e47;

export interface HelloRequest {
  readonly protocol: number;
  readonly cluster: string;
  /** The server that the caller means to reach; refused with WRONG_CLUSTER when it is another. */
  readonly server?: string;
  readonly role: 'clerk' | 'server' | 'tool';
  /** Of a clerk that has opened: this connection is where its grants, revokes and rebuilds go. */
  readonly token?: number;
  /** Of a server. */
  readonly from?: string;
}
export interface HelloAnswer {
  readonly protocol: number;
  readonly cluster: string;
  readonly server: string;
  /** Id of the Raft leader as far as it knows. */
  readonly leader: string | null;
}

export interface ServerAddress {
  readonly id: string;
  readonly address: string;
}

/** Who serves which lock group; a map with a higher version replaces one with a lower. */
export interface GroupMap {
  /** Raft index of the entry that made it. */
  readonly version: number;
  readonly servers: readonly ServerAddress[];
  /** LOCK_GROUPS entries: owner's id (null while it moves) and epoch. */
  readonly groups: readonly { readonly owner: string | null; readonly epoch: number }[];
}

export interface OpenClerkRequest {
  /** For people, as in `host:pid`. */
  readonly name: string;
  /** Clerks of one kind recover one another, as in `fs/default`. */
  readonly kind: string;
  /** Its locks pass on only when a demon has recovered it; else as soon as it has expired. */
  readonly recovery: boolean;
  /** The lease it asks for; refused with OUT_OF_RANGE unless 500..600,000. Absent: the service's own. */
  readonly leaseMs?: number;
  readonly tables: readonly OpenTableRequest[];
  /** Random; a repeated request with the same nonce answers the same token. */
  readonly nonce: string;
}
export interface OpenClerkAnswer {
  readonly token: number;
  readonly leaseMs: number;
  /** 0..255, of kinds with recovery: which log it may use; -1 without. */
  readonly slot: number;
  readonly clockFloor: number;
  readonly fenceEpoch: number;
  readonly tables: readonly OpenTableAnswer[];
  readonly map: GroupMap;
}
export interface OpenTableRequest {
  readonly name: string;
  /** Else an unknown name is refused with UNKNOWN_TABLE. */
  readonly create: boolean;
}
export interface OpenTableAnswer {
  readonly name: string;
  readonly table: number;
}
export interface RenewRequest {
  readonly token: number;
  readonly clock: number;
}
export interface RenewAnswer {
  /** Counted from when the clerk *sent* the renewal (rule 6). */
  readonly leaseMs: number;
  readonly fenceEpoch: number;
  readonly mapVersion: number;
  /** Dead clerks that this one is to recover. */
  readonly recoveries: readonly RecoveryTask[];
}
/** The locks are free for others when it is answered; nothing is left to recover. */
export interface CloseClerkRequest {
  readonly token: number;
  readonly clock: number;
}

export interface RecoveryTask {
  readonly dead: number;
  readonly name: string;
  readonly kind: string;
  readonly slot: number;
  /** Of this assignment: grows with each demon that is set on the same dead clerk. */
  readonly attempt: number;
  readonly state: 'expired' | 'fenced';
}
export interface RecoveryStepRequest {
  readonly demon: number;
  readonly dead: number;
  readonly attempt: number;
  readonly step: 'fenced' | 'recovered';
  /** Largest clock that was met: it raises the floor (rule 2). */
  readonly clock: number;
}
export interface RecoveryStepAnswer {
  readonly fenceEpoch: number;
}
export interface FenceList {
  readonly fenceEpoch: number;
  readonly tokens: readonly number[];
}

export interface ServerBeatRequest {
  readonly server: string;
  readonly address: string;
  /** Random at each start of the process: a new one has none of the old one's lock state. */
  readonly incarnation: string;
  /** It serves no more and is about to end: its groups may go to others at once. */
  readonly leaves?: boolean;
}
export interface ServerBeatAnswer {
  /** Counted from when the beat was sent: how long it may serve the groups it owns. */
  readonly leaseMs: number;
  /** Counts only once the server has applied so much of the Raft log: it may own less than it knows. */
  readonly index: number;
}
export interface GaveUpRequest {
  readonly server: string;
  readonly groups: readonly { readonly group: number; readonly epoch: number }[];
}
export interface ExpelRequest {
  readonly server: string;
  readonly token: number;
  readonly why: string;
}

/** `destroy` conflicts only with `open` and `destroy`, `exclusive` only with `shared` and `exclusive` (rule 7). */
export type LockMode = 'shared' | 'exclusive' | 'open' | 'destroy';
/**
 * Two aspects of one id, each a multiple-reader/single-writer lock: `content` (shared, exclusive) and `life` (open = its
 * shared, destroy = its exclusive).
 */
export const Aspect = { content: 0, life: 1 } as const;
export type Aspect = (typeof Aspect)[keyof typeof Aspect];
export const Level = { none: 0, shared: 1, exclusive: 2 } as const;
export type Level = (typeof Level)[keyof typeof Level];

/** A lock: u32 table, u64 id in two halves, aspect. */
export interface LockName {
  readonly table: number;
  readonly idHigh: number;
  readonly idLow: number;
  readonly aspect: Aspect;
}

/**
 * `grant` numbers are epoch * 2^32 + counter of the group (safe below 2^53): unique for ever within a group, so that a revoke
 * or release of an older grant is known as such. `request` numbers count up within a clerk.
 */
export interface RequestItem extends LockName {
  readonly level: Level;
  /** Of the lock's group as the clerk knows it. */
  readonly epoch: number;
  readonly request: number;
  /** Refused with CONFLICT instead of waiting, once holders have said that they keep it. */
  readonly noWait: boolean;
}
export interface CancelItem extends LockName {
  readonly epoch: number;
  readonly request: number;
}
export interface ReleaseItem extends LockName {
  readonly epoch: number;
  readonly grant: number;
  /** What the clerk still holds. Equal to what it held: a revoke is answered "in use, later" (`keeps`). */
  readonly level: Level;
  /** True: it holds on; who does not wait is refused, who waits goes on waiting. */
  readonly keeps: boolean;
}
export interface GrantItem extends LockName {
  readonly level: Level;
  readonly epoch: number;
  readonly request: number;
  readonly grant: number;
}
export interface RevokeItem extends LockName {
  readonly epoch: number;
  readonly grant: number;
  /** What it may keep: none or shared. */
  readonly level: Level;
}
export interface RefuseItem extends LockName {
  readonly epoch: number;
  readonly request: number;
  readonly why: RefuseCode;
}
export const RefuseCode = {
  /** Another server owns the group: fetch the map. */
  wrongGroup: 1,
  /** noWait, and somebody holds on. */
  conflict: 2,
  /** The token has expired or never was. */
  fenced: 3,
  unknownTable: 4,
  /** Too many requests wait. */
  overloaded: 5,
  /** The server has not heard of the token or the group's new epoch yet: ask again soon. */
  notReady: 6,
  malformed: 7,
} as const;
export type RefuseCode = (typeof RefuseCode)[keyof typeof RefuseCode];

/** Header of each vector. `clock`: rule 2. `fenceEpoch`: rule 12; 0 from clerks in REQUEST. */
export interface VectorHeader {
  readonly token: number;
  readonly clock: number;
  readonly fenceEpoch: number;
}

export interface RebuildRequest {
  readonly server: string;
  readonly groups: readonly { readonly group: number; readonly epoch: number }[];
}
/** One CLAIM message a group, in parts of at most 65,536 locks; the last part says so. */
export interface ClaimHeader {
  readonly token: number;
  readonly group: number;
  readonly epoch: number;
  readonly clock: number;
  /** Modulo 2^16; each answer to a REBUILD is a new one, and parts of different attempts never make up a whole. */
  readonly attempt: number;
  readonly part: number;
  readonly last: boolean;
}
export interface ClaimItem extends LockName {
  readonly level: Level;
  readonly grant: number;
}

/** Byte ranges as in fcntl(2) and flock(2); `end` is exclusive, 2^63 means "to the end of the file". Offsets are decimal text. */
export interface RangeRequest {
  readonly token: number;
  readonly table: number;
  readonly idHigh: number;
  readonly idLow: number;
  readonly epoch: number;
  /** `claim`: what the clerk holds, after a REBUILD and before its CLAIM; one range each. */
  readonly op: 'set' | 'test' | 'release-owner' | 'cancel' | 'claim';
  /** posix: released whole when the owner closes any descriptor, EDEADLK; ofd and flock: owner is the open file. */
  readonly family: 'posix' | 'ofd' | 'flock';
  /** Within the clerk, as in a process or an open file. */
  readonly owner: string;
  readonly type: 'read' | 'write' | 'unlock';
  readonly start: string;
  readonly end: string;
  readonly wait: boolean;
  /** Counts up within a clerk; `cancel` names it, a repeated one is answered as before. */
  readonly request: number;
  /** For `test`'s answer (F_GETLK). */
  readonly pid: number;
}
export interface RangeLock {
  readonly family: 'posix' | 'ofd' | 'flock';
  readonly type: 'read' | 'write';
  readonly start: string;
  readonly end: string;
  readonly owner: string;
  readonly pid: number;
}
export interface RangeAnswer {
  readonly outcome: 'granted' | 'would-block' | 'deadlock' | 'cancelled' | 'free';
  /** Of `test` and `would-block`: one lock in the way. */
  readonly blocker?: RangeLock & { readonly token: number };
}

export interface LockServerStatus {
  readonly id: string;
  readonly pid: number;
  readonly state: 'starting' | 'follower' | 'candidate' | 'leader';
  readonly leader: string | null;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  /** Groups it serves now. */
  readonly groups: number;
  readonly rebuilding: number;
  readonly locks: number;
  readonly lockBytes: number;
  readonly waiting: number;
  readonly clerks: readonly {
    readonly token: number;
    readonly name: string;
    readonly kind: string;
    readonly state: 'live' | 'expired' | 'fenced' | 'recovered';
    /** Only the leader knows. */
    readonly leaseMsLeft: number | null;
  }[];
  readonly members: readonly ServerAddress[];
}

export interface ListLocksRequest {
  readonly table?: string;
  /** Most contended first: by waits in the last minutes. */
  readonly hot: boolean;
  readonly limit: number;
}
export interface ListedLock {
  readonly table: string;
  /** Decimal. */
  readonly id: string;
  readonly aspect: 'content' | 'life' | 'range';
  readonly holders: readonly {
    readonly token: number;
    readonly name: string;
    /** A LockMode; `read` or `write` of a range. */
    readonly mode: string;
    readonly heldMs: number;
    readonly revokedMs: number | null;
  }[];
  readonly waiters: readonly {
    readonly token: number;
    readonly name: string;
    readonly mode: string;
    readonly waitMs: number;
  }[];
  /** Requests that had to wait since the server took the group over. */
  readonly waits: number;
}
export interface ListLocksAnswer {
  readonly server: string;
  readonly total: number;
  readonly locks: readonly ListedLock[];
}

export interface ChangeMembersRequest {
  readonly add?: ServerAddress;
  readonly remove?: string;
}
