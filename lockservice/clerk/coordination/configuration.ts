/**
 * A configuration of any number of entries that readers see whole or not at all (Hunt et al., section 2.3).
 *
 * ```
 * path            set with each step of a publication: its version orders them
 * path/ready      absent while a publication is under way
 * path/entries/x  one for each entry
 *
 * publish: [set path at version v, delete ready, changes] [set path at v+1, changes] ... [.., changes, create ready]
 * read:    ready and path at v; the entries; path still at v -- else from the start
 * ```
 *
 * A publisher that dies half way leaves no `ready`: readers wait, or keep what they have, until the next publication. Of two
 * publishers at a time one ends with CONFLICT.
 */
import { SextantError, isSextantError } from '#core/errors.js';
import { checkPath, childOf } from '../../coordination/paths.js';
import type { Coordination, MultiOperation, NodeData } from './coordination.js';
import type { NodeView, WaitOptions } from './views.js';
import type { NodeEvent } from './watch-registry.js';

/** In one step; together under 4 MiB with the base64 of it. */
const STEP_OPERATIONS = 500;
const STEP_BYTES = 2 * 1024 * 1024;
const READ_AT_ONCE = 1000;

export class ConfigurationView {
  /** Grows with each publication. */
  readonly version: number;
  readonly entries: ReadonlyMap<string, Uint8Array>;
  readonly #node: NodeView;

  constructor(node: NodeView, entries: ReadonlyMap<string, Uint8Array>) {
    this.#node = node;
    this.version = node.stat.version;
    this.entries = entries;
  }

  /** An entry as UTF-8. */
  text(name: string): string | undefined {
    const data = this.entries.get(name);
    return data === undefined ? undefined : new TextDecoder().decode(data);
  }

  /** Resolves when another publication has begun, at once when it has already: `read` then waits for its end. */
  changed(options: WaitOptions = {}): Promise<NodeEvent> {
    return this.#node.changed(options);
  }
}

export class Configuration {
  readonly path: string;
  readonly #coordination: Coordination;
  readonly #ready: string;
  readonly #entries: string;

  constructor(coordination: Coordination, path: string) {
    checkPath(path);
    this.#coordination = coordination;
    this.path = path;
    this.#ready = childOf(path, 'ready');
    this.#entries = childOf(path, 'entries');
  }

  /** Replaces all entries; answers the new version. Rejects with CONFLICT when another publication came between. */
  async publish(
    entries: Iterable<readonly [string, NodeData]>,
    options: WaitOptions = {},
  ): Promise<number> {
    await this.#coordination.ensure(this.#entries, options);
    const { nodes } = await this.#coordination.readAll([this.path, this.#ready], options);
    const [root, ready] = nodes;
    const version = root?.stat.version;
    if (version === undefined) throw new SextantError('CONFLICT', `${this.path} was deleted`);
    const { names } = await this.#coordination.children(this.#entries, options);
    const begin: MultiOperation[] = ready ? [{ op: 'delete', path: this.#ready }] : [];
    const end: MultiOperation[] = [{ op: 'create', path: this.#ready }];
    const steps = inSteps([...begin, ...this.#changes(new Map(entries), names), ...end]);
    let at = version;
    for (const step of steps) {
      const turn: MultiOperation = { op: 'set', path: this.path, data: '', version: at };
      try {
        await this.#coordination.multi([turn, ...step], options);
      } catch (error) {
        throw conflict(error, this.path);
      }
      at++;
    }
    return at;
  }

  /** The newest whole publication; waits while there is none. */
  async read(options: WaitOptions = {}): Promise<ConfigurationView> {
    for (;;) {
      const { nodes } = await this.#coordination.readAll([this.path, this.#ready], options);
      const [root, ready] = nodes;
      if (!root || !ready) {
        const seen = await this.#coordination.exists(this.#ready, options);
        if (!seen.exists) await seen.changed(options);
        continue;
      }
      const entries = await this.#readEntries(root, options);
      if (entries !== undefined) return new ConfigurationView(root, entries);
    }
  }

  /** The configuration now and after each publication, for ever. Some in between may be skipped, the last one never is. */
  async *follow(options: WaitOptions = {}): AsyncGenerator<ConfigurationView, never> {
    for (;;) {
      const view = await this.read(options);
      yield view;
      await view.changed(options);
    }
  }

  #changes(entries: ReadonlyMap<string, NodeData>, names: readonly string[]): MultiOperation[] {
    const changes: MultiOperation[] = [];
    for (const name of names) {
      if (!entries.has(name)) changes.push({ op: 'delete', path: childOf(this.#entries, name) });
    }
    for (const [name, data] of entries) {
      const path = childOf(this.#entries, name);
      changes.push({ op: names.includes(name) ? 'set' : 'create', path, data });
    }
    return changes;
  }

  /** undefined: a publication came between. */
  async #readEntries(
    root: NodeView,
    options: WaitOptions,
  ): Promise<Map<string, Uint8Array> | undefined> {
    const entries = new Map<string, Uint8Array>();
    const same = (node: NodeView | null | undefined): boolean =>
      node?.stat.createdIndex === root.stat.createdIndex && node.stat.version === root.stat.version;
    const names = await this.#names(options);
    for (let at = 0, count = READ_AT_ONCE - 1; at < names.length;) {
      const part = names.slice(at, at + count);
      const paths = part.map((name) => childOf(this.#entries, name));
      try {
        const { nodes } = await this.#coordination.readAll([this.path, ...paths], options);
        if (!same(nodes[0])) return undefined;
        for (const [i, name] of part.entries()) {
          const node = nodes[i + 1];
          if (node) entries.set(name, node.data);
        }
        at += part.length;
      } catch (error) {
        // Too much data for one answer.
        if (!isSextantError(error, 'OUT_OF_RANGE') || count === 1) throw error;
        count = Math.ceil(count / 2);
      }
    }
    const { nodes } = await this.#coordination.readAll([this.path], options);
    return same(nodes[0]) ? entries : undefined;
  }

  async #names(options: WaitOptions): Promise<readonly string[]> {
    try {
      return (await this.#coordination.children(this.#entries, options)).names;
    } catch (error) {
      if (isSextantError(error, 'NOT_FOUND')) return [];
      throw error;
    }
  }
}

function inSteps(operations: readonly MultiOperation[]): MultiOperation[][] {
  const steps: MultiOperation[][] = [];
  let step: MultiOperation[] = [];
  let bytes = 0;
  for (const operation of operations) {
    const size = 'data' in operation ? Buffer.byteLength(operation.data ?? '') : 0;
    if (step.length >= STEP_OPERATIONS || (step.length > 0 && bytes + size > STEP_BYTES)) {
      steps.push(step);
      step = [];
      bytes = 0;
    }
    step.push(operation);
    bytes += size;
  }
  steps.push(step);
  return steps;
}

/** Whatever another publisher did first: the version, or the nodes themselves. */
function conflict(error: unknown, path: string): unknown {
  const codes = ['CONFLICT', 'EXISTS', 'NOT_FOUND'] as const;
  if (!codes.some((code) => isSextantError(error, code))) return error;
  return new SextantError('CONFLICT', `${path}: another publication came between`, {
    cause: error,
  });
}
