/**
 * Barriers (Hunt et al., section 2.4).
 *
 * A `Barrier` is a node: while it exists, everybody waits.
 *
 * A `DoubleBarrier` lets `count` members in together and out together, again and again:
 *
 * ```
 * path            data changes with each generation
 * path/ready      exists while a generation is inside; until it is gone nobody new gets in line
 * path/members/x  ephemeral, one for each member
 *
 * enter: in line when there is no `ready`; the one that completes the count makes `ready`; all go in
 * leave: delete the own node; the last one deletes `ready` with it; all go on when `ready` is gone
 * ```
 */
import { SextantError, isSextantError } from '#core/errors.js';
import { checkPath, childOf, parentOf } from '../../coordination/paths.js';
import { type Coordination, type MultiOperation, WriteRefused } from './coordination.js';
import type { WaitOptions } from './views.js';

export class Barrier {
  readonly path: string;
  readonly #coordination: Coordination;

  constructor(coordination: Coordination, path: string) {
    checkPath(path);
    this.#coordination = coordination;
    this.path = path;
  }

  /** Closes it; no error when it is closed. With `ephemeral` it opens when this session ends. */
  async close(options: WaitOptions & { readonly ephemeral?: boolean } = {}): Promise<void> {
    const { signal, ephemeral = false } = options;
    const waits = signal === undefined ? {} : { signal };
    await this.#coordination.ensure(parentOf(this.path), waits);
    await unless('EXISTS', this.#coordination.create(this.path, '', { ephemeral, ...waits }));
  }

  /** Lets everybody pass; no error when it is open. */
  async open(options: WaitOptions = {}): Promise<void> {
    await unless('NOT_FOUND', this.#coordination.delete(this.path, options));
  }

  /** Resolves once it was open. */
  async wait(options: WaitOptions = {}): Promise<void> {
    const seen = await this.#coordination.exists(this.path, options);
    if (seen.exists) await seen.changed(options);
  }
}

export class DoubleBarrier {
  readonly path: string;
  readonly count: number;
  readonly #coordination: Coordination;
  readonly #ready: string;
  readonly #members: string;
  readonly #own: string;

  /** `member`: a name that no other member has; all say the same `count`. */
  constructor(coordination: Coordination, path: string, member: string, count: number) {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new SextantError('OUT_OF_RANGE', `a barrier of ${count} members`);
    }
    this.#coordination = coordination;
    this.path = path;
    this.count = count;
    this.#ready = childOf(path, 'ready');
    this.#members = childOf(path, 'members');
    this.#own = childOf(this.#members, member);
    checkPath(this.#own);
  }

  /** Resolves once `count` members have entered. Rejects with CANCELLED (out of the line again), LEASE_LOST, EXISTS (the name). */
  async enter(options: WaitOptions = {}): Promise<void> {
    await this.#coordination.ensure(this.#members, options);
    await this.#standInLine(options);
    try {
      await this.#untilReady(options);
    } catch (error) {
      await this.#coordination.delete(this.#own).catch(() => undefined);
      throw error;
    }
  }

  /** Resolves once all members have left. */
  async leave(options: WaitOptions = {}): Promise<void> {
    for (;;) {
      const { inside, generation, ready } = await this.#look(options);
      if (!ready.exists) return;
      const isIn = inside.includes(this.#own.slice(this.#members.length + 1));
      const isLast = inside.length === (isIn ? 1 : 0);
      if (!isIn && !isLast) {
        await this.#untilFewer(options);
        continue;
      }
      const last: MultiOperation[] = [
        { op: 'check', path: this.path, version: generation },
        { op: 'delete', path: this.#ready },
      ];
      const own: MultiOperation[] = isIn ? [{ op: 'delete', path: this.#own }] : [];
      // Refused when another one was faster: look again.
      await unless('CONFLICT', unless('NOT_FOUND', this.#multi([...own, ...(isLast ? last : [])])));
    }
  }

  /** Into the line, in one step with seeing that no generation is inside. */
  async #standInLine(options: WaitOptions): Promise<void> {
    for (;;) {
      try {
        // `ready` is made and deleted again: EXISTS at 0 says that it is there.
        await this.#multi([
          { op: 'create', path: this.#ready },
          { op: 'delete', path: this.#ready },
          { op: 'create', path: this.#own, ephemeral: true },
        ]);
        return;
      } catch (error) {
        if (!(error instanceof WriteRefused) || error.failed !== 0) throw error;
      }
      const { inside, generation, ready } = await this.#look(options);
      if (ready.exists && inside.length === 0) await this.#sweep(generation);
      else if (ready.exists) await this.#untilFewer(options);
    }
  }

  /** Every member inside has died: nobody is left to delete `ready`. */
  async #sweep(generation: number): Promise<void> {
    const sweep = this.#multi([
      { op: 'check', path: this.path, version: generation },
      { op: 'delete', path: this.#ready },
    ]);
    await unless('CONFLICT', unless('NOT_FOUND', sweep));
  }

  async #untilReady(options: WaitOptions): Promise<void> {
    for (;;) {
      const { inside, ready } = await this.#look(options);
      if (ready.exists) return;
      if (inside.length < this.count) {
        // It cannot go again before this member has seen it: that takes the last one inside.
        await ready.changed(options);
        continue;
      }
      const open = this.#multi([
        { op: 'create', path: this.#ready },
        { op: 'set', path: this.path, data: '' },
      ]);
      await unless('EXISTS', open);
    }
  }

  /** A member leaves, or the generation is over. */
  async #untilFewer(options: WaitOptions): Promise<void> {
    const children = await this.#coordination.children(this.#members, options);
    const ready = await this.#coordination.exists(this.#ready, options);
    if (!ready.exists || children.names.length === 0) return;
    const stop = new AbortController();
    const end = (): void => stop.abort();
    options.signal?.addEventListener('abort', end, { once: true });
    if (options.signal?.aborted === true) end();
    const either = [
      children.changed({ signal: stop.signal }),
      ready.changed({ signal: stop.signal }),
    ];
    try {
      await Promise.race(either);
    } finally {
      options.signal?.removeEventListener('abort', end);
      end();
      await Promise.allSettled(either);
    }
  }

  async #look(options: WaitOptions) {
    const ready = await this.#coordination.exists(this.#ready, options);
    const node = await this.#coordination.get(this.path, options);
    const { names } = await this.#coordination.children(this.#members, options);
    return { ready, generation: node.stat.version, inside: names };
  }

  #multi(operations: readonly MultiOperation[]): Promise<unknown> {
    return this.#coordination.multi(operations);
  }
}

/** No error when it was refused for this reason. */
async function unless(
  code: 'EXISTS' | 'NOT_FOUND' | 'CONFLICT',
  work: Promise<unknown>,
): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isSextantError(error, code)) throw error;
  }
}
