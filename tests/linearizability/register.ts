/** A register that clients read, write, and compare and set: the model that coordination nodes and blocks are compared with. */
import type { Model } from './checker.js';
import type { Operation } from './history.js';

/** Null: nothing was ever written. */
export type RegisterValue = number | null;
export type RegisterInput =
  | { readonly op: 'read' }
  | { readonly op: 'write'; readonly value: number }
  | { readonly op: 'cas'; readonly expected: RegisterValue; readonly value: number };
export type RegisterOutput =
  | { readonly value: RegisterValue }
  | { readonly done: true }
  | { readonly swapped: boolean };
export type RegisterOperation = Operation<RegisterInput, RegisterOutput>;

export const registerModel: Model<RegisterValue, RegisterInput, RegisterOutput> = {
  initial: null,
  step(state, input, output) {
    if (input.op === 'read') {
      return output === undefined || ('value' in output && output.value === state)
        ? state
        : undefined;
    }
    if (input.op === 'write') return input.value;
    const swaps = state === input.expected;
    if (output !== undefined && !('swapped' in output && output.swapped === swaps))
      return undefined;
    return swaps ? input.value : state;
  },
  keyOf: (state) => String(state),
};

/** What a register would answer: for making histories. */
export function answerOf(
  state: RegisterValue,
  input: RegisterInput,
): { state: RegisterValue; output: RegisterOutput } {
  if (input.op === 'read') return { state, output: { value: state } };
  if (input.op === 'write') return { state: input.value, output: { done: true } };
  const swapped = state === input.expected;
  return { state: swapped ? input.value : state, output: { swapped } };
}
