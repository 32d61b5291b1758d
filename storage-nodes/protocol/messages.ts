/**
 * The wire protocol of a storage node: message types, shapes, and who sends what.
 *
 * | type | name          | kind        | from -> to     | body                                              |
 * |------|---------------|-------------|----------------|---------------------------------------------------|
 * |   1  | HELLO         | call        | any -> node    | JSON HelloRequest -> HelloAnswer                   |
 * |  10  | BOXCAR        | push        | engine -> node | a boxcar (core/redo/boxcar)                        |
 * |  11  | SCL           | push        | node -> engine | binary SclReport; also when gossip filled a hole   |
 * |  12  | READ_PAGE     | call        | engine -> node | binary ReadPageRequest -> 8192 bytes               |
 * |  13  | POINTS        | push        | engine -> node | binary Points: VDL and PGMRPL when no boxcar does  |
 * |  14  | SEAL          | call        | engine -> node | JSON SealRequest -> SealAnswer (rule 9)            |
 * |  15  | INSTALL       | call        | engine -> node | JSON InstallRequest -> InstallAnswer (rule 13)     |
 * |  16  | CATCH_UP      | call        | engine -> node | JSON CatchUpRequest -> {}: gossip now (rule 11)    |
 * |  17  | STRIKE        | call        | engine -> node | JSON StrikeRequest -> {}: old generation (rule 19) |
 * |  20  | GOSSIP        | call        | node -> node   | JSON header + boxcars, GossipRequest -> answer     |
 * |  21  | HYDRATE       | call        | node -> node   | JSON header + pages, HydrateRequest -> answer      |
 * |  30  | REG_PREPARE   | call        | engine -> node | binary/JSON register messages (core/registers)     |
 * |  31  | REG_ACCEPT    | call        | engine -> node |                                                    |
 * |  32  | REG_READ_PEER | call        | node -> node   | a node's own register read at start (rule 19)      |
 * |  40  | STATUS        | call        | any -> node    | {} -> JSON NodeStatus                              |
 * |  50  | BLOCK_WRITE   | call        | file server -> node | binary registers (codec-blocks) -> superseded ones |
 * |  51  | BLOCK_READ    | call        | any -> node    | binary names -> tags, and bytes where wanted       |
 * |  52  | BLOCK_FENCE   | call        | file server -> node | JSON FenceRequest -> FenceAnswer              |
 * |  53  | BLOCK_STATE   | call        | any -> node    | JSON DiskState -> DiskPosition, once in step with it |
 * |  54  | BLOCK_STATUS  | call        | any -> node    | JSON BlockStatusRequest -> BlockStatusAnswer       |
 * |  55  | BLOCK_LIST    | call        | node -> node   | binary position -> names and tags from there on    |
 * |  56  | BLOCK_BURY    | call        | file server -> node | JSON BuryRequest -> {}: all copies have it    |
 *
 * Numbers are never reused. Every request of a volume names volume, PG, volume epoch and membership epoch;
 * a stale one is refused with STALE_EPOCH, one whose list the node lacks with NEED_RANGES (LOG-6, rule 13).
 */
import type { Membership } from '#core/quorum/quorum-set.js';

export const MessageType = {
  hello: 1,
  boxcar: 10,
  scl: 11,
  readPage: 12,
  points: 13,
  seal: 14,
  install: 15,
  catchUp: 16,
  strike: 17,
  gossip: 20,
  hydrate: 21,
  registerPrepare: 30,
  registerAccept: 31,
  registerReadPeer: 32,
  status: 40,
  blockWrite: 50,
  blockRead: 51,
  blockFence: 52,
  blockState: 53,
  blockStatus: 54,
  blockList: 55,
  blockBury: 56,
} as const;

export const PROTOCOL_VERSION = 1;

export interface HelloRequest {
  readonly protocol: number;
  readonly cluster: string;
  /** The node that the caller means to reach; refused with WRONG_CLUSTER when it is another. */
  readonly node?: string;
  readonly role: 'engine' | 'node' | 'tool';
  /** Where peers can be reached; sent by engines and tools of a cluster whose nodes do not know it. */
  readonly peers?: readonly NodeAddress[];
}
export interface HelloAnswer {
  readonly protocol: number;
  readonly cluster: string;
  readonly node: string;
  readonly zone: string;
  /** Grows each time the folder is made anew; acknowledgements carry it (rule 19). */
  readonly generation: number;
}
export interface NodeAddress {
  readonly id: string;
  readonly zone: string;
  readonly address: string;
}

/** (after, through]: no record in it is ever read (LOG-5). */
export interface TruncationRange {
  readonly epoch: number;
  readonly after: number;
  readonly through: number;
}

/** What the register of a volume holds, whole (docs/protocol.md, "Opening"). */
export interface VolumeState {
  readonly format: 1;
  readonly volume: number;
  readonly epoch: number;
  readonly state: 'recovering' | 'open';
  /** Tells one opener from another that lost the race for the same epoch. */
  readonly opener: string;
  readonly pagesPerPg: number;
  readonly pgs: readonly Membership[];
  readonly ranges: readonly TruncationRange[];
  /** The LSN up to which earlier epochs were allocated, in LSNs: the largest LAL since the last range. */
  readonly lal: number;
}

export interface SegmentAddress {
  readonly volume: number;
  readonly pg: number;
  readonly volumeEpoch: number;
  readonly membershipEpoch: number;
}

/** Binary, 48 bytes: u32 volume, pg, volumeEpoch, membershipEpoch, status, generation; u64 scl, held, resendAfter. */
export interface SclReport extends SegmentAddress {
  readonly status: SclStatus;
  readonly generation: number;
  /** End of the gap-free chain: everything of the PG up to here is durable on the node (LOG-3). */
  readonly scl: number;
  /** Highest LSN that it holds at all; held > scl means a hole. */
  readonly held: number;
  /** 0, or the LSN after which it asks for a resend. */
  readonly resendAfter: number;
}
/** Only `ok` counts as an acknowledgement. */
export const SclStatus = {
  ok: 0,
  staleEpoch: 1,
  needRanges: 2,
  diskFull: 3,
  notReady: 4,
  corrupt: 5,
} as const;
export type SclStatus = (typeof SclStatus)[keyof typeof SclStatus];

/** Binary, 40 bytes: u32 volume, pg, volumeEpoch, membershipEpoch, pageNo, 0; u64 readPoint, pgTail. */
export interface ReadPageRequest extends SegmentAddress {
  readonly pageNo: number;
  readonly readPoint: number;
  /** The PG tail at the read point: the node must have SCL >= this (rule 7). */
  readonly pgTail: number;
}

/** Binary, 32 bytes: u32 volume, pg, volumeEpoch, membershipEpoch; u64 vdl, pgmrpl. */
export interface Points extends SegmentAddress {
  readonly vdl: number;
  readonly pgmrpl: number;
}

export interface SealRequest extends SegmentAddress {
  /** The decided list as of the epoch that was won; adopted in the same step as the epoch (rule 9). */
  readonly ranges: readonly TruncationRange[];
  readonly membership: Membership;
  /** Where the PG's members are, so that they can gossip. */
  readonly peers: readonly NodeAddress[];
}
export interface SealAnswer {
  readonly node: string;
  readonly generation: number;
  readonly scl: number;
  /** Highest VDL that it has journaled. */
  readonly journaledVdl: number;
  /** Tail of the PG at or below the journaled VDL. */
  readonly pgTail: number;
  /** LSN and CPL flag of every chain record above the journaled VDL, ascending, as runs of consecutive LSNs. */
  readonly records: readonly {
    readonly from: number;
    readonly to: number;
    readonly cpls: readonly number[];
  }[];
  /** False: counts in no read quorum (rule 19). */
  readonly whole: boolean;
}

export interface InstallRequest extends SegmentAddress {
  readonly ranges: readonly TruncationRange[];
  readonly membership: Membership;
  readonly peers: readonly NodeAddress[];
  /** The VDL that the opening decided: durable, foldable. */
  readonly vdl: number;
  /** The PG's tail at it: what the first new record links to. */
  readonly pgTail: number;
}
export interface InstallAnswer {
  readonly scl: number;
  readonly generation: number;
}

export interface CatchUpRequest extends SegmentAddress {
  readonly target: number;
  readonly sources: readonly string[];
}

export interface StrikeRequest extends SegmentAddress {
  readonly generation: number;
  /** PGCL as the engine saw it after striking; the node is whole once its SCL has reached it. */
  readonly pgcl: number;
}

/** Pull: "send me what follows my SCL". Answer: JSON header, then whole boxcars (core/redo/boxcar), bounded by maxBytes. */
export interface GossipRequest extends SegmentAddress {
  readonly from: string;
  readonly generation: number;
  /** Epoch of the newest range that the caller has installed; a peer with a newer list answers NEED_RANGES with it. */
  readonly listEpoch: number;
  readonly after: number;
  readonly maxBytes: number;
}
export interface GossipAnswer {
  readonly scl: number;
  readonly journaledVdl: number;
  readonly listEpoch: number;
  /** The log after `after` is gone here: hydrate (rule 18). */
  readonly hydrate: boolean;
  /** The generation of the caller's folder as this peer last confirmed it. */
  readonly knownGeneration: number;
  /** What the caller must adopt first; then there are no boxcars in the answer. */
  readonly newer?: DecidedList;
}

/** An epoch and the list that goes with it, passed from node to node (rule 13). */
export interface DecidedList {
  readonly volumeEpoch: number;
  /** volumeEpoch: installed; lower: sealed, and the list is the one as of the epoch's start. */
  readonly listEpoch: number;
  readonly ranges: readonly TruncationRange[];
  readonly membership: Membership;
  readonly peers: readonly NodeAddress[];
}

export interface HydrateRequest extends SegmentAddress {
  readonly from: string;
  /** 0 on the first call: the answerer pins its own point B and names it; the same B on the next ones. */
  readonly point: number;
  /** -1 on the first call. */
  readonly afterPage: number;
  readonly maxBytes: number;
  /** As in GossipRequest. */
  readonly listEpoch: number;
}
export interface HydrateAnswer {
  readonly point: number;
  /** Pages in the body, ascending, each u32 pageNo + 8192 bytes. */
  readonly pageCount: number;
  readonly done: boolean;
  readonly listEpoch: number;
  /** A VDL at or above `point`, which the caller journals with it. */
  readonly journaledVdl: number;
}

/** Asked by a node that starts: what do you know of my folder, and which registers are there (rule 19)? */
export interface PeerReadRequest {
  readonly from: string;
  /** Generation that the caller is about to use, recorded durably before the answer; 0: asks only. */
  readonly generation: number;
}
export interface PeerReadAnswer {
  readonly node: string;
  /** Highest generation of the caller's folder that this node recorded before; 0: never heard of it. */
  readonly knownGeneration: number;
  /** It has finished its own start: `registers` can be believed. */
  readonly ready: boolean;
  /** Its acceptors' states (core/registers/messages), base64. */
  readonly registers: readonly string[];
}

export interface SegmentStatus {
  readonly volume: number;
  readonly pg: number;
  readonly volumeEpoch: number;
  readonly membershipEpoch: number;
  readonly listEpoch: number;
  readonly scl: number;
  readonly held: number;
  readonly journaledVdl: number;
  readonly pgmrpl: number;
  readonly whole: boolean;
  readonly unfoldedRecords: number;
  readonly pages: number;
}
export interface NodeStatus {
  readonly id: string;
  readonly zone: string;
  readonly pid: number;
  readonly cluster: string;
  readonly generation: number;
  readonly state: 'starting' | 'up' | 'disk-full' | 'damaged';
  readonly journalBytes: number;
  readonly pageBytes: number;
  readonly rssBytes: number;
  readonly syncCount: number;
  readonly boxcarCount: number;
  readonly receivedBytes: number;
  readonly segments: readonly SegmentStatus[];
}
