/**
 * The writes of one session: pipelined, in order, each exactly once.
 *
 * ```
 *  waiting (no number yet)      sent, unanswered: at most 128, numbered      answered
 *  w9 w8 w7 ------------------> 6  5  4 -----------------------------------> 3 2 1
 *                                     ^ a try fails (leader gone, no answer, gap): after a pause everything from the
 *                                       first unanswered one is sent again, to the leader of then
 * ```
 *
 * The service applies a number once and in order (TREE-1), so that sending again is harmless, whatever became of the
 * first try. A write that the leader refuses before it proposes it (its form is wrong) would leave a hole that stops
 * everything behind it: a `check` of the root takes its number.
 */
import { SextantError } from '#core/errors.js';
import type { Timer } from '#core/world/world.js';
import { UNANSWERED_MAX, writeAnswer, writeRequest } from '../../coordination/messages.js';
import type {
  Operation,
  WatchEvents,
  WatchState,
  WriteOutcome,
} from '../../coordination/messages.js';
import { MessageType } from '../../protocol/messages.js';
import {
  TRY_TIMEOUT_MS,
  backoffMs,
  cancelled,
  endsSession,
  lostError,
  mayRetry,
  onAbort,
  type CoordinationTransport,
} from './transport.js';

/** Not sent yet; more are refused with OVERLOADED. */
const WAITING_MAX = 10_000;
const NOTHING: readonly Operation[] = [{ op: 'check', path: '/' }];

export type Outcome = Exclude<WriteOutcome, { kind: 'gap' }>;

interface Write {
  operations: readonly Operation[];
  /** What it was refused with before it got into the log. */
  refusal: SextantError | undefined;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: SextantError) => void;
}

export interface WriteQueueHooks {
  /** What to say of watches in a request. */
  watchState(): WatchState;
  /** Of each answer, before the write's caller is told. */
  answered(watch: WatchEvents): void;
}

export class WriteQueue {
  readonly #transport: CoordinationTransport;
  readonly #hooks: WriteQueueHooks;
  #waiting: Write[] = [];
  /** By number, from `#first` up to `#next` - 1; answered ones in between are gone already. */
  readonly #unanswered = new Map<number, Write>();
  /** Lowest number without an answer. */
  #first = 1;
  /** Number of the next new write. */
  #next = 1;
  /** Next number to send; below `#next` when writes are sent again. */
  #cursor = 1;
  /** A failure of a try of an earlier round says nothing about the tries of this one. */
  #round = 0;
  #failures = 0;
  #pause: Timer | undefined;
  #idle: (() => void)[] = [];
  #ended: SextantError | undefined;

  constructor(transport: CoordinationTransport, hooks: WriteQueueHooks) {
    this.#transport = transport;
    this.#hooks = hooks;
    const { lost } = transport;
    if (lost.aborted) this.#ended = lostError(lost);
    onAbort(lost, () => this.#end(lostError(lost)));
  }

  /**
   * Rejects with OVERLOADED, LEASE_LOST, CANCELLED (a write that is on its way may still take effect) and with what a
   * leader refuses without looking at the tree.
   */
  write(operations: readonly Operation[], signal?: AbortSignal): Promise<Outcome> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (signal?.aborted === true) return Promise.reject(cancelled());
    if (this.#waiting.length >= WAITING_MAX) {
      return Promise.reject(new SextantError('OVERLOADED', `${WAITING_MAX} writes wait`));
    }
    return new Promise((resolve, reject) => {
      const write: Write = {
        operations,
        refusal: undefined,
        resolve: (outcome) => {
          forget();
          resolve(outcome);
        },
        reject: (error) => {
          forget();
          reject(error);
        },
      };
      const forget = onAbort(signal, () => {
        const place = this.#waiting.indexOf(write);
        if (place >= 0) this.#waiting.splice(place, 1);
        write.reject(cancelled());
        this.#wakeIdle();
      });
      this.#waiting.push(write);
      this.#pump();
    });
  }

  /** Resolves once every write begun before has its answer, or has failed. */
  settled(): Promise<void> {
    if (this.#isIdle) return Promise.resolve();
    const last = this.#next - 1 + this.#waiting.length;
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.#isIdle || this.#first > last) resolve();
        else this.#idle.push(look);
      };
      this.#idle.push(look);
    });
  }

  get #isIdle(): boolean {
    return this.#waiting.length === 0 && this.#unanswered.size === 0;
  }

  #pump(): void {
    if (this.#pause !== undefined) return;
    while (this.#cursor < this.#next) {
      this.#send(this.#cursor);
      this.#cursor++;
    }
    while (this.#next - this.#first < UNANSWERED_MAX) {
      const write = this.#waiting.shift();
      if (write === undefined) return;
      const sequence = this.#next;
      this.#next++;
      this.#cursor = this.#next;
      this.#unanswered.set(sequence, write);
      this.#send(sequence);
    }
  }

  #send(sequence: number): void {
    const write = this.#unanswered.get(sequence);
    if (write === undefined) return;
    const { stream, seen } = this.#hooks.watchState();
    const { operations } = write;
    const acknowledged = this.#first - 1;
    const body = writeRequest.encode({ stream, seen, sequence, acknowledged, operations });
    const round = this.#round;
    this.#transport.call(MessageType.coordWrite, body, { timeoutMs: TRY_TIMEOUT_MS }).then(
      (answer) => this.#answered(sequence, round, answer),
      (error: unknown) => this.#failed(sequence, round, error),
    );
  }

  #answered(sequence: number, round: number, body: Uint8Array): void {
    let answer;
    try {
      answer = writeAnswer.decode(body);
    } catch (error) {
      this.#failed(sequence, round, error);
      return;
    }
    this.#hooks.answered(answer.watch);
    const { outcome } = answer;
    if (outcome.kind === 'gap') {
      this.#again(round);
      return;
    }
    this.#failures = 0;
    const write = this.#take(sequence);
    if (write === undefined) return;
    if (write.refusal === undefined) write.resolve(outcome);
    else write.reject(write.refusal);
    this.#wakeIdle();
    this.#pump();
  }

  #failed(sequence: number, round: number, error: unknown): void {
    if (endsSession(error)) {
      this.#end(error as SextantError);
      return;
    }
    if (!mayRetry(error)) {
      const write = this.#unanswered.get(sequence);
      if (write === undefined) return;
      const known = error instanceof SextantError;
      write.refusal ??= known ? error : new SextantError('INTERNAL', String(error));
      write.operations = NOTHING;
    }
    this.#again(round);
  }

  /** Everything from the first unanswered one on is sent again after a pause. */
  #again(round: number): void {
    if (round !== this.#round || this.#ended !== undefined) return;
    this.#round++;
    this.#cursor = this.#first;
    const { world } = this.#transport;
    this.#pause = world.timers.after(backoffMs(world, this.#failures), () => {
      this.#pause = undefined;
      this.#pump();
    });
    this.#failures++;
  }

  #take(sequence: number): Write | undefined {
    const write = this.#unanswered.get(sequence);
    this.#unanswered.delete(sequence);
    while (this.#first < this.#next && !this.#unanswered.has(this.#first)) this.#first++;
    this.#cursor = Math.max(this.#cursor, this.#first);
    return write;
  }

  #end(error: SextantError): void {
    this.#ended ??= error;
    this.#pause?.cancel();
    const writes = [...this.#unanswered.values(), ...this.#waiting];
    this.#unanswered.clear();
    this.#waiting = [];
    this.#first = this.#next;
    this.#cursor = this.#next;
    for (const write of writes) write.reject(error);
    this.#wakeIdle();
  }

  #wakeIdle(): void {
    const waiters = this.#idle;
    this.#idle = [];
    for (const look of waiters) look();
  }
}
