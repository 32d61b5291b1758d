/**
 * Registers of one replica set: bytes from one node, tags from a read quorum, in one round (rule 11).
 *
 * ```
 *   fastest node ---- bytes and tags ----.
 *   next r - 1  ----- tags --------------+--> all tags alike: done
 *                                        '--> they differ: the newest, its bytes from who has them, written back to a quorum
 *   late or refused ----> one more node, bytes and tags
 * ```
 *
 * A copy that is unreadable has no vote, and is written anew. A snapshot is not written back: what it shows was complete.
 */
import { isSextantError, SextantError } from '#core/errors.js';
import type { Timer } from '#core/world/world.js';
import {
  compareTags,
  registerBytes,
  type ReplicaSet,
} from '#storage-nodes/protocol/block-geometry.js';
import {
  answerBytesAt,
  encodeBlockRequest,
  requestBytesAt,
  RunKind,
  type Run,
} from '#storage-nodes/protocol/codec-blocks.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import type { Answered, Session } from './session.js';
import { WriteRound } from './write-round.js';

const PAUSE_MS = 20;
const REPAIR_DEADLINE_MS = 10_000;

/** Where the registers of one round go: `bytes` has room for all of them in order. */
export class ReadRound {
  readonly count: number;
  /** The newest tag of each register. */
  readonly clock: Float64Array;
  readonly token: Float64Array;
  readonly bytes: Uint8Array;
  readonly #session: Session;
  readonly #set: ReplicaSet;
  /** Who is asked, and how many of them must answer. */
  readonly #nodes: readonly string[];
  readonly #quorum: number;
  readonly #runs: readonly Run[];
  readonly #atEpoch: number;
  readonly #kind: Uint8Array;
  readonly #votes: Uint8Array;
  /** Votes for another tag than the newest, or an unreadable copy. */
  readonly #differs: Uint8Array;
  /** The bytes here belong to the newest tag. */
  readonly #loaded: Uint8Array;
  /** Who was first to tell the newest tag. */
  readonly #teller: string[];
  readonly #answered = new Set<string>();
  readonly #asked = new Set<string>();
  readonly #askedForBytes = new Set<string>();
  #outstanding = 0;
  #settled = false;
  #late: Timer | undefined;
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  /** `voters`: who is asked, and how many of them must answer, instead of a read quorum of the set. */
  constructor(
    session: Session,
    set: ReplicaSet,
    runs: readonly Run[],
    atEpoch: number,
    voters?: { readonly nodes: readonly string[]; readonly quorum: number },
  ) {
    this.#session = session;
    this.#set = set;
    this.#nodes = voters?.nodes ?? set.nodes;
    this.#quorum = voters?.quorum ?? (session.faults.readOne === true ? 1 : set.read);
    this.#runs = runs;
    this.#atEpoch = atEpoch;
    let count = 0;
    let bytes = 0;
    for (const run of runs) {
      count += run.count;
      bytes += run.count * registerBytes(run.region);
    }
    this.count = count;
    this.bytes = new Uint8Array(bytes);
    this.clock = new Float64Array(count);
    this.token = new Float64Array(count);
    this.#kind = new Uint8Array(count).fill(RunKind.none);
    this.#votes = new Uint8Array(count);
    this.#differs = new Uint8Array(count);
    this.#loaded = new Uint8Array(count);
    this.#teller = Array.from({ length: count }, () => '');
  }

  /** Rejects with FENCED, NO_QUORUM, CLOSED. */
  async run(deadlineMs: number): Promise<void> {
    const { timers } = this.#session.world;
    await new Promise<void>((resolve, reject) => {
      const deadline = timers.after(deadlineMs, () =>
        this.#fail(new SextantError('NO_QUORUM', 'too few copies could be read')),
      );
      const end = (): void => {
        deadline.cancel();
        this.#late?.cancel();
        this.#settled = true;
      };
      this.#resolve = () => {
        end();
        resolve();
      };
      this.#reject = (error) => {
        end();
        reject(error);
      };
      const order = this.#order();
      if (order.length < this.#quorum) {
        this.#fail(new SextantError('NO_QUORUM', 'too few copies knew of the snapshot'));
        return;
      }
      for (let i = 0; i < this.#quorum; i++) void this.#ask(order[i], i === 0);
      this.#watch(order[0]);
    });
    if (this.#atEpoch === 0) await this.#writeBack(deadlineMs);
  }

  /** Fastest first. */
  #order(): string[] {
    const links = this.#nodes.map((node) => this.#session.link(node));
    const estimates = new Map(links.map((link) => [link, link.estimateMs]));
    return links
      .toSorted((a, b) => (estimates.get(a) ?? 0) - (estimates.get(b) ?? 0))
      .map((link) => link.address.id);
  }

  #watch(first: string): void {
    const { timers } = this.#session.world;
    this.#late = timers.after(this.#session.link(first).lateMs, () => {
      if (this.#settled) return;
      const next = this.#order().find((node) => !this.#asked.has(node));
      if (next === undefined) return;
      void this.#ask(next, true);
      this.#watch(next);
    });
  }

  async #ask(node: string, wantsData: boolean): Promise<void> {
    this.#asked.add(node);
    if (wantsData) this.#askedForBytes.add(node);
    this.#outstanding++;
    try {
      const body = encodeBlockRequest(this.#session.request(this.#runs, wantsData, this.#atEpoch));
      const answered = await this.#session.call(node, MessageType.blockRead, body);
      if (!this.#settled) this.#take(node, answered, wantsData);
    } catch (error) {
      if (isSextantError(error, 'FENCED') || isSextantError(error, 'PROTOCOL')) this.#fail(error);
    } finally {
      this.#outstanding--;
      if (!this.#settled) this.#progress();
    }
  }

  #take(node: string, { answer, bytes }: Answered, wantsData: boolean): void {
    const isNew = !this.#answered.has(node);
    this.#answered.add(node);
    let at = answerBytesAt(answer.runs.length);
    let register = 0;
    let target = 0;
    for (const run of answer.runs) {
      const size = registerBytes(run.region);
      for (let i = 0; i < run.count; i++, register++, target += size) {
        if (register >= this.count) throw new SextantError('PROTOCOL', 'too many registers');
        const hasBytes = wantsData && run.kind === RunKind.data;
        this.#vote(node, register, run, isNew);
        if (!hasBytes) continue;
        if (this.#isNewest(register, run) && this.#loaded[register] === 0) {
          this.bytes.set(bytes.subarray(at, at + size), target);
          this.#loaded[register] = 1;
        }
        at += size;
      }
    }
    if (register !== this.count) throw new SextantError('PROTOCOL', 'too few registers');
  }

  #isNewest(register: number, run: Run): boolean {
    return run.clock === this.clock[register] && run.token === this.token[register];
  }

  #vote(node: string, register: number, run: Run, isNew: boolean): void {
    if (run.kind === RunKind.bad) {
      this.#differs[register] = 1;
      return;
    }
    if (isNew) this.#votes[register]++;
    const order = compareTags(run.clock, run.token, this.clock[register], this.token[register]);
    if (order !== 0 && this.#votes[register] > 1) this.#differs[register] = 1;
    if (order < 0) return;
    if (order > 0) {
      this.clock[register] = run.clock;
      this.token[register] = run.token;
      this.#kind[register] = run.kind;
      this.#loaded[register] = 0;
      this.#teller[register] = node;
      const size = registerBytes(run.region);
      const start = this.#offsetOf(register);
      this.bytes.fill(0, start, start + size);
    }
  }

  #offsetOf(register: number): number {
    let left = register;
    let offset = 0;
    for (const run of this.#runs) {
      const size = registerBytes(run.region);
      if (left < run.count) return offset + left * size;
      left -= run.count;
      offset += run.count * size;
    }
    return offset;
  }

  #progress(): void {
    let voted = true;
    let teller = '';
    for (let i = 0; i < this.count; i++) {
      if (this.#votes[i] < this.#quorum) voted = false;
      else if (this.#kind[i] === RunKind.data && this.#loaded[i] === 0) teller = this.#teller[i];
    }
    if (voted && teller === '') {
      this.#resolve();
      return;
    }
    if (this.#outstanding > 0) return;
    if (this.#session.closed) {
      this.#fail(new SextantError('CLOSED', 'disk is closed'));
      return;
    }
    const asked = voted ? this.#askedForBytes : this.#asked;
    const isLeft = (node: string): boolean => !asked.has(node);
    const next = voted && isLeft(teller) ? teller : this.#order().find(isLeft);
    if (next !== undefined) {
      void this.#ask(next, true);
      return;
    }
    // Everybody was asked: once more, after a while.
    this.#outstanding++;
    void this.#session.world.timers.sleep(PAUSE_MS).then(() => {
      this.#outstanding--;
      this.#asked.clear();
      this.#askedForBytes.clear();
      if (!this.#settled) this.#progress();
    });
  }

  #fail(error: Error): void {
    if (!this.#settled) this.#reject(error);
  }

  /** Puts what some node of the quorum did not have to a write quorum, before anybody uses it. */
  async #writeBack(deadlineMs: number): Promise<void> {
    if (this.#session.faults.noWriteBack === true) return;
    const rounds: Promise<void>[] = [];
    let register = 0;
    let offset = 0;
    for (const run of this.#runs) {
      const size = registerBytes(run.region);
      for (let i = 0; i < run.count; i++, register++, offset += size) {
        if (this.#differs[register] === 0 || this.clock[register] === 0) continue;
        rounds.push(this.#putBack(run, i, register, offset, size, deadlineMs));
      }
    }
    if (rounds.length > 0) await Promise.all(rounds);
  }

  async #putBack(
    run: Run,
    place: number,
    register: number,
    offset: number,
    size: number,
    deadlineMs: number,
  ): Promise<void> {
    const isData = this.#kind[register] === RunKind.data;
    const newest: Run = {
      region: run.region,
      kind: isData ? RunKind.data : RunKind.tombstone,
      count: 1,
      index: run.index + place,
      clock: this.clock[register],
      token: this.token[register],
    };
    const body = encodeBlockRequest(this.#session.request([newest], false), isData ? size : 0);
    if (isData) body.set(this.bytes.subarray(offset, offset + size), requestBytesAt(1));
    const round = new WriteRound(this.#session, this.#set, body, true);
    await round.run(Math.min(deadlineMs, REPAIR_DEADLINE_MS));
  }
}
