/**
 * Byte-range and whole-file locks of a lock server: fcntl(2), its open-file-description kind, and flock(2), over many files
 * and clerks.
 *
 * | family | owner     | conflicts with | in the way, no wait            | in the way, wait                            |
 * |--------|-----------|----------------|--------------------------------|---------------------------------------------|
 * | posix  | process   | posix, ofd     | would-block, keeps what it had | waits, keeps what it had; EDEADLK on a cycle |
 * | ofd    | open file | posix, ofd     | would-block, keeps what it had | waits, keeps what it had                    |
 * | flock  | open file | flock          | would-block, has *lost* its lock of the other type | the same, and waits     |
 *
 * A lock goes to those who wait in order of arrival, each as soon as no *holder* is in its way: as in Linux, a waiting writer
 * may be overtaken by readers. `release-owner` is the close of a descriptor: every lock of the owner in that file goes,
 * whichever descriptor it was made with. A call is known by its clerk and request number: repeated, it is answered as before.
 *
 * A file belongs to the range group of its lock table. While that group is being rebuilt clerks `claim` what they hold and
 * everything else waits; while a dead clerk that claimed nothing is not recovered, nothing new is granted.
 *
 * - RANGE-1 Locks of two owners in one space of a file never conflict, save claims that contradicted: the later is refused.
 * - RANGE-2 A cycle of posix owners that wait for one another is never closed (within this server).
 */
import { SextantError } from '#core/errors.js';
import { rangeGroupOf } from '../protocol/lock-vectors.js';
import type { RangeAnswer, RangeRequest } from '../protocol/messages.js';
import { FileRanges, RangeOwner } from './file-ranges.js';
import type { Blocker, RangeTally, RangeWait } from './file-ranges.js';
import { RANGE_END } from './range-list.js';

/** Where answers go that were not given at once. */
export interface RangeOutbox {
  answer(token: number, request: number, answer: RangeAnswer): void;
  fail(token: number, request: number, error: SextantError): void;
}

/** Whether a group's locks may be given: `shut` while a dead clerk may hold some (rule 5). */
export type Gate = 'open' | 'rebuilding' | 'shut';

export interface RangeTableOptions {
  readonly outbox: RangeOutbox;
  readonly gate: (group: number) => Gate;
  readonly maxRangesOfOwner?: number;
  readonly maxRangesOfClerk?: number;
  readonly maxWaitingOfClerk?: number;
}

const MAX_RANGES_OF_OWNER = 8192;
const MAX_RANGES_OF_CLERK = 262_144;
const MAX_WAITING_OF_CLERK = 16_384;
/** Answers kept for calls that come again. */
const ANSWERS_OF_CLERK = 1024;

const GRANTED: RangeAnswer = { outcome: 'granted' };

class RangeClerk {
  readonly owners = new Map<string, RangeOwner>();
  readonly waits = new Map<number, RangeWait>();
  readonly answers = new Map<number, RangeAnswer>();
  readonly tally: RangeTally = { ranges: 0 };
}

interface Span {
  readonly start: bigint;
  readonly end: bigint;
}

function offset(text: string): bigint {
  if (!/^\d{1,19}$/.test(text)) throw new SextantError('PROTOCOL', `not an offset: ${text}`);
  return BigInt(text);
}

/** Throws PROTOCOL or OUT_OF_RANGE. */
function spanOf(request: RangeRequest): Span {
  const start = offset(request.start);
  const end = offset(request.end);
  if (start >= end || end > RANGE_END) {
    throw new SextantError('OUT_OF_RANGE', `no such byte range: ${start} to ${end}`);
  }
  if (request.family === 'flock' && (start !== 0n || end !== RANGE_END)) {
    throw new SextantError('OUT_OF_RANGE', 'flock locks whole files');
  }
  return { start, end };
}

export class RangeTable {
  readonly #outbox: RangeOutbox;
  readonly #gate: (group: number) => Gate;
  readonly #maxRangesOfOwner: number;
  readonly #maxRangesOfClerk: number;
  readonly #maxWaitingOfClerk: number;
  readonly #files = new Map<string, FileRanges>();
  readonly #clerks = new Map<number, RangeClerk>();

  constructor(options: RangeTableOptions) {
    this.#outbox = options.outbox;
    this.#gate = options.gate;
    this.#maxRangesOfOwner = options.maxRangesOfOwner ?? MAX_RANGES_OF_OWNER;
    this.#maxRangesOfClerk = options.maxRangesOfClerk ?? MAX_RANGES_OF_CLERK;
    this.#maxWaitingOfClerk = options.maxWaitingOfClerk ?? MAX_WAITING_OF_CLERK;
  }

  get files(): IterableIterator<FileRanges> {
    return this.#files.values();
  }

  get fileCount(): number {
    return this.#files.size;
  }

  get waiting(): number {
    let waiting = 0;
    for (const clerk of this.#clerks.values()) waiting += clerk.waits.size;
    return waiting;
  }

  /** The answer, or undefined: it waits, and the outbox will have it. Throws PROTOCOL, OUT_OF_RANGE, OVERLOADED. */
  request(request: RangeRequest, nowMs: number): RangeAnswer | undefined {
    const clerk = this.#clerkOf(request.token);
    if (request.op === 'cancel') return this.#cancel(clerk, request);
    if (clerk.waits.has(request.request)) return undefined;
    const before = clerk.answers.get(request.request);
    if (before !== undefined) return before;
    const answer = this.#step(clerk, request, spanOf(request), nowMs);
    if (answer !== undefined) this.#remember(clerk, request.request, answer);
    return answer;
  }

  /** Its group is rebuilt, or the last shadow on it is gone: what waits is looked at. */
  groupOpened(group: number, nowMs: number): void {
    if (this.#gate(group) === 'rebuilding') return;
    for (const file of this.#files.values()) {
      if (file.group !== group) continue;
      // Each as if it came now, in the order in which they came; one may have been granted by another's step.
      for (const wait of Array.from(file.waits)) {
        if (file.waits.has(wait)) this.#tryAgain(wait, nowMs);
      }
      this.#dropIfUnused(file);
    }
  }

  /** Another server owns the group now: who waits must ask there. */
  loseGroup(group: number): void {
    for (const [key, file] of this.#files) {
      if (file.group !== group) continue;
      for (const wait of file.waits) {
        this.#leave(wait);
        const error = new SextantError('NOT_READY', `range group ${group} has moved`);
        this.#outbox.fail(wait.owner.token, wait.request, error);
      }
      for (const { owner } of file.holders()) file.unset(owner, 0n, RANGE_END);
      this.#files.delete(key);
    }
    for (const clerk of this.#clerks.values()) clerk.answers.clear();
  }

  /** Its lease has ended: it waits for nothing any more; what it holds stays until it is recovered. */
  clerkExpired(token: number): void {
    const clerk = this.#clerks.get(token);
    for (const wait of clerk?.waits.values() ?? []) {
      this.#leave(wait);
      this.#outbox.fail(token, wait.request, new SextantError('FENCED', 'the lease has ended'));
      this.#dropIfUnused(wait.file);
    }
  }

  clerkRecovered(token: number, nowMs: number): void {
    this.clerkExpired(token);
    const touched = new Set<FileRanges>();
    for (const owner of this.#clerks.get(token)?.owners.values() ?? []) {
      for (const file of owner.files) {
        file.unset(owner, 0n, RANGE_END);
        touched.add(file);
      }
    }
    this.#clerks.delete(token);
    for (const file of touched) {
      this.#pump(file, nowMs);
      this.#dropIfUnused(file);
    }
  }

  #step(
    clerk: RangeClerk,
    request: RangeRequest,
    span: Span,
    nowMs: number,
  ): RangeAnswer | undefined {
    const { op } = request;
    if (request.type === 'unlock' && (op === 'test' || op === 'claim')) {
      throw new SextantError('PROTOCOL', `${op} names a read or a write lock`);
    }
    const file = this.#fileOf(request);
    const owner = this.#ownerOf(clerk, request);
    try {
      if (op === 'release-owner' || request.type === 'unlock') {
        const all = op === 'release-owner';
        file.unset(owner, all ? 0n : span.start, all ? RANGE_END : span.end);
        this.#pump(file, nowMs);
        return GRANTED;
      }
      const wait: RangeWait = {
        owner,
        file,
        request: request.request,
        type: request.type,
        ...span,
        pid: request.pid,
        sinceMs: nowMs,
        until: op === 'test' ? 'tested' : request.wait ? 'granted' : 'tried',
      };
      if (op === 'claim') return this.#claim(wait, nowMs);
      const answer = this.#try(clerk, wait, nowMs);
      if (answer === undefined) file.waited++;
      return answer;
    } finally {
      this.#dropIfUnused(file);
      this.#dropOwnerIfUnused(clerk, owner);
    }
  }

  #try(clerk: RangeClerk, wait: RangeWait, nowMs: number): RangeAnswer | undefined {
    const { file, owner, until } = wait;
    const gate = this.#gate(file.group);
    if (gate === 'rebuilding') return this.#wait(clerk, wait);
    if (until === 'tested') return this.#test(wait);
    this.#checkBounds(clerk, owner);
    if (owner.family === 'flock') {
      const held = file.of(owner)[0];
      if (held?.type === wait.type) return GRANTED;
      // flock(2): converting a lock removes the old one first, whatever comes of the new one.
      if (held !== undefined) {
        file.unset(owner, 0n, RANGE_END);
        this.#pump(file, nowMs);
      }
    }
    const blocker = this.#blockerOf(wait);
    if (gate === 'open' && blocker === undefined) {
      this.#grant(wait, nowMs);
      // It may have gone down from write to read.
      this.#pump(file, nowMs);
      return GRANTED;
    }
    if (until === 'tried') return { outcome: 'would-block', ...describe(blocker) };
    if (this.#closesCycle(wait)) return { outcome: 'deadlock', ...describe(blocker) };
    return this.#wait(clerk, wait);
  }

  #claim(wait: RangeWait, nowMs: number): RangeAnswer {
    const blocker = this.#blockerOf(wait);
    if (blocker !== undefined) return { outcome: 'would-block', ...describe(blocker) };
    this.#grant(wait, nowMs);
    return GRANTED;
  }

  #test(wait: RangeWait): RangeAnswer {
    const blocker = this.#blockerOf(wait);
    return { outcome: blocker === undefined ? 'free' : 'would-block', ...describe(blocker) };
  }

  #wait(clerk: RangeClerk, wait: RangeWait): undefined {
    if (clerk.waits.size >= this.#maxWaitingOfClerk) {
      throw new SextantError('OVERLOADED', `clerk ${wait.owner.token}: too many range locks wait`);
    }
    clerk.waits.set(wait.request, wait);
    wait.owner.waits.add(wait);
    wait.file.waits.add(wait);
    return undefined;
  }

  #leave(wait: RangeWait): void {
    wait.file.waits.delete(wait);
    wait.owner.waits.delete(wait);
    this.#clerks.get(wait.owner.token)?.waits.delete(wait.request);
  }

  #grant(wait: RangeWait, nowMs: number): void {
    const { owner, type, start, end, pid } = wait;
    wait.file.set(owner, { type, start, end, pid, sinceMs: nowMs });
  }

  /** Gives the file's locks to those who wait, in order of arrival, until nobody more can have one. The caller drops it if unused. */
  #pump(file: FileRanges, nowMs: number): void {
    if (this.#gate(file.group) !== 'open') return;
    for (let again = true; again;) {
      again = false;
      for (const wait of file.waits) {
        if (this.#blockerOf(wait) !== undefined) continue;
        this.#grant(wait, nowMs);
        this.#answer(wait, GRANTED);
        // An owner that waits elsewhere too may have closed a cycle by getting this one.
        for (const other of wait.owner.waits) this.#breakCycle(other);
        again = true;
      }
    }
  }

  #tryAgain(wait: RangeWait, nowMs: number): void {
    const clerk = this.#clerkOf(wait.owner.token);
    this.#leave(wait);
    try {
      const answer = this.#try(clerk, wait, nowMs);
      if (answer !== undefined) this.#answer(wait, answer);
    } catch (error) {
      if (!(error instanceof SextantError)) throw error;
      this.#outbox.fail(wait.owner.token, wait.request, error);
    }
  }

  #answer(wait: RangeWait, answer: RangeAnswer): void {
    this.#leave(wait);
    this.#remember(this.#clerkOf(wait.owner.token), wait.request, answer);
    this.#outbox.answer(wait.owner.token, wait.request, answer);
  }

  #cancel(clerk: RangeClerk, request: RangeRequest): RangeAnswer {
    const wait = clerk.waits.get(request.request);
    if (wait === undefined) return clerk.answers.get(request.request) ?? { outcome: 'cancelled' };
    this.#answer(wait, { outcome: 'cancelled' });
    this.#dropIfUnused(wait.file);
    this.#dropOwnerIfUnused(clerk, wait.owner);
    return { outcome: 'cancelled' };
  }

  #breakCycle(wait: RangeWait): void {
    if (wait.until !== 'granted' || !this.#closesCycle(wait)) return;
    this.#answer(wait, { outcome: 'deadlock', ...describe(this.#blockerOf(wait)) });
  }

  /** Whether somebody in the way of `wait` waits, through others, for its owner (RANGE-2). */
  #closesCycle(wait: RangeWait): boolean {
    if (wait.owner.family !== 'posix') return false;
    const seen = new Set<RangeOwner>();
    const ahead: RangeWait[] = [wait];
    for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
      for (const { owner } of next.file.blockers(next.owner, next.type, next.start, next.end)) {
        if (owner === wait.owner) return true;
        if (owner.family !== 'posix' || seen.has(owner)) continue;
        seen.add(owner);
        for (const other of owner.waits) if (other.until === 'granted') ahead.push(other);
      }
    }
    return false;
  }

  #blockerOf(wait: RangeWait): Blocker | undefined {
    return wait.file.firstBlocker(wait.owner, wait.type, wait.start, wait.end);
  }

  #checkBounds(clerk: RangeClerk, owner: RangeOwner): void {
    if (owner.ranges >= this.#maxRangesOfOwner || clerk.tally.ranges >= this.#maxRangesOfClerk) {
      throw new SextantError('OVERLOADED', `${owner.family} owner ${owner.name}: too many ranges`);
    }
  }

  #remember(clerk: RangeClerk, request: number, answer: RangeAnswer): void {
    clerk.answers.set(request, answer);
    if (clerk.answers.size <= ANSWERS_OF_CLERK) return;
    for (const oldest of clerk.answers.keys()) {
      clerk.answers.delete(oldest);
      return;
    }
  }

  #clerkOf(token: number): RangeClerk {
    let clerk = this.#clerks.get(token);
    if (clerk === undefined) this.#clerks.set(token, (clerk = new RangeClerk()));
    return clerk;
  }

  #ownerOf(clerk: RangeClerk, request: RangeRequest): RangeOwner {
    const key = `${request.family}/${request.owner}`;
    let owner = clerk.owners.get(key);
    if (owner === undefined) {
      owner = new RangeOwner(key, request.token, request.family, request.owner, clerk.tally);
      clerk.owners.set(key, owner);
    }
    return owner;
  }

  #fileOf(request: RangeRequest): FileRanges {
    const { table, idHigh, idLow } = request;
    const key = keyOf(table, idHigh, idLow);
    let file = this.#files.get(key);
    if (file === undefined) {
      file = new FileRanges(rangeGroupOf(table), table, idHigh, idLow);
      this.#files.set(key, file);
    }
    return file;
  }

  #dropIfUnused(file: FileRanges): void {
    if (file.unused) this.#files.delete(keyOf(file.table, file.idHigh, file.idLow));
  }

  #dropOwnerIfUnused(clerk: RangeClerk, owner: RangeOwner): void {
    if (owner.ranges === 0 && owner.waits.size === 0) clerk.owners.delete(owner.key);
  }
}

function keyOf(table: number, idHigh: number, idLow: number): string {
  return `${table}/${idHigh}/${idLow}`;
}

/** As an answer names it. */
function describe(blocker: Blocker | undefined): Pick<RangeAnswer, 'blocker'> {
  if (blocker === undefined) return {};
  const { owner, range } = blocker;
  return {
    blocker: {
      token: owner.token,
      family: owner.family,
      owner: owner.name,
      type: range.type,
      start: range.start.toString(),
      end: range.end.toString(),
      pid: range.pid,
    },
  };
}
