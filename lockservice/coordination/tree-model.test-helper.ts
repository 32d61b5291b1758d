/** What the coordination tree should do, written as dumbly as possible: a list of nodes that each write copies. */
import type { Operation } from './messages.js';

interface ModelNode {
  path: string;
  data: string;
  createdIndex: number;
  changedIndex: number;
  childrenIndex: number;
  version: number;
  childrenVersion: number;
  owner: number;
  next: number;
}

const root: ModelNode = {
  path: '/',
  data: '',
  createdIndex: 0,
  changedIndex: 0,
  childrenIndex: 0,
  version: 0,
  childrenVersion: 0,
  owner: 0,
  next: 0,
};

const parentPath = (path: string): string => path.replace(/\/[^/]*$/, '') || '/';

export class TreeModel {
  #nodes: ModelNode[] = [root];
  readonly #answers = new Map<number, object[]>();

  sequenceOf(token: number): number {
    return this.#answers.get(token)?.length ?? 0;
  }

  write(index: number, token: number, sequence: number, operations: readonly Operation[]): object {
    const answers = this.#answers.get(token) ?? [];
    if (sequence > answers.length + 1) return { kind: 'gap', expected: answers.length + 1 };
    const before = answers[sequence - 1];
    if (before !== undefined) return before;
    const nodes = this.#nodes.map((node) => ({ ...node }));
    let answer: object = { kind: 'done', index };
    for (const [failed, operation] of operations.entries()) {
      const code = perform(nodes, operation, index, token);
      if (code === undefined) continue;
      answer = { kind: 'refused', index, failed, code };
      break;
    }
    if (!('code' in answer)) this.#nodes = nodes;
    answers.push(answer);
    this.#answers.set(token, answers);
    return answer;
  }

  expire(index: number, token: number): void {
    this.#answers.delete(token);
    for (const gone of this.#nodes.filter((node) => node.owner === token)) {
      removeNode(this.#nodes, gone, index);
    }
  }

  paths(): string[] {
    return this.#nodes.map((node) => node.path).sort();
  }

  describe(): object[] {
    return this.paths().map((path) => {
      const { next: _next, ...node } = this.#nodes.find((one) => one.path === path) as ModelNode;
      const children = this.#nodes.filter((one) => one !== root && isChild(one.path, path)).length;
      return { ...node, dataBytes: Buffer.from(node.data, 'base64').length, children };
    });
  }
}

function isChild(path: string, parent: string): boolean {
  return path !== '/' && parentPath(path) === parent;
}

function removeNode(nodes: ModelNode[], gone: ModelNode, index: number): void {
  nodes.splice(nodes.indexOf(gone), 1);
  const parent = nodes.find((node) => node.path === parentPath(gone.path));
  if (parent === undefined) return;
  parent.childrenVersion++;
  parent.childrenIndex = index;
}

function perform(
  nodes: ModelNode[],
  operation: Operation,
  index: number,
  token: number,
): string | undefined {
  if (operation.op === 'create') {
    const parent = nodes.find((node) => node.path === parentPath(operation.path));
    if (parent === undefined) return 'NOT_FOUND';
    if (parent.owner !== 0) return 'PROTOCOL';
    const digits = operation.sequential ? String(parent.next).padStart(10, '0') : '';
    const path = operation.path + digits;
    if (nodes.some((node) => node.path === path)) return 'EXISTS';
    const owner = operation.ephemeral ? token : 0;
    const indices = { createdIndex: index, changedIndex: index, childrenIndex: index };
    nodes.push({ ...root, ...indices, path, data: operation.data, owner });
    if (operation.sequential) parent.next++;
    parent.childrenVersion++;
    parent.childrenIndex = index;
    return undefined;
  }
  const node = nodes.find((one) => one.path === operation.path);
  if (node === undefined) return 'NOT_FOUND';
  if (operation.version !== undefined && operation.version !== node.version) return 'CONFLICT';
  if (operation.op === 'delete') {
    if (nodes.some((one) => isChild(one.path, node.path))) return 'NOT_EMPTY';
    removeNode(nodes, node, index);
  } else if (operation.op === 'set') {
    node.data = operation.data;
    node.version++;
    node.changedIndex = index;
  }
  return undefined;
}
