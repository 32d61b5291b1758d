/**
 * Byte-range and whole-file locks (fcntl, OFD, flock) of this clerk's users. They are decided by the server of the table's
 * range group; the clerk remembers what it was granted and claims it from the next server (rule 5).
 *
 * ```
 *   set, test, release-owner --> RANGE --> answer, now or when the range is free
 *   no answer, another server --> the same request again, by its number
 *   REBUILD of the range group --> RANGE claim of each held range, then CLAIM; requests of users wait until then
 * ```
 */
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import { rangeAnswer, rangeRequest } from '../protocol/control-codec.js';
import { rangeGroupOf } from '../protocol/lock-vectors.js';
import { MessageType } from '../protocol/messages.js';
import type { RangeAnswer, RangeRequest, RebuildRequest } from '../protocol/messages.js';
import type { ClerkCore } from './clerk-core.js';
import { RANGE_END } from '../ranges/range-list.js';
import { HeldRanges, type RangeFamily, type RangeOwner } from './held-ranges.js';
import { idHighOf, idLowOf, lockId } from './lock-modes.js';

export { RANGE_END };

export interface RangeTarget {
  readonly table: string;
  /** The file. */
  readonly id: number | bigint;
  readonly family: RangeFamily;
  /** Who, within this clerk: a process for posix, an open file for ofd and flock. 1 to 256 characters. */
  readonly owner: string;
}

export interface RangeSet extends RangeTarget {
  readonly type: 'read' | 'write' | 'unlock';
  /** Default 0. */
  readonly start?: bigint;
  /** Exclusive; default the end of the file. flock means the whole file. */
  readonly end?: bigint;
  /** For F_GETLK of others; default 0. */
  readonly pid?: number;
}

export interface RangeWait {
  /** Waits until the range is free (F_SETLKW); default false. */
  readonly wait?: boolean;
  /** Ends the wait with CANCELLED; one that was granted at that moment stays granted. */
  readonly signal?: AbortSignal;
}

export type RangeBlocker = NonNullable<RangeAnswer['blocker']>;

export interface RangeOutcome {
  readonly granted: boolean;
  /** One lock in the way, when it was not granted. */
  readonly blocker: RangeBlocker | undefined;
}

/** What the client needs of its clerk. */
export interface RangeHost {
  readonly world: World;
  readonly core: ClerkCore;
  readonly lost: AbortSignal;
  check(): void;
  tableNumber(name: string): number;
  call(
    server: string,
    type: number,
    body: Uint8Array,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<Uint8Array>;
  mapStale(): void;
}

const ROUND_MS = 20_000;
const PAUSE_MS = 50;

type Ask = Omit<RangeRequest, 'epoch'>;

export class RangeClient {
  readonly #host: RangeHost;
  readonly #held = new HeldRanges();
  /** Range groups whose ranges are being claimed: resolves when they are. */
  readonly #claiming = new Map<number, { epoch: number; done: Promise<void> }>();
  /** How often each range group was claimed. */
  readonly #claims = new Map<number, number>();
  #requests = 0;

  /** Made by the clerk. */
  constructor(host: RangeHost) {
    this.#host = host;
  }

  /**
   * Locks or unlocks a range. Rejects with DEADLOCK (posix, waiting would close a circle), CANCELLED, UNKNOWN_TABLE,
   * OUT_OF_RANGE, LEASE_LOST, CLOSED.
   */
  async set(range: RangeSet, options: RangeWait = {}): Promise<RangeOutcome> {
    const { ask, who, start, end } = this.#ask(range, 'set', options.wait === true);
    if (options.signal?.aborted === true) throw cancelled();
    const group = rangeGroupOf(who.table);
    // flock(2): who wants the other type gives up what it has first, whatever comes of it.
    const had = range.family === 'flock' ? this.#held.of(who)[0] : undefined;
    if (had !== undefined && had.type !== range.type) this.#held.releaseOwner(who);
    for (;;) {
      const claimed = this.#claims.get(group) ?? 0;
      const { outcome, blocker } = await this.#call(ask, options.signal);
      if (outcome === 'deadlock')
        throw new SextantError('DEADLOCK', 'waiting would close a circle');
      if (outcome === 'cancelled') throw cancelled();
      if (outcome !== 'granted') return { granted: false, blocker };
      this.#held.set(who, start, end, range.type, range.pid ?? 0);
      // A claim that went out meanwhile told what was held before.
      if ((this.#claims.get(group) ?? 0) === claimed) return { granted: true, blocker: undefined };
      ask.request = ++this.#requests;
    }
  }

  /** F_GETLK: a lock that would be in the way, or undefined. Rejects as `set`. */
  async test(range: RangeSet): Promise<RangeBlocker | undefined> {
    const { ask } = this.#ask(range, 'test', false);
    return (await this.#call(ask, undefined)).blocker;
  }

  /** All ranges of an owner of a file go: a posix process closed a descriptor of it, the last descriptor of an open file went. */
  async releaseOwner(target: RangeTarget): Promise<void> {
    const { ask, who } = this.#ask({ ...target, type: 'unlock' }, 'release-owner', false);
    const group = rangeGroupOf(who.table);
    for (;;) {
      const claimed = this.#claims.get(group) ?? 0;
      await this.#call(ask, undefined);
      this.#held.releaseOwner(who);
      if ((this.#claims.get(group) ?? 0) === claimed) return;
      ask.request = ++this.#requests;
    }
  }

  /** The clerk holds ranges of so many owners. */
  get owners(): number {
    return this.#held.size;
  }

  /** For the clerk: takes the groups out whose ranges are to be claimed first; they are answered when that is done. */
  rebuild(request: RebuildRequest): RebuildRequest {
    const tables = new Map<number, number[]>();
    for (const table of this.#held.tables()) {
      const group = rangeGroupOf(table);
      tables.set(group, [...(tables.get(group) ?? []), table]);
    }
    const now = request.groups.filter(({ group, epoch }) => {
      const mine = tables.get(group);
      if (mine === undefined || epoch < this.#host.core.groups.epoch(group)) return true;
      if (this.#claiming.get(group)?.epoch === epoch) return false;
      const done = this.#claim(request.server, group, epoch, mine).finally(() => {
        if (this.#claiming.get(group)?.done === done) this.#claiming.delete(group);
      });
      this.#claiming.set(group, { epoch, done });
      return false;
    });
    return { server: request.server, groups: now };
  }

  async #claim(server: string, group: number, epoch: number, tables: number[]): Promise<void> {
    const { core, world } = this.#host;
    this.#claims.set(group, (this.#claims.get(group) ?? 0) + 1);
    try {
      const calls: Promise<Uint8Array>[] = [];
      for (const table of tables) {
        for (const [who, ranges] of this.#held.inTable(table)) {
          for (const { start, end, type, pid } of ranges) {
            const body = rangeRequest.encode({
              ...who,
              token: core.token,
              epoch,
              op: 'claim',
              type,
              start: String(start),
              end: String(end),
              wait: false,
              request: ++this.#requests,
              pid,
            });
            const options = { timeoutMs: ROUND_MS, signal: this.#host.lost };
            calls.push(this.#host.call(server, MessageType.range, body, options));
          }
        }
      }
      const answers = await Promise.all(calls);
      const refused = answers.filter((body) => rangeAnswer.decode(body).outcome !== 'granted');
      if (refused.length > 0) {
        world.log.warn('a range that was held is refused to its holder', { group, epoch });
      }
      if (core.error !== undefined) return;
      core.rebuild({ server, groups: [{ group, epoch }] }, world.clock.monotonicMs());
    } catch (error) {
      // The server asks again, or another one does.
      world.log.debug('ranges are not claimed yet', { group, epoch, error: String(error) });
    }
  }

  #ask(
    range: RangeSet,
    op: RangeRequest['op'],
    wait: boolean,
  ): { ask: { -readonly [K in keyof Ask]: Ask[K] }; who: RangeOwner; start: bigint; end: bigint } {
    this.#host.check();
    const { start = 0n, end = RANGE_END, pid = 0 } = range;
    if (start < 0n || end <= start || end > RANGE_END) {
      throw new SextantError('OUT_OF_RANGE', `no byte range: ${String(start)} to ${String(end)}`);
    }
    if (range.owner.length === 0 || range.owner.length > 256) {
      throw new SextantError('OUT_OF_RANGE', 'owner: 1 to 256 characters');
    }
    const id = lockId(range.id);
    const who: RangeOwner = {
      table: this.#host.tableNumber(range.table),
      idHigh: idHighOf(id),
      idLow: idLowOf(id),
      family: range.family,
      owner: range.owner,
    };
    const { type } = range;
    const request = ++this.#requests;
    const { token } = this.#host.core;
    const text = { start: String(start), end: String(end) };
    return { ask: { ...who, ...text, token, op, type, wait, request, pid }, who, start, end };
  }

  /** Repeats until it is answered. An aborted signal turns it into a cancel of the same request. */
  async #call(ask: Ask, signal: AbortSignal | undefined): Promise<RangeAnswer> {
    const { core, world, lost } = this.#host;
    const group = rangeGroupOf(ask.table);
    for (;;) {
      const aborted = signal?.aborted === true;
      await this.#claiming.get(group)?.done;
      this.#host.check();
      const owner = core.groups.owner(group);
      if (owner === null) {
        this.#host.mapStale();
        await world.timers.sleep(PAUSE_MS, lost).catch(() => undefined);
        continue;
      }
      const epoch = core.groups.epoch(group);
      const op = aborted ? 'cancel' : ask.op;
      const stop = new AbortController();
      const onAbort = (): void => stop.abort();
      lost.addEventListener('abort', onAbort);
      if (!aborted) signal?.addEventListener('abort', onAbort);
      try {
        const body = rangeRequest.encode({ ...ask, op, epoch });
        const options = { timeoutMs: ROUND_MS, signal: stop.signal };
        return rangeAnswer.decode(await this.#host.call(owner, MessageType.range, body, options));
      } catch (error) {
        this.#host.check();
        if (stop.signal.aborted) continue;
        if (!(error instanceof SextantError) || error.remedy !== 'retry') throw error;
        if (error.code !== 'TIMEOUT') {
          this.#host.mapStale();
          await world.timers.sleep(PAUSE_MS, lost).catch(() => undefined);
        }
      } finally {
        lost.removeEventListener('abort', onAbort);
        signal?.removeEventListener('abort', onAbort);
      }
    }
  }
}

function cancelled(): SextantError {
  return new SextantError('CANCELLED', 'the wait for a range was cancelled');
}
