/**
 * What clients saw of an object that they share: operations with the moments at which they were asked and answered.
 *
 * ```
 *   client 1   |-- write 1 --|        |---- read -> 2 ----|
 *   client 2           |------- write 2 ......................... no answer: it may have happened, or may happen yet
 *              ^ call        ^ end
 * ```
 *
 * Moments are of one clock that all clients share (the test's own). An operation without an answer ends at Infinity and
 * may have taken effect at any time since its call, or never.
 */

export interface Operation<Input, Output> {
  readonly client: string;
  /** Objects are independent of each other; each is checked by itself. */
  readonly key: string;
  readonly input: Input;
  /** Undefined: nobody knows how it ended. */
  readonly output: Output | undefined;
  readonly callMs: number;
  /** Infinity when `output` is undefined. */
  readonly endMs: number;
}

/** An operation under way. One of its methods is to be called, once. */
export interface Pending<Output> {
  answered(output: Output): void;
  /** Nobody will ever know. */
  unknown(): void;
  /** It surely did not happen, and will not. */
  never(): void;
}

/** Collects operations while clients run. */
export class History<Input, Output> {
  readonly #nowMs: () => number;
  /** In the order in which they began; undefined: it never happened. */
  readonly #operations: (Operation<Input, Output> | undefined)[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** `callMs`: when it began, if not now. */
  begin(client: string, key: string, input: Input, callMs = this.#nowMs()): Pending<Output> {
    const open = { client, key, input, output: undefined, callMs, endMs: Infinity };
    const index = this.#operations.push(open) - 1;
    let ended = false;
    const close = (operation: Operation<Input, Output> | undefined): void => {
      if (ended) throw new Error('this operation has ended already');
      ended = true;
      this.#operations[index] = operation;
    };
    return {
      answered: (output) => close({ ...open, output, endMs: this.#nowMs() }),
      unknown: () => close(open),
      never: () => close(undefined),
    };
  }

  /** All so far, in the order in which they began; what is still under way counts as unknown. */
  all(): Operation<Input, Output>[] {
    return this.#operations.filter((one) => one !== undefined);
  }
}
