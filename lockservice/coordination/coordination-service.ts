/**
 * What the leader does for the coordination tree: writes go through Raft, reads follow a read-index round, watches
 * are pushed.
 *
 * ```
 * write:  check -> propose -> applied: events pushed -> answer (with the events not seen yet)
 * read:   check -> read-index round that began later -> read the tree, set watches -> answer, in one turn
 * ```
 *
 * - COORD-1 A read sees every write that was answered before it was asked for: its round begins after it came in.
 * - COORD-2 The event of a watch is on its way before any answer that shows the change (WATCH-2).
 *
 * Reads that come in while a round runs share the next one.
 */
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import type { CoordinationResult, CoordinationTree, TreeEvent } from './coordination-tree.js';
import {
  REQUEST_BYTES_MAX,
  readAnswer,
  readRequest,
  watchEventsBody,
  writeAnswer,
  writeRequest,
  type CoordinationCommand,
} from './messages.js';
import { checkPath } from './paths.js';
import { WatchTable } from './watch-table.js';

/** What the lock server gives to it. */
export interface CoordinationHost {
  /** Resolves once the command is applied here; rejects with NOT_LEADER, LEASE_LOST (not a live clerk), CONFLICT (fate unknown). */
  propose(command: CoordinationCommand): Promise<CoordinationResult>;
  /** As RaftNode's: this node was leader after the call began, and has applied up to the index. */
  readIndex(): Promise<number>;
  /** The one of the state machine; another one after a snapshot was restored. */
  tree(): CoordinationTree;
  /** Sends a COORD_EVENT if the clerk is connected. It may be lost. */
  push(token: number, body: Uint8Array): void;
}

const STREAM_BITS = 2 ** 20;

export class CoordinationService {
  readonly #host: CoordinationHost;
  readonly #world: World;
  readonly #watches: WatchTable;
  /** Token -> number of the last event that was pushed. */
  readonly #pushed = new Map<number, number>();
  #round: Promise<number> | undefined;
  #nextRound: Promise<number> | undefined;

  constructor(world: World, host: CoordinationHost) {
    this.#world = world;
    this.#host = host;
    const { random } = world;
    this.#watches = new WatchTable(
      () => random.u32() * STREAM_BITS + random.below(STREAM_BITS) + 1,
    );
  }

  get watchCount(): number {
    return this.#watches.count;
  }

  /** Body and answer of COORD_WRITE. What the tree refuses is in the answer; PROTOCOL, OUT_OF_RANGE, and what `propose` rejects with. */
  async write(token: number, body: Uint8Array): Promise<Uint8Array> {
    refuseOversized(body);
    const request = writeRequest.decode(body);
    const { sequence, acknowledged, operations } = request;
    const { outcome } = await this.#host.propose({ token, sequence, acknowledged, operations });
    return writeAnswer.encode({ outcome, watch: this.#watches.unseen(token, request) });
  }

  /** Body and answer of COORD_READ of a live clerk. PROTOCOL, OUT_OF_RANGE, OVERLOADED, and what `readIndex` rejects with. */
  async read(token: number, body: Uint8Array): Promise<Uint8Array> {
    refuseOversized(body);
    const request = readRequest.decode(body);
    for (const watch of request.watches) checkPath(watch.path);
    for (const read of request.reads) checkPath(read.path);
    const confirmed = await this.#freshIndex();
    const tree = this.#host.tree();
    // More may have been applied since; what the reads see is said exactly, or a watch would fire for it.
    const index = Math.max(confirmed, tree.changedIndex);
    const results = tree.read(request.reads);
    for (const id of request.unwatch) this.#watches.unset(token, id);
    for (const watch of request.watches) this.#watches.set(token, watch, tree);
    const watch = this.#watches.unseen(token, request);
    return readAnswer.encode({ index, results, watch });
  }

  /** To be called when a command is applied, before its proposer is told. */
  onApplied(events: readonly TreeEvent[]): void {
    if (events.length === 0 || this.#watches.count === 0) return;
    for (const token of this.#watches.fire(events)) {
      const fresh = this.#watches.newest(token, this.#pushed.get(token) ?? 0);
      this.#pushed.set(token, fresh.events.at(-1)?.number ?? 0);
      this.#host.push(token, watchEventsBody.encode(fresh));
    }
  }

  /** The connection of the clerk, or its session, is over. */
  onDisconnect(token: number): void {
    this.#watches.forget(token);
    this.#pushed.delete(token);
  }

  /** Watches belong to one leadership: their setters set them again at the next leader. */
  onLeadership(isLeader: boolean): void {
    if (isLeader) this.#world.log.debug('coordination is served here');
    this.#watches.clear();
    this.#pushed.clear();
  }

  /** A round that begins after the call; those that ask while one runs wait for the next together. */
  #freshIndex(): Promise<number> {
    if (this.#round === undefined) return this.#begin();
    this.#nextRound ??= this.#round.then(
      () => this.#begin(),
      () => this.#begin(),
    );
    return this.#nextRound;
  }

  #begin(): Promise<number> {
    this.#nextRound = undefined;
    const round = this.#host.readIndex();
    this.#round = round;
    const over = (): void => {
      if (this.#round === round) this.#round = undefined;
    };
    round.then(over, over);
    return round;
  }
}

function refuseOversized(body: Uint8Array): void {
  if (body.length <= REQUEST_BYTES_MAX) return;
  throw new SextantError('PROTOCOL', `a request of ${body.length} bytes; ${REQUEST_BYTES_MAX} fit`);
}
