/**
 * What a member of the group keeps on disk, in one folder that it holds locked:
 *
 * ```
 *   raft.json           format, cluster, member, the group as it was founded; written last: without it the folder is not made yet
 *   term                current term and vote                    term-file.ts
 *   snapshot-<index>    state machine as of an index             snapshot-file.ts
 *   <number>.log        entries                                  log-files.ts
 *   LOCK                who uses the folder
 * ```
 *
 * Everything is durable when the method that writes it returns. DISK_FULL changes nothing and may be tried again;
 * DISK_FAILED is final. A folder that belongs to another cluster or member, or has another format, is FOLDER_FOREIGN and stays
 * untouched.
 */
import { makeDurableFolder, writeDurably } from '#core/world/durable.js';
import { isSextantError, SextantError } from '#core/errors.js';
import { jsonCodec, list, object, text, u32 } from '#core/rpc/shape.js';
import type { World } from '#core/world/world.js';
import { makeSnapshot, NO_BYTES, type RaftMember, type RaftSnapshot } from './entry.js';
import type { RaftFaults } from './faults.js';
import { LogFiles } from './log-files.js';
import type { HardState, RaftDurable, RaftReady } from './raft-core.js';
import { readSnapshot, writeSnapshot } from './snapshot-file.js';
import { TermFile } from './term-file.js';

export const RAFT_FORMAT = 1;

interface Identity {
  readonly format: number;
  readonly cluster: string;
  readonly member: string;
  readonly founders: readonly RaftMember[];
}

export interface RaftStorageOptions {
  readonly folder: string;
  readonly cluster: string;
  readonly id: string;
  /** The group as it is founded; only a new folder takes it. Empty: joins a group that exists. */
  readonly founders: readonly RaftMember[];
  readonly logFileBytes: number;
  readonly faults: RaftFaults;
}

const FILE = 'raft.json';
const IDENTITY_BYTES_MAX = 256 * 1024;
const codec = jsonCodec(
  FILE,
  object<Identity>({
    format: u32,
    cluster: text,
    member: text,
    founders: list(object<RaftMember>({ id: text, address: text })),
  }),
);

export class RaftStorage {
  readonly #world: World;
  readonly #options: RaftStorageOptions;
  readonly #lock: { release(): void };
  readonly #log: LogFiles;
  #term: TermFile | undefined;
  #unsynced = false;
  /** Parts of the write under way that are done: a retry after DISK_FULL goes on behind them. */
  #done = { hardState: false, snapshot: false };

  private constructor(world: World, options: RaftStorageOptions, lock: { release(): void }) {
    this.#world = world;
    this.#options = options;
    this.#lock = lock;
    this.#log = new LogFiles(world, options.folder, options.logFileBytes);
  }

  /** Some member's folder, as opposed to an empty one. */
  static isMade(world: World, folder: string): boolean {
    return world.disk.exists(`${folder}/${FILE}`);
  }

  /** Throws FOLDER_LOCKED, FOLDER_FOREIGN, CORRUPTION, DISK_FULL, DISK_FAILED. */
  static open(
    world: World,
    options: RaftStorageOptions,
  ): { readonly storage: RaftStorage; readonly durable: RaftDurable } {
    makeDurableFolder(world.disk, options.folder);
    const lock = world.disk.lockFolder(options.folder);
    const storage = new RaftStorage(world, options, lock);
    try {
      return { storage, durable: storage.#recover() };
    } catch (error) {
      storage.abandon();
      throw error;
    }
  }

  /** Makes all of it durable, in an order that any crash may cut short. */
  persist(ready: RaftReady): void {
    const { faults } = this.#options;
    if (this.#unsynced) this.#log.sync();
    this.#unsynced = false;
    if (ready.hardState !== undefined && !this.#done.hardState) {
      this.#writeTerm(ready.hardState);
      this.#done.hardState = true;
    }
    if (ready.snapshot !== undefined && !this.#done.snapshot) {
      writeSnapshot(this.#world, this.#options.folder, ready.snapshot);
      this.#log.reset(ready.snapshot.index);
      this.#done.snapshot = true;
    }
    this.#unsynced = faults.ackBeforeSync === true && ready.entries.length > 0;
    this.#log.append(ready.entries, !this.#unsynced);
    this.#done = { hardState: false, snapshot: false };
  }

  /** The log up to `keepFrom` is no longer needed. */
  saveSnapshot(snapshot: RaftSnapshot): void {
    writeSnapshot(this.#world, this.#options.folder, snapshot);
    if (this.#options.faults.snapshotLosesTail === true) this.#log.reset(snapshot.index);
    else this.#log.compactTo(snapshot.index);
  }

  /** A clean end. */
  close(): void {
    try {
      this.#log.close();
    } finally {
      this.abandon();
    }
  }

  /** Lets go of the folder without writing anything. */
  abandon(): void {
    this.#log.abandon();
    this.#term?.close();
    this.#lock.release();
  }

  #writeTerm(state: HardState): void {
    const forget = this.#options.faults.forgetVote === true;
    this.#term?.write(forget ? { ...state, vote: '' } : state);
  }

  #recover(): RaftDurable {
    const { folder } = this.#options;
    const world = this.#world;
    const known = this.#readIdentity();
    if (known === undefined) this.#term = TermFile.create(world, `${folder}/term`);
    else this.#term = this.#openTerm();
    const founders = known?.founders ?? this.#options.founders;
    const snapshot = readSnapshot(world, folder) ?? makeSnapshot(0, 0, founders, NO_BYTES);
    const entries = this.#log.recover(snapshot, known === undefined);
    if (known === undefined) this.#writeIdentity();
    const hardState = this.#term.state;
    const lastTerm = entries.at(-1)?.term ?? snapshot.term;
    if (lastTerm > hardState.term) {
      throw new SextantError('CORRUPTION', `${folder}: the log is newer than the term file`);
    }
    return { hardState, snapshot, entries };
  }

  #openTerm(): TermFile {
    const path = `${this.#options.folder}/term`;
    if (!this.#world.disk.exists(path)) throw new SextantError('CORRUPTION', `${path} is missing`);
    return TermFile.open(this.#world, path);
  }

  #readIdentity(): Identity | undefined {
    const { folder, cluster, id } = this.#options;
    const { disk } = this.#world;
    const path = `${folder}/${FILE}`;
    const foreign = (what: string, cause?: unknown): SextantError =>
      new SextantError('FOLDER_FOREIGN', `Raft folder ${folder}: ${what}`, { cause });
    if (!disk.exists(path)) {
      // A first start that was cut off leaves the term file and an empty log.
      const mine = /^(\..*|LOCK|term|00000001\.log|raft\.new)$/;
      const other = disk.list(folder).find((name) => !mine.test(name));
      if (other !== undefined) throw foreign(`holds ${other} but no ${FILE}`);
      if (this.#hasTerm()) throw foreign(`holds a term but no ${FILE}`);
      if (disk.exists(`${folder}/00000001.log`)) disk.remove(`${folder}/00000001.log`);
      return undefined;
    }
    const file = disk.open(path);
    let identity: Identity;
    try {
      const bytes = new Uint8Array(Math.min(file.size(), IDENTITY_BYTES_MAX));
      identity = codec.decode(bytes.subarray(0, file.read(bytes, 0, bytes.length, 0)));
    } catch (cause) {
      throw foreign(`${FILE} is not readable`, cause);
    } finally {
      file.close();
    }
    if (identity.format !== RAFT_FORMAT) {
      throw foreign(`format ${identity.format}, this program knows ${RAFT_FORMAT}`);
    }
    if (identity.cluster !== cluster) {
      throw foreign(`belongs to cluster ${identity.cluster}, not ${cluster}`);
    }
    if (identity.member !== id) throw foreign(`belongs to member ${identity.member}, not ${id}`);
    return identity;
  }

  /** Whether the member has ever taken part. */
  #hasTerm(): boolean {
    const path = `${this.#options.folder}/term`;
    if (!this.#world.disk.exists(path)) return false;
    try {
      const file = TermFile.open(this.#world, path);
      file.close();
      return file.state.term > 0;
    } catch (error) {
      // Its first write was torn.
      if (isSextantError(error, 'CORRUPTION')) return false;
      throw error;
    }
  }

  #writeIdentity(): void {
    const { folder, cluster, id, founders } = this.#options;
    const bytes = codec.encode({ format: RAFT_FORMAT, cluster, member: id, founders });
    writeDurably(this.#world.disk, folder, FILE, 'raft.new', bytes);
  }
}
