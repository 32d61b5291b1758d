/** A coordination node: made, set by version, removed. One path, with FIFO per client (rule of ZooKeeper's model). */
import type { Model } from './checker.js';
import type { Operation } from './history.js';

/** Null: there is none. */
export type NodeState = { readonly version: number; readonly data: string } | null;
export type NodeInput =
  | { readonly op: 'get' }
  | { readonly op: 'create'; readonly data: string }
  /** -1: whatever the version. */
  | { readonly op: 'set'; readonly data: string; readonly version: number }
  | { readonly op: 'delete'; readonly version: number };
export type NodeOutput =
  | { readonly node: NodeState }
  | { readonly version: number }
  | { readonly refused: 'EXISTS' | 'NOT_FOUND' | 'CONFLICT' };
export type NodeOperation = Operation<NodeInput, NodeOutput>;

interface Step {
  readonly state: NodeState;
  readonly output: NodeOutput;
}

/** What the node would answer. Versions count from 0 at each creation. */
export function nodeStep(state: NodeState, input: NodeInput): Step {
  if (input.op === 'get') return { state, output: { node: state } };
  if (input.op === 'create') {
    if (state !== null) return { state, output: { refused: 'EXISTS' } };
    return { state: { version: 0, data: input.data }, output: { version: 0 } };
  }
  if (state === null) return { state, output: { refused: 'NOT_FOUND' } };
  if (input.version !== -1 && input.version !== state.version) {
    return { state, output: { refused: 'CONFLICT' } };
  }
  if (input.op === 'delete') return { state: null, output: { version: -1 } };
  const version = state.version + 1;
  return { state: { version, data: input.data }, output: { version } };
}

export const nodeModel: Model<NodeState, NodeInput, NodeOutput> = {
  initial: null,
  step(state, input, output) {
    const next = nodeStep(state, input);
    if (output === undefined) return next.state === state ? undefined : next.state;
    return textOf(next.output) === textOf(output) ? next.state : undefined;
  },
  keyOf: (state) => (state === null ? '' : `${state.version} ${state.data}`),
};

function textOf(output: NodeOutput): string {
  if ('refused' in output) return output.refused;
  if ('version' in output) return `v${output.version}`;
  return output.node === null ? 'none' : `${output.node.version} ${output.node.data}`;
}
