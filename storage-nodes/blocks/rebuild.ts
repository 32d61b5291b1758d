/**
 * Fetches what a node's registers miss from the peers that hold the same ones: all of it after the folder was lost, the little
 * that was written meanwhile after a restart.
 *
 * Whole again = for every set of replicas that it belongs to, everything of a read quorum of the OTHERS was looked at. Whatever
 * was complete before is on a write quorum, of which at most this node is missing, and that meets it. Complete later without
 * this node: it is like any copy that missed a write.
 *
 * The same for a snapshot, of those others that have a vote on it; without a read quorum of them this node has none either.
 */
import { SextantError } from '#core/errors.js';
import { compareTags, registerBytes, type DiskSnapshot } from '../protocol/block-geometry.js';
import * as codec from '../protocol/codec-blocks.js';
import { BlockStatus, RunKind, type Run } from '../protocol/codec-blocks.js';
import { MessageType } from '../protocol/messages.js';
import type { BlockHost } from './block-host.js';
import type { HostedDisk } from './hosted-disk.js';

const CALL_MS = 2000;
const PAUSE_MS = 100;
/** Of a restart: attempts at each peer. */
const ATTEMPTS_MAX = 3;
const FETCH_BYTES = 512 * 1024;

export class Rebuild {
  readonly #host: BlockHost;
  readonly #hosted: HostedDisk;
  readonly #done = new Set<string>();
  /** As they were when it began: by them what is fetched is sorted into epochs. */
  readonly #snapshots: readonly DiskSnapshot[];

  constructor(host: BlockHost, hosted: HostedDisk) {
    this.#host = host;
    this.#hosted = hosted;
    this.#snapshots = hosted.state?.snapshots ?? [];
  }

  async run(): Promise<void> {
    const { world, self } = this.#host.options;
    const { geometry } = this.#hosted;
    if (geometry?.nodes.includes(self) !== true) {
      this.#becomeWhole();
      return;
    }
    for (let attempt = 0; !this.#host.closed; attempt++) {
      for (const peer of geometry.nodes) {
        if (peer === self || this.#done.has(peer) || this.#host.closed) continue;
        try {
          await this.#from(peer);
          this.#done.add(peer);
        } catch (error) {
          world.log.debug('not fetched yet', { peer, error: String(error) });
        }
      }
      if (this.#isEnough()) this.#becomeWhole();
      if (this.#done.size === geometry.nodes.length - 1) return;
      if (this.#hosted.whole && attempt >= ATTEMPTS_MAX) return;
      await world.timers.sleep(PAUSE_MS);
    }
  }

  /** Was a read quorum of every set looked through, of nodes that count? */
  #isEnough(counts: (node: string) => boolean = () => true): boolean {
    const { self } = this.#host.options;
    const { geometry } = this.#hosted;
    if (geometry === undefined) return false;
    const has = (node: string): boolean => this.#done.has(node) && counts(node);
    return geometry.sets
      .filter((set) => set.nodes.includes(self))
      .every((set) => set.nodes.filter(has).length >= set.read);
  }

  /** Snapshots that this node cannot show. */
  #blind(): number[] {
    const ids = (this.#hosted.state?.snapshots ?? []).map(({ id }) => id);
    return ids.filter((id) => {
      const known = this.#snapshots.find((snapshot) => snapshot.id === id);
      return known === undefined || !this.#isEnough((node) => known.used.includes(node));
    });
  }

  #becomeWhole(): void {
    const hosted = this.#hosted;
    if (hosted.whole || this.#host.closed) return;
    // In one commit with everything that was fetched.
    hosted.wholeGeneration = this.#host.generation;
    hosted.fenceEpoch = this.fenceEpoch;
    for (const id of this.#blind()) hosted.blind.add(id);
    this.#host.save(hosted);
    this.#host.options
      .durable(() => undefined)
      .then(
        () => {
          hosted.whole = true;
        },
        () => undefined,
      );
  }

  async #from(peer: string): Promise<void> {
    for (let row = 1; ;) {
      const position = { region: 0, kind: RunKind.none, count: 1, index: row } as const;
      const answer = codec.decodeBlockAnswer(
        await this.#call(peer, MessageType.blockList, 0, [{ ...position, clock: 0, token: 0 }]),
      );
      await this.#require(peer, answer);
      await this.#fetch(
        peer,
        answer.runs.filter((run) => this.#isWanted(run, peer)),
      );
      if (!answer.more) return;
      row = answer.epoch;
    }
  }

  async #require(peer: string, answer: codec.BlockAnswer): Promise<void> {
    const { status } = answer;
    const { state } = this.#hosted;
    if (status === BlockStatus.ok) return;
    if (status === BlockStatus.staleEpoch) {
      this.#hosted.epoch = Math.max(this.#hosted.epoch, answer.epoch);
    } else if (state !== undefined) {
      const body = codec.diskState.encode(state);
      await this.#host.options.callPeer(peer, MessageType.blockState, body, CALL_MS);
    }
    throw new SextantError('NOT_READY', `status ${status}`);
  }

  /** Peers must be in step with every fence that is known here: what a fenced token left on another does not spread. */
  get fenceEpoch(): number {
    return Math.max(this.#hosted.fenceEpoch, this.#hosted.state?.fenceEpoch ?? 0);
  }

  #call(peer: string, type: number, atEpoch: number, runs: readonly Run[]): Promise<Uint8Array> {
    const { disk, epoch } = this.#hosted;
    const { fenceEpoch } = this;
    const body = codec.encodeBlockRequest({
      disk,
      epoch,
      token: 0,
      fenceEpoch,
      complete: 0,
      atEpoch,
      wantsData: type === MessageType.blockRead,
      runs,
    });
    return this.#host.options.callPeer(peer, type, body, CALL_MS);
  }

  /** Does this node hold the register, and is theirs newer? */
  #isWanted(run: Run, peer: string): boolean {
    const { geometry, disk } = this.#hosted;
    const { self } = this.#host.options;
    if (geometry?.replicas(run.region, run.index).nodes.includes(self) !== true) return false;
    const { index } = this.#host.blocks;
    const epoch = this.#epochFrom(peer, run.epoch ?? 0);
    const mine = index.find(disk, run.region, run.index, epoch);
    if (mine < 0) return true;
    const order = compareTags(run.clock, run.token, index.clock[mine], index.token[mine]);
    return order > 0 || (order === 0 && this.#host.blocks.kindOf(mine) === RunKind.bad);
  }

  /** What a peer may have stored after a snapshot, not knowing of it, is of the epoch behind it. */
  #epochFrom(peer: string, epoch: number): number {
    let from = epoch;
    for (const { id, used } of this.#snapshots) {
      if (id >= from && !used.includes(peer)) from = id + 1;
    }
    return from;
  }

  /** The bytes of what is wanted, a batch of one epoch after the other. */
  async #fetch(peer: string, wanted: readonly Run[]): Promise<void> {
    const epochs = new Set(wanted.map((run) => run.epoch ?? 0));
    for (const epoch of [...epochs].toSorted((a, b) => a - b)) {
      const runs = wanted.filter((run) => (run.epoch ?? 0) === epoch);
      for (let i = 0; i < runs.length;) {
        const batch: Run[] = [];
        let bytes = 0;
        for (; i < runs.length && bytes < FETCH_BYTES; i++) {
          batch.push({ ...runs[i], kind: RunKind.data });
          bytes += registerBytes(runs[i].region);
        }
        const { fenceEpoch } = this;
        const answer = await this.#call(peer, MessageType.blockRead, epoch, batch);
        // A fence came to hold meanwhile: the peer may not have been in step with it.
        if (fenceEpoch !== this.fenceEpoch) throw new SextantError('NOT_READY', 'a new fence');
        this.#store(peer, epoch, answer);
        await this.#host.options.durable(() => undefined);
      }
    }
  }

  #store(peer: string, epoch: number, bytes: Uint8Array): void {
    const { disk } = this.#hosted;
    const { blocks } = this.#host;
    const answer = codec.decodeBlockAnswer(bytes);
    if (answer.status !== BlockStatus.ok) throw new SextantError('NOT_READY', 'not now');
    let at = codec.answerBytesAt(answer.runs.length);
    for (const run of answer.runs) {
      const size = registerBytes(run.region);
      for (let i = 0; i < run.count; i++) {
        const isData = run.kind === RunKind.data;
        const from = at;
        if (isData) at += size;
        const { region, clock, token, kind } = run;
        const index = run.index + i;
        // Older than what was listed, or gone: it is not the version of that epoch any more.
        if (kind === RunKind.bad || kind === RunKind.none) continue;
        if (!this.#isWanted({ ...run, index, count: 1, epoch }, peer)) continue;
        const into = this.#epochFrom(peer, epoch);
        blocks.force(disk, region, into, index, clock, token, isData ? bytes : undefined, from);
      }
    }
  }
}
