/**
 * The client of the coordination tree, one for each clerk: its session is the clerk's lease, its ephemeral nodes end
 * with it.
 *
 * - Writes are pipelined and take effect in the order of the calls, each exactly once, whatever leaders come and go.
 * - Reads are linearizable, and see all writes that this client began before them.
 * - A watch fires before this client can read anything later than what it fires for.
 *
 * Every method takes an AbortSignal (CANCELLED) and rejects with LEASE_LOST once the session has ended. While there is no
 * leader, calls wait: bound them with `AbortSignal.timeout`.
 */
import { setMaxListeners } from 'node:events';
import { SextantError } from '#core/errors.js';
import { parentOf } from '../../coordination/paths.js';
import {
  DATA_BYTES_MAX,
  OPERATIONS_MAX,
  READS_MAX,
  REQUEST_BYTES_MAX,
  readAnswer,
  readRequest,
} from '../../coordination/messages.js';
import type {
  NodeStat,
  Operation,
  OperationResult,
  ReadAnswer,
  ReadOperation,
  ReadResult,
} from '../../coordination/messages.js';
import { checkPath, checkPrefix } from '../../coordination/paths.js';
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
import { InFlight } from './in-flight.js';
import { ChildrenView, ExistenceView, NodeView, type WaitOptions } from './views.js';
import { WatchRegistry } from './watch-registry.js';
import { WriteQueue, type Outcome } from './write-queue.js';

/** A server takes 1024 calls of a connection at a time, on which the clerk renews its lease too. */
const READS_IN_FLIGHT_MAX = 256;

/** Text is stored as UTF-8. */
export type NodeData = Uint8Array | string;

export interface CreateOptions extends WaitOptions {
  /** Deleted when the session ends; has no children. */
  readonly ephemeral?: boolean;
  /** Ten digits that grow with each such child of the parent are appended to the path, which may end in `/`. */
  readonly sequential?: boolean;
}
export interface VersionOptions extends WaitOptions {
  /** CONFLICT when the node has another one. */
  readonly version?: number;
}

/** One operation of a `multi`. */
export type MultiOperation =
  | {
      readonly op: 'create';
      readonly path: string;
      readonly data?: NodeData;
      readonly ephemeral?: boolean;
      readonly sequential?: boolean;
    }
  | {
      readonly op: 'set';
      readonly path: string;
      readonly data: NodeData;
      readonly version?: number;
    }
  | { readonly op: 'delete' | 'check'; readonly path: string; readonly version?: number };

/** NOT_FOUND, EXISTS, CONFLICT, NOT_EMPTY, OVERLOADED, OUT_OF_RANGE or PROTOCOL, and which operation it was. */
export class WriteRefused extends SextantError {
  readonly failed: number;

  constructor(outcome: Extract<Outcome, { kind: 'refused' }>) {
    super(outcome.code, outcome.message);
    this.failed = outcome.failed;
  }
}

export interface CreatedNode {
  readonly path: string;
  readonly stat: NodeStat;
}

/** Of `readAll`: as many as paths asked for, all as of one index; null: no such node. */
export interface Snapshot {
  readonly index: number;
  readonly nodes: readonly (NodeView | null)[];
}

export class Coordination {
  readonly #transport: CoordinationTransport;
  readonly #writes: WriteQueue;
  readonly #watches: WatchRegistry;
  readonly #reading = new InFlight(READS_IN_FLIGHT_MAX);

  constructor(transport: CoordinationTransport) {
    this.#transport = transport;
    // Every read, election and lock listens: many are no leak.
    setMaxListeners(0, transport.lost);
    this.#watches = new WatchRegistry(transport.world, transport.lost, () => this.#ask([]));
    this.#writes = new WriteQueue(transport, {
      watchState: () => this.#watches.state,
      answered: (watch) => this.#watches.handle(watch),
    });
  }

  /** Number of the session: the owner of its ephemeral nodes. */
  get token(): number {
    return this.#transport.token;
  }

  /** Aborted when the session has ended, with the error as its reason. */
  get lost(): AbortSignal {
    return this.#transport.lost;
  }

  /** The clerk received a COORD_EVENT. Throws PROTOCOL. */
  received(body: Uint8Array): void {
    this.#watches.pushed(body);
  }

  /** EXISTS, NOT_FOUND (no parent), PROTOCOL (bad path; parent is ephemeral), OVERLOADED. */
  async create(
    path: string,
    data: NodeData = '',
    options: CreateOptions = {},
  ): Promise<CreatedNode> {
    const { signal, ...kind } = options;
    const [made] = await this.multi([{ op: 'create', path, data, ...kind }], waits(signal));
    return { path: made?.path ?? path, stat: (made as OperationResult).stat as NodeStat };
  }

  /** Makes a persistent node and those above it, as far as they are not there. */
  async ensure(path: string, options: WaitOptions = {}): Promise<void> {
    checkPath(path);
    if ((await this.exists(path, options)).exists) return;
    if (path !== '/') await this.ensure(parentOf(path), options);
    try {
      await this.create(path, '', options);
    } catch (error) {
      if (!(error instanceof WriteRefused) || error.code !== 'EXISTS') throw error;
    }
  }

  /** NOT_FOUND, CONFLICT, OVERLOADED. */
  async set(path: string, data: NodeData, options: VersionOptions = {}): Promise<NodeStat> {
    const { signal, ...version } = options;
    const [done] = await this.multi([{ op: 'set', path, data, ...version }], waits(signal));
    return (done as OperationResult).stat as NodeStat;
  }

  /** NOT_FOUND, CONFLICT, NOT_EMPTY. */
  async delete(path: string, options: VersionOptions = {}): Promise<void> {
    const { signal, ...version } = options;
    await this.multi([{ op: 'delete', path, ...version }], waits(signal));
  }

  /** All of it at one index, or nothing: then WriteRefused says which operation failed. At most 1000 operations, 4 MiB. */
  async multi(
    operations: readonly MultiOperation[],
    options: WaitOptions = {},
  ): Promise<readonly OperationResult[]> {
    const outcome = await this.#writes.write(checked(operations), options.signal);
    if (outcome.kind === 'refused') throw new WriteRefused(outcome);
    return outcome.results;
  }

  /** NOT_FOUND. */
  async get(path: string, options: WaitOptions = {}): Promise<NodeView> {
    const { nodes } = await this.readAll([path], options);
    const [node] = nodes;
    if (node === null || node === undefined) {
      throw new SextantError('NOT_FOUND', `${path} does not exist`);
    }
    return node;
  }

  async exists(path: string, options: WaitOptions = {}): Promise<ExistenceView> {
    const { index, results } = await this.#read([{ op: 'stat', path }], options.signal);
    return new ExistenceView(path, index, results[0]?.stat ?? null, this.#wait);
  }

  /** NOT_FOUND. */
  async children(path: string, options: WaitOptions = {}): Promise<ChildrenView> {
    const { index, results } = await this.#read([{ op: 'children', path }], options.signal);
    const { stat, names } = results[0] as ReadResult;
    if (stat === null) throw new SextantError('NOT_FOUND', `${path} does not exist`);
    return new ChildrenView(path, index, stat, names ?? [], this.#wait);
  }

  /** Many nodes as of one index; at most 1000, together 16 MiB of base64 (OUT_OF_RANGE). */
  async readAll(paths: readonly string[], options: WaitOptions = {}): Promise<Snapshot> {
    const reads = paths.map((path) => ({ op: 'get', path }) as const);
    const { index, results } = await this.#read(reads, options.signal);
    const nodes = results.map(({ stat, data = '' }, i) =>
      stat === null
        ? null
        : new NodeView(paths[i] as string, index, stat, decodeData(data), this.#wait),
    );
    return { index, nodes };
  }

  /**
   * The node now and after each change, for ever; null while it does not exist. States in between may be skipped,
   * the last one never is.
   */
  async *follow(path: string, options: WaitOptions = {}): AsyncGenerator<NodeView | null, never> {
    for (;;) {
      const { index, nodes } = await this.readAll([path], options);
      const node = nodes[0] ?? null;
      yield node;
      await (node ?? new ExistenceView(path, index, null, this.#wait)).changed(options);
    }
  }

  /** Everything that was written before, by anybody, is seen by what follows. Reads do so by themselves. */
  async sync(options: WaitOptions = {}): Promise<void> {
    await this.#read([], options.signal);
  }

  readonly #wait = (
    ...args: Parameters<WatchRegistry['wait']>
  ): ReturnType<WatchRegistry['wait']> => this.#watches.wait(...args);

  async #read(reads: readonly ReadOperation[], signal?: AbortSignal): Promise<ReadAnswer> {
    if (reads.length > READS_MAX) {
      throw new SextantError('OUT_OF_RANGE', `${reads.length} reads at once; ${READS_MAX} may be`);
    }
    for (const { path } of reads) checkPath(path);
    await abortable(this.#writes.settled(), signal);
    return this.#reading.run(() => this.#ask(reads, signal), signal);
  }

  /** Tries until a leader answers, or refuses for good. */
  async #ask(reads: readonly ReadOperation[], signal?: AbortSignal): Promise<ReadAnswer> {
    const { world, lost } = this.#transport;
    const watches = this.#watches;
    const { lastId } = watches;
    for (let failures = 0; ; failures++) {
      if (lost.aborted) throw lostError(lost);
      if (signal?.aborted === true) throw cancelled();
      try {
        const { placed, ...along } = watches.batch();
        const body = readRequest.encode({ ...watches.state, reads, ...along });
        const answer = readAnswer.decode(await this.#try(body, signal));
        placed(answer.watch.stream);
        watches.handle(answer.watch);
        if (!watches.lacks(lastId)) return answer;
        failures = 0;
      } catch (error) {
        if (!lost.aborted && (endsSession(error) || !mayRetry(error))) throw error;
        await abortable(world.timers.sleep(backoffMs(world, failures)), signal);
      }
    }
  }

  async #try(body: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const abort = new AbortController();
    const end = (): void => abort.abort();
    const forgets = [onAbort(signal, end), onAbort(this.#transport.lost, end)];
    try {
      const options = { timeoutMs: TRY_TIMEOUT_MS, signal: abort.signal };
      return await this.#transport.call(MessageType.coordRead, body, options);
    } finally {
      for (const forget of forgets) forget();
    }
  }
}

function waits(signal: AbortSignal | undefined): WaitOptions {
  return signal === undefined ? {} : { signal };
}

/** Of UTF-8 or bytes. */
function encodeData(data: NodeData): string {
  if (typeof data !== 'string' && !(data instanceof Uint8Array)) {
    throw new SextantError('CONFIG', 'data is text or bytes');
  }
  const bytes = typeof data === 'string' ? Buffer.from(data) : Buffer.from(data);
  if (bytes.length > DATA_BYTES_MAX) {
    throw new SextantError('OUT_OF_RANGE', `data of ${bytes.length} bytes; a node takes 1 MiB`);
  }
  return bytes.toString('base64');
}

function decodeData(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

/** What the leader would refuse for its form alone is refused here: nothing of it gets a number. */
function checked(operations: readonly MultiOperation[]): Operation[] {
  if (operations.length === 0) throw new SextantError('PROTOCOL', 'a write without operations');
  if (operations.length > OPERATIONS_MAX) {
    throw new SextantError(
      'OUT_OF_RANGE',
      `${operations.length} operations; ${OPERATIONS_MAX} may be`,
    );
  }
  let characters = 0;
  const result = operations.map((operation) => {
    const made = wire(operation);
    characters += 200 + made.path.length * 3 + ('data' in made ? made.data.length : 0);
    return made;
  });
  if (characters > REQUEST_BYTES_MAX) {
    throw new SextantError('OUT_OF_RANGE', `a write of about ${characters} bytes; 4 MiB fit`);
  }
  return result;
}

function wire(operation: MultiOperation): Operation {
  const { path } = operation;
  if (operation.op === 'create') {
    const { data = '', ephemeral = false, sequential = false } = operation;
    if (sequential) checkPrefix(path);
    else checkPath(path);
    return { op: 'create', path, data: encodeData(data), ephemeral, sequential };
  }
  checkPath(path);
  const { version } = operation;
  if (version !== undefined && !(Number.isSafeInteger(version) && version >= 0)) {
    throw new SextantError('PROTOCOL', `a version is a whole number from 0, not ${version}`);
  }
  const expected = version === undefined ? {} : { version };
  return operation.op === 'set'
    ? { op: 'set', path, data: encodeData(operation.data), ...expected }
    : { op: operation.op, path, ...expected };
}

/** `promise`, or CANCELLED when the signal aborts first; `promise` itself must not reject. */
function abortable(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, () => reject(cancelled()));
    if (signal.aborted) reject(cancelled());
    void promise.then(() => {
      forget();
      resolve();
    });
  });
}
