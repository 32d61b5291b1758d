/** The definition, tried out: every order of every choice of unanswered operations. For histories of a few operations. */
import type { Model } from './checker.js';
import type { Operation } from './history.js';

export function linearizableByForce<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  fifo?: (earlier: Input) => boolean,
): boolean {
  const try_ = (state: State, done: readonly Operation<Input, Output>[]): boolean => {
    const left = operations.filter((one) => !done.includes(one));
    if (left.every(({ output }) => output === undefined)) return true;
    return left.some((one) => {
      const overtakes = left.some((other) => other !== one && other.endMs < one.callMs);
      if (overtakes) return false;
      if (fifo !== undefined && !inTurn(one, operations, done, fifo)) return false;
      const next = model.step(state, one.input, one.output, one.client);
      return next !== undefined && try_(next, [...done, one]);
    });
  };
  return try_(model.initial, []);
}

function inTurn<Input, Output>(
  one: Operation<Input, Output>,
  all: readonly Operation<Input, Output>[],
  done: readonly Operation<Input, Output>[],
  before: (earlier: Input) => boolean,
): boolean {
  const mine = all.filter(({ client }) => client === one.client);
  return mine.every((other) => {
    if (other === one) return true;
    if (other.callMs > one.callMs) return !before(one.input) || !done.includes(other);
    return !before(other.input) || done.includes(other) || other.output === undefined;
  });
}
