/**
 * When to fold, and what (rule 21). Pure: it is told the figures and the time.
 *
 * | situation                                       | what    | share of the thread's time, at most |
 * |-------------------------------------------------|---------|-------------------------------------|
 * | index or journal at its hard limit              | oldest  | 1                                   |
 * | index past 3/4 of its budget, journal past its  | oldest  | 0.3, or what idleness allows        |
 * | ripe pages for half a batch, or any when idle   | ripe    | 0.1 busy ... 1 idle                 |
 * | otherwise                                       | nothing |                                     |
 *
 * "Oldest": the pages whose records lie in the oldest journal file, so that it can be freed.
 *
 * When even folding without pauses does not keep up, the foreground waits for it:
 *
 * ```
 *   load, of the hard limit     0 ............ 1 ...................... 2
 *   an acknowledgement waits    not at all     0 ms, ever more, 150 ms   boxcars are refused
 * ```
 */
export interface FoldSituation {
  readonly ripePages: number;
  readonly batchPages: number;
  readonly indexBytes: number;
  readonly indexBytesMax: number;
  readonly journalBytes: number;
  readonly journalBytesMax: number;
  /** How much the foreground leaves: 0 busy, 1 idle. */
  readonly pressure: number;
  readonly nowMs: number;
}

export type FoldChoice = 'nothing' | 'ripe' | 'oldest';

const BUSY_SHARE = 0.1;
const SOFT_SHARE = 0.3;
/** The journal's hard limit, relative to the soft one. */
const JOURNAL_HARD = 1.5;

export class FoldPolicy {
  #restUntilMs = 0;

  choose(now: FoldSituation): FoldChoice {
    const isHard = isHardPressed(now);
    if (!isHard && now.nowMs < this.#restUntilMs) return 'nothing';
    if (isHard || isSoftPressed(now)) return 'oldest';
    const enough = now.pressure >= 0.5 ? 1 : now.batchPages / 2;
    return now.ripePages >= enough ? 'ripe' : 'nothing';
  }

  /** A job ended at `now.nowMs` after it took the thread for `busyMs`: rest, to keep the share. */
  ran(now: FoldSituation, busyMs: number): void {
    let share = BUSY_SHARE + (1 - BUSY_SHARE) * now.pressure;
    if (isSoftPressed(now)) share = Math.max(share, SOFT_SHARE);
    this.#restUntilMs = now.nowMs + busyMs * (1 / share - 1);
  }

  /** The disk was full: rest a while. */
  backOff(nowMs: number): void {
    this.#restUntilMs = nowMs + 1000;
  }
}

/** Index or journal at its hard limit. */
export function isHardPressed(now: FoldSituation): boolean {
  return loadOf(now) >= 1;
}

/** Index or journal as a share of its hard limit. */
export function loadOf(
  now: Pick<FoldSituation, 'indexBytes' | 'indexBytesMax' | 'journalBytes' | 'journalBytesMax'>,
): number {
  const journal = now.journalBytes / (now.journalBytesMax * JOURNAL_HARD);
  return Math.max(now.indexBytes / now.indexBytesMax, journal);
}

/** Below what makes an engine send again what it sent. */
export const HOLD_MS_MAX = 150;
const REFUSE_LOAD = 2;

/** How long an acknowledgement waits at this load; Infinity: nothing more is taken. */
export function holdMsAt(load: number): number {
  if (load <= 1) return 0;
  return load < REFUSE_LOAD ? HOLD_MS_MAX * (load - 1) ** 2 : Infinity;
}

function isSoftPressed(now: FoldSituation): boolean {
  return now.indexBytes * 4 >= now.indexBytesMax * 3 || now.journalBytes > now.journalBytesMax;
}
