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

/** Collects operations while clients run. */
export class History<Input, Output> {
  readonly operations: Operation<Input, Output>[] = [];
  readonly #nowMs: () => number;
  /** Of operations that are still under way. */
  readonly #open = new Set<{ client: string; key: string; input: Input; callMs: number }>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Call what it returns with the answer, or with undefined once nobody will ever know it. */
  begin(client: string, key: string, input: Input): (output: Output | undefined) => void {
    const open = { client, key, input, callMs: this.#nowMs() };
    this.#open.add(open);
    return (output) => {
      if (!this.#open.delete(open)) throw new Error('this operation has ended already');
      const endMs = output === undefined ? Infinity : this.#nowMs();
      this.operations.push({ ...open, output, endMs });
    };
  }

  /** All so far; what is still under way counts as unknown. */
  all(): Operation<Input, Output>[] {
    const open = [...this.#open].map((one) => ({ ...one, output: undefined, endMs: Infinity }));
    return [...this.operations, ...open];
  }
}
