/**
 * The nodes of the coordination tree, and one write's changes to them with the way back.
 *
 * A write is applied operation by operation; each change leaves its opposite in `#undo`, so that a failing operation
 * takes the ones before it back without a copy of anything.
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import type {
  CheckOperation,
  CreateOperation,
  DeleteOperation,
  NodeStat,
  Operation,
  OperationResult,
  SetOperation,
} from './messages.js';
import { base64Bytes } from './messages.js';
import {
  SEQUENCE_END,
  checkPath,
  checkPrefix,
  childOf,
  nameOf,
  parentOf,
  sequenceText,
} from './paths.js';

export interface TreeEvent {
  readonly kind: 'created' | 'deleted' | 'changed';
  readonly path: string;
  readonly index: number;
}

/** Counted for each node beside its data and its path: about what V8 takes for it. */
export const NODE_OVERHEAD_BYTES = 200;

export interface TreeLimits {
  readonly nodesMax: number;
  /** Of data, paths, overheads and kept results. */
  readonly bytesMax: number;
}

export class TreeNode {
  readonly path: string;
  /** Base64. */
  data: string;
  version = 0;
  childrenVersion = 0;
  readonly createdIndex: number;
  changedIndex: number;
  childrenIndex: number;
  readonly owner: number;
  /** Of the next sequential child. */
  nextSequence = 0;
  /** Their names; most nodes have none. */
  children: Set<string> | undefined = undefined;

  constructor(path: string, data: string, index: number, owner: number) {
    this.path = path;
    this.data = data;
    this.createdIndex = index;
    this.changedIndex = index;
    this.childrenIndex = index;
    this.owner = owner;
  }

  get bytes(): number {
    return NODE_OVERHEAD_BYTES + this.path.length + base64Bytes(this.data);
  }

  stat(): NodeStat {
    return {
      createdIndex: this.createdIndex,
      changedIndex: this.changedIndex,
      childrenIndex: this.childrenIndex,
      version: this.version,
      childrenVersion: this.childrenVersion,
      owner: this.owner,
      dataBytes: base64Bytes(this.data),
      children: this.children?.size ?? 0,
    };
  }
}

export class TreeNodes {
  readonly #limits: TreeLimits;
  readonly #nodes = new Map<string, TreeNode>();
  /** Token -> paths of its ephemeral nodes. */
  readonly #ephemerals = new Map<number, Set<string>>();
  #bytes = 0;
  #undo: (() => void)[] = [];
  #events: TreeEvent[] = [];

  constructor(limits: TreeLimits) {
    this.#limits = limits;
    this.#nodes.set('/', new TreeNode('/', '', 0, 0));
  }

  get count(): number {
    return this.#nodes.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes that something else of the tree takes. */
  account(bytes: number): void {
    this.#bytes += bytes;
  }

  get(path: string): TreeNode | undefined {
    return this.#nodes.get(path);
  }

  all(): Iterable<TreeNode> {
    return this.#nodes.values();
  }

  ephemeralsOf(token: number): string[] {
    return [...(this.#ephemerals.get(token) ?? [])].sort();
  }

  owners(): number[] {
    return [...this.#ephemerals.keys()].sort((a, b) => a - b);
  }

  /** Puts a node of a snapshot in, its parent before it. */
  load(node: TreeNode): void {
    if (node.path !== '/') {
      const parent = this.#nodes.get(parentOf(node.path));
      if (parent === undefined || parent.owner !== 0 || this.#nodes.has(node.path)) {
        throw new SextantError('CORRUPTION', `snapshot: ${node.path} has no place in the tree`);
      }
      this.#link(parent, node);
      return;
    }
    this.#nodes.set('/', node);
  }

  /** Throws what the operation is refused with; nothing of it was done then. */
  perform(operation: Operation, index: number, token: number): OperationResult {
    switch (operation.op) {
      case 'create':
        return this.#create(operation, index, token);
      case 'set':
        return this.#set(operation, index);
      case 'delete':
        return this.#delete(operation, index);
      case 'check':
        return this.#check(operation);
    }
  }

  /**
   * What has been performed since the last commit or rollback stands. A node that was made and deleted again in one
   * write was never there for anybody: it is no event.
   */
  commit(): readonly TreeEvent[] {
    const events = this.#undo.length > 1 ? withoutPassing(this.#events) : this.#events;
    this.#undo = [];
    this.#events = [];
    return events;
  }

  rollback(): void {
    for (let i = this.#undo.length - 1; i >= 0; i--) this.#undo[i]?.();
    this.#undo = [];
    this.#events = [];
  }

  #create(operation: CreateOperation, index: number, token: number): OperationResult {
    if (operation.sequential) checkPrefix(operation.path);
    else checkPath(operation.path);
    if (operation.path === '/') throw new SextantError('EXISTS', '/ exists');
    const parent = this.#nodes.get(parentOf(operation.path));
    if (parent === undefined) {
      throw new SextantError('NOT_FOUND', `${parentOf(operation.path)} does not exist`);
    }
    if (parent.owner !== 0) {
      throw new SextantError('PROTOCOL', `${parent.path} is ephemeral and has no children`);
    }
    const path = operation.sequential ? sequentialPath(operation.path, parent) : operation.path;
    checkPath(path);
    if (this.#nodes.has(path)) throw new SextantError('EXISTS', `${path} exists`);
    const node = new TreeNode(path, operation.data, index, operation.ephemeral ? token : 0);
    this.#refuseOverLimits(1, node.bytes);
    const { childrenVersion, childrenIndex, nextSequence } = parent;
    this.#link(parent, node);
    parent.childrenVersion++;
    parent.childrenIndex = index;
    if (operation.sequential) parent.nextSequence++;
    this.#undo.push(() => {
      this.#unlink(parent, node);
      parent.childrenVersion = childrenVersion;
      parent.childrenIndex = childrenIndex;
      parent.nextSequence = nextSequence;
    });
    this.#events.push({ kind: 'created', path, index });
    return { path, stat: node.stat() };
  }

  #set(operation: SetOperation, index: number): OperationResult {
    const node = this.#expect(operation.path, operation.version);
    const { data, version, changedIndex } = node;
    const growth = base64Bytes(operation.data) - base64Bytes(data);
    this.#refuseOverLimits(0, growth);
    node.data = operation.data;
    node.version++;
    node.changedIndex = index;
    this.#bytes += growth;
    this.#undo.push(() => {
      node.data = data;
      node.version = version;
      node.changedIndex = changedIndex;
      this.#bytes -= growth;
    });
    this.#events.push({ kind: 'changed', path: node.path, index });
    return { path: node.path, stat: node.stat() };
  }

  #delete(operation: DeleteOperation, index: number): OperationResult {
    const node = this.#expect(operation.path, operation.version);
    if (node.path === '/') throw new SextantError('PROTOCOL', '/ stays');
    if (node.children !== undefined) {
      throw new SextantError('NOT_EMPTY', `${node.path} has ${node.children.size} children`);
    }
    this.#remove(node, index);
    return { path: node.path, stat: null };
  }

  #check(operation: CheckOperation): OperationResult {
    const node = this.#expect(operation.path, operation.version);
    return { path: node.path, stat: node.stat() };
  }

  /** Deletes a node that has no children. */
  #remove(node: TreeNode, index: number): void {
    const parent = this.#nodes.get(parentOf(node.path));
    assert(parent !== undefined, 'every node but the root has a parent');
    const { childrenVersion, childrenIndex } = parent;
    this.#unlink(parent, node);
    parent.childrenVersion++;
    parent.childrenIndex = index;
    this.#undo.push(() => {
      this.#link(parent, node);
      parent.childrenVersion = childrenVersion;
      parent.childrenIndex = childrenIndex;
    });
    this.#events.push({ kind: 'deleted', path: node.path, index });
  }

  /** Deletes the ephemeral nodes of a clerk; to be committed. */
  removeOwned(token: number, index: number): void {
    for (const path of this.ephemeralsOf(token)) {
      const node = this.#nodes.get(path);
      assert(node !== undefined, 'an ephemeral node that is listed exists');
      this.#remove(node, index);
    }
  }

  #expect(path: string, version: number | undefined): TreeNode {
    checkPath(path);
    const node = this.#nodes.get(path);
    if (node === undefined) throw new SextantError('NOT_FOUND', `${path} does not exist`);
    if (version !== undefined && version !== node.version) {
      throw new SextantError('CONFLICT', `${path} is at version ${node.version}, not ${version}`);
    }
    return node;
  }

  #refuseOverLimits(nodes: number, bytes: number): void {
    const { nodesMax, bytesMax } = this.#limits;
    if (nodes > 0 && this.#nodes.size + nodes > nodesMax) {
      throw new SextantError('OVERLOADED', `the coordination tree has ${nodesMax} nodes already`);
    }
    if (bytes > 0 && this.#bytes + bytes > bytesMax) {
      throw new SextantError('OVERLOADED', `the coordination tree is full: ${bytesMax} bytes`);
    }
  }

  #link(parent: TreeNode, node: TreeNode): void {
    parent.children ??= new Set();
    parent.children.add(nameOf(node.path));
    this.#nodes.set(node.path, node);
    this.#bytes += node.bytes;
    if (node.owner === 0) return;
    const owned = this.#ephemerals.get(node.owner);
    if (owned === undefined) this.#ephemerals.set(node.owner, new Set([node.path]));
    else owned.add(node.path);
  }

  #unlink(parent: TreeNode, node: TreeNode): void {
    this.#nodes.delete(node.path);
    this.#bytes -= node.bytes;
    parent.children?.delete(nameOf(node.path));
    if (parent.children?.size === 0) parent.children = undefined;
    const owned = this.#ephemerals.get(node.owner);
    owned?.delete(node.path);
    if (owned?.size === 0) this.#ephemerals.delete(node.owner);
  }
}

function withoutPassing(events: readonly TreeEvent[]): TreeEvent[] {
  const first = new Map<string, TreeEvent>();
  const last = new Map<string, TreeEvent>();
  for (const event of events) {
    if (!first.has(event.path)) first.set(event.path, event);
    last.set(event.path, event);
  }
  return events.filter(
    ({ path }) => first.get(path)?.kind !== 'created' || last.get(path)?.kind !== 'deleted',
  );
}

function sequentialPath(prefix: string, parent: TreeNode): string {
  if (parent.nextSequence >= SEQUENCE_END) {
    throw new SextantError('OUT_OF_RANGE', `${parent.path} has used all its sequence numbers`);
  }
  return childOf(parent.path, nameOf(prefix) + sequenceText(parent.nextSequence));
}
