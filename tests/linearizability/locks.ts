/**
 * A lock with its modes and leases, as a model and as a sweep over intervals.
 *
 * Who takes a lock holds it from some moment of the call until some moment of its release, or until its lease ends. The
 * lease is the holder's own: it ends, as far as anybody may rely on it, when the holder stops believing in it.
 *
 * ```
 *   clerk 1   |-acquire-|=== surely holds ===|-release-|
 *   clerk 2        |---------- acquire ----------------|== surely holds ==: killed here; 'lapse' may come any time later
 * ```
 *
 * `lapse` of a killed client is an operation without an answer, called when it died: nobody may hold in its way before
 * that, everybody may afterwards. One of a client that noticed its lost lease itself is a release at that moment.
 */
import type { Model } from './checker.js';
import type { Operation } from './history.js';

export type LockMode = 'shared' | 'exclusive' | 'open' | 'destroy';
export type LockInput =
  | { readonly op: 'acquire'; readonly mode: LockMode }
  /** Answers at once; false: it was held in a conflicting mode. */
  | { readonly op: 'try'; readonly mode: LockMode }
  | { readonly op: 'release'; readonly mode: LockMode }
  /** All that the client holds of the lock is gone. */
  | { readonly op: 'lapse' };
export interface LockOutput {
  /** True of whatever was done; false only of `try`. */
  readonly done: boolean;
}
export type LockOperation = Operation<LockInput, LockOutput>;

interface Holding {
  readonly client: string;
  readonly mode: LockMode;
}

/** Rule 7: shared and exclusive are one pair, open and destroy another. */
export function conflicts(a: LockMode, b: LockMode): boolean {
  const aspect = (mode: LockMode): boolean => mode === 'open' || mode === 'destroy';
  const alone = (mode: LockMode): boolean => mode === 'exclusive' || mode === 'destroy';
  return aspect(a) === aspect(b) && (alone(a) || alone(b));
}

const inTheWay = (state: readonly Holding[], client: string, mode: LockMode): boolean =>
  state.some((held) => held.client !== client && conflicts(held.mode, mode));

export const lockModel: Model<readonly Holding[], LockInput, LockOutput> = {
  initial: [],
  step(state, input, output, client) {
    switch (input.op) {
      case 'acquire':
      case 'try': {
        const free = !inTheWay(state, client, input.mode);
        if (output?.done === false) return free || input.op === 'acquire' ? undefined : state;
        if (!free) return undefined;
        return [...state, { client, mode: input.mode }];
      }
      case 'release': {
        const at = state.findIndex((one) => one.client === client && one.mode === input.mode);
        if (at < 0) return undefined;
        return state.filter((_, index) => index !== at);
      }
      case 'lapse':
        return state.filter((held) => held.client !== client);
    }
  },
  keyOf: (state) =>
    state
      .map(({ client, mode }) => `${client}/${mode}`)
      .toSorted()
      .join(' '),
};

/** A time in which a client is sure to hold the lock. */
export interface Interval {
  readonly client: string;
  readonly key: string;
  readonly mode: LockMode;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Two intervals of different clients that conflict and have more than a moment in common, or undefined. */
export function overlap(intervals: readonly Interval[]): readonly [Interval, Interval] | undefined {
  const byKey = new Map<string, Interval[]>();
  for (const interval of intervals.toSorted((a, b) => a.fromMs - b.fromMs)) {
    const open = (byKey.get(interval.key) ?? []).filter(({ toMs }) => toMs > interval.fromMs);
    for (const other of open) {
      const both = Math.min(other.toMs, interval.toMs) > interval.fromMs;
      if (both && other.client !== interval.client && conflicts(other.mode, interval.mode)) {
        return [other, interval];
      }
    }
    open.push(interval);
    byKey.set(interval.key, open);
  }
  return undefined;
}

/** When each client was sure to hold what: from the end of its acquire to the call of its release or lapse. */
export function sureIntervals(operations: readonly LockOperation[]): Interval[] {
  const intervals: Interval[] = [];
  const open: { operation: LockOperation; mode: LockMode }[] = [];
  const moment = (one: LockOperation): number =>
    one.input.op === 'acquire' || one.input.op === 'try' ? one.endMs : one.callMs;
  for (const operation of operations.toSorted((a, b) => moment(a) - moment(b))) {
    const { input, client, key, output } = operation;
    if (input.op === 'acquire' || input.op === 'try') {
      if (output?.done === true) open.push({ operation, mode: input.mode });
      continue;
    }
    for (let i = 0; i < open.length; i++) {
      const { operation: taken, mode } = open[i] as (typeof open)[number];
      if (taken.client !== client || taken.key !== key) continue;
      if (input.op === 'release' && mode !== input.mode) continue;
      intervals.push({ client, key, mode, fromMs: taken.endMs, toMs: operation.callMs });
      open.splice(i--, 1);
      if (input.op === 'release') break;
    }
  }
  for (const { operation, mode } of open) {
    const { client, key, endMs } = operation;
    intervals.push({ client, key, mode, fromMs: endMs, toMs: Infinity });
  }
  return intervals;
}
