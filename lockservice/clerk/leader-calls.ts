/**
 * Calls that only the leader of the Raft group answers: to whom the last NOT_LEADER named, else to one server after the other.
 *
 * | answer                                            | then                                             |
 * |---------------------------------------------------|--------------------------------------------------|
 * | NOT_LEADER leader=x                               | x is next                                        |
 * | NOT_LEADER, NOT_READY, DISCONNECTED, TIMEOUT, ... | the next server, after a pause that grows        |
 * | anything else                                     | the caller's                                     |
 */
import { SextantError, isSextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import type { ServerLink, ServerLinks } from './server-links.js';

export interface LeaderCallOptions {
  /** Of all tries together. */
  readonly deadlineMs: number;
  /** Of one try: a leader that was cut off does not answer. */
  readonly tryMs: number;
  readonly signal?: AbortSignal;
}

export interface LeaderAnswer {
  readonly body: Uint8Array;
  /** When the request that was answered was sent, on the monotonic clock. */
  readonly sentMs: number;
}

const PAUSE_MIN_MS = 10;
const PAUSE_MAX_MS = 300;

export class LeaderCalls {
  readonly #world: World;
  readonly #links: ServerLinks;
  /** Where in the list the next server is, when nobody is named. */
  #next = 0;

  constructor(world: World, links: ServerLinks) {
    this.#world = world;
    this.#links = links;
  }

  /** Repeats until it is answered: for requests that may take effect twice. Rejects with the last error at the deadline. */
  async call(type: number, body: Uint8Array, options: LeaderCallOptions): Promise<LeaderAnswer> {
    const { clock, timers, random } = this.#world;
    const endMs = clock.monotonicMs() + options.deadlineMs;
    for (let failures = 0; ; failures++) {
      const sentMs = clock.monotonicMs();
      try {
        const timeoutMs = Math.max(1, Math.min(options.tryMs, endMs - sentMs));
        const answer = await this.once(type, body, { ...options, timeoutMs });
        return { body: answer, sentMs };
      } catch (error) {
        if (!(error instanceof SextantError) || error.remedy !== 'retry') throw error;
        const refusal = this.#links.refusal();
        if (refusal !== undefined) throw refusal;
        const named = error.code === 'NOT_LEADER' && this.#links.leader !== undefined;
        const full = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** Math.min(failures, 10));
        const pauseMs = named && failures < 3 ? 0 : full / 2 + (full / 2) * random.unit();
        if (clock.monotonicMs() + pauseMs >= endMs) throw error;
        if (pauseMs > 0) await timers.sleep(pauseMs, options.signal);
      }
    }
  }

  /** One try. Rejects as RpcClient.call; the next one goes elsewhere when this one met no leader. */
  async once(
    type: number,
    body: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array> {
    const link = this.#pick();
    const { timeoutMs, signal } = options;
    try {
      return await link.rpc.call(type, body, {
        timeoutMs,
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      this.#failed(link, error);
      throw error;
    }
  }

  #pick(): ServerLink {
    const { all, leader } = this.#links;
    const named = leader === undefined ? undefined : this.#links.find(leader);
    if (named !== undefined && named.rpc.state === 'up') return named;
    for (let n = 0; n < all.length; n++) {
      const link = all[(this.#next + n) % all.length];
      if (link?.rpc.state === 'up') return link;
    }
    const any = all[this.#next % Math.max(1, all.length)];
    if (any === undefined) throw new SextantError('CLOSED', 'the clerk has no servers left');
    return any;
  }

  #failed(link: ServerLink, error: unknown): void {
    if (!(error instanceof SextantError) || error.remedy !== 'retry') return;
    const named = isSextantError(error, 'NOT_LEADER')
      ? / leader=(\S+)$/.exec(error.message)?.[1]
      : undefined;
    const { all } = this.#links;
    this.#next = all.indexOf(link) + 1;
    this.#links.leader = named === link.id ? undefined : named;
  }
}
