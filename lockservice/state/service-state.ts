/**
 * The replicated state of the lock service: a deterministic function of the commands in the Raft log, with a snapshot.
 *
 * ```
 *   clerks   tokens, slots, who recovers whom, fences      clerks.ts
 *   groups   lock servers, who has which lock group        groups.ts
 *   tables   name -> number
 *   floor    of the clocks of all clerks (rule 2)
 *   tree     coordination                                  lockservice/coordination
 * ```
 *
 * Members apply the same commands at their own pace; what a member does because of it, it finds out from `takeChanges`.
 */
import { SextantError } from '#core/errors.js';
import { CoordinationTree } from '../coordination/coordination-tree.js';
import type { CoordinationFaults } from '../coordination/faults.js';
import type { OpenClerkAnswer, OpenTableAnswer } from '../protocol/messages.js';
import { Clerks } from './clerks.js';
import type { ClerkEntry, ClerksSnapshot } from './clerks.js';
import { decodeCommand, isRefusal, refusal } from './commands.js';
import type { Command, Refusal } from './commands.js';
import { NO_STATE_FAULTS } from './faults.js';
import type { StateFaults } from './faults.js';
import { Groups } from './groups.js';
import type { GroupsSnapshot } from './groups.js';

export const TABLES_MAX = 1000;
const SNAPSHOT_FORMAT = 1;

interface Snapshot {
  readonly format: number;
  readonly floor: number;
  readonly tables: readonly string[];
  readonly clerks: ClerksSnapshot;
  readonly groups: GroupsSnapshot;
  readonly tree: unknown;
}

/** What was touched since it was last asked for; values are to be looked up, as they may have changed again. */
export interface Changes {
  readonly clerks: ReadonlySet<number>;
  readonly groups: ReadonlySet<number>;
}

type TreeResult = ReturnType<CoordinationTree['apply']>;
export type TreeEvents = ReturnType<CoordinationTree['expireSession']>;

export class ServiceState {
  readonly clerks: Clerks;
  readonly groups: Groups;
  /** Number 1 is the first. */
  readonly tableNames: string[] = [];
  /** No grant carries a lower clock (rule 2). */
  clockFloor = 0;
  tree: CoordinationTree;
  /** What a write, or the end of a clerk, did to the tree; in the order of the log. */
  onTreeEvents: (events: TreeEvents) => void = () => undefined;
  readonly #faults: StateFaults;
  readonly #treeFaults: CoordinationFaults | undefined;
  readonly #tables = new Map<string, number>();
  #changedClerks = new Set<number>();
  #changedGroups = new Set<number>();

  constructor(faults: StateFaults = NO_STATE_FAULTS, treeFaults?: CoordinationFaults) {
    this.#faults = faults;
    this.#treeFaults = treeFaults;
    this.tree = new CoordinationTree(undefined, treeFaults);
    this.clerks = new Clerks(faults);
    this.groups = new Groups(faults);
    this.clerks.onChange = (token) => this.#changedClerks.add(token);
    this.groups.onChange = (group) => this.#changedGroups.add(group);
  }

  /** 0: there is no such table. */
  tableNumber(name: string): number {
    return this.#tables.get(name) ?? 0;
  }

  tableName(table: number): string | undefined {
    return this.tableNames[table - 1];
  }

  clerk(token: number): ClerkEntry | undefined {
    return this.clerks.byToken.get(token);
  }

  isLive(token: number): boolean {
    return this.clerks.byToken.get(token)?.state === 'live';
  }

  takeChanges(): Changes | undefined {
    if (this.#changedClerks.size === 0 && this.#changedGroups.size === 0) return undefined;
    const changes = { clerks: this.#changedClerks, groups: this.#changedGroups };
    this.#changedClerks = new Set();
    this.#changedGroups = new Set();
    return changes;
  }

  apply(index: number, bytes: Uint8Array): unknown {
    return this.perform(index, decodeCommand(bytes));
  }

  perform(index: number, command: Command): unknown {
    const { clerks, groups } = this;
    switch (command.do) {
      case 'begin':
        return clerks.begin(command.generation);
      case 'open':
        return this.#open(index, command);
      case 'close':
        return this.#ended(index, command.token, clerks.close(command.token), command.clock);
      case 'expire':
        return this.#ended(index, command.token, clerks.expire(command.token), 0);
      case 'revive':
        return clerks.revive(command.token);
      case 'fenced':
      case 'recovered':
        return this.#recoveryStep(command);
      case 'table':
        return this.#table(command.name);
      case 'server-up':
        return groups.serverUp(index, command);
      case 'server-down':
        return groups.serverDown(index, command.id, command.incarnation);
      case 'drain':
        return groups.drain(index, command.id);
      case 'forget':
        return groups.forget(index, command.id);
      case 'begin-move':
        return groups.beginMove(index, command.groups);
      case 'gave-up':
        return groups.gaveUp(index, command.id, command.groups);
      case 'assign':
        return groups.assign(index, command.groups);
      case 'coord':
        return this.#coordinate(index, command.command);
      default:
        // From a member of a later version; all of this version answer alike.
        return refusal('PROTOCOL', `unknown command ${(command as { do: unknown }).do as string}`);
    }
  }

  snapshot(): Uint8Array {
    const snapshot: Snapshot = {
      format: SNAPSHOT_FORMAT,
      floor: this.clockFloor,
      tables: this.tableNames,
      clerks: this.clerks.toSnapshot(),
      groups: this.groups.toSnapshot(),
      tree: this.tree.toSnapshot(),
    };
    return new TextEncoder().encode(JSON.stringify(snapshot));
  }

  restore(bytes: Uint8Array): void {
    const snapshot = JSON.parse(new TextDecoder().decode(bytes)) as Snapshot;
    if (snapshot.format !== SNAPSHOT_FORMAT) {
      throw new SextantError('CORRUPTION', `a snapshot of unknown format ${snapshot.format}`);
    }
    this.clockFloor = snapshot.floor;
    this.tableNames.length = 0;
    this.#tables.clear();
    for (const name of snapshot.tables) this.#addTable(name);
    this.clerks.restore(snapshot.clerks);
    this.groups.restore(snapshot.groups);
    this.tree = CoordinationTree.fromSnapshot(snapshot.tree, undefined, this.#treeFaults);
  }

  /** All or nothing: an unknown table opens no clerk. */
  #open(index: number, command: Extract<Command, { do: 'open' }>): OpenClerkAnswer | Refusal {
    for (const table of command.tables) {
      if (table.create || this.#tables.has(table.name)) continue;
      return refusal('UNKNOWN_TABLE', `no lock table ${table.name}`);
    }
    const made = new Set(command.tables.map((table) => table.name));
    for (const name of this.tableNames) made.delete(name);
    if (this.tableNames.length + made.size > TABLES_MAX) return this.#tooManyTables();
    const clerk = this.clerks.open(index, command);
    if (isRefusal(clerk)) return clerk;
    const tables: OpenTableAnswer[] = command.tables.map(({ name }) => ({
      name,
      table: this.#tables.get(name) ?? this.#addTable(name),
    }));
    return {
      token: clerk.token,
      leaseMs: clerk.leaseMs,
      slot: clerk.slot,
      clockFloor: this.clockFloor,
      fenceEpoch: this.clerks.fenceEpoch,
      tables,
      map: this.groups.map(),
    };
  }

  /** A clerk closed or expired, unless that was refused. */
  #ended(
    index: number,
    token: number,
    refused: Refusal | undefined,
    clock: number,
  ): Refusal | undefined {
    if (refused !== undefined) return refused;
    this.#raiseFloor(clock);
    this.onTreeEvents(this.tree.expireSession(index, token));
    return undefined;
  }

  #recoveryStep(command: Extract<Command, { do: 'fenced' | 'recovered' }>): unknown {
    const { demon, dead, attempt } = command;
    const refused = this.clerks.recoveryStep(command.do, demon, dead, attempt);
    if (refused !== undefined) return refused;
    this.#raiseFloor(command.clock);
    return { fenceEpoch: this.clerks.fenceEpoch };
  }

  #raiseFloor(clock: number): void {
    if (this.#faults.floorFromNothing === true) return;
    this.clockFloor = Math.max(this.clockFloor, clock);
  }

  #table(name: string): OpenTableAnswer | Refusal {
    const known = this.#tables.get(name);
    if (known !== undefined) return { name, table: known };
    if (this.tableNames.length >= TABLES_MAX) return this.#tooManyTables();
    return { name, table: this.#addTable(name) };
  }

  #addTable(name: string): number {
    const table = this.tableNames.push(name);
    this.#tables.set(name, table);
    return table;
  }

  #tooManyTables(): Refusal {
    return refusal('OVERLOADED', `${TABLES_MAX} lock tables are the most there can be`);
  }

  #coordinate(
    index: number,
    command: Extract<Command, { do: 'coord' }>['command'],
  ): TreeResult | Refusal {
    // The entry may stand behind the one that ended its clerk: nothing of it takes effect (LOCK-2).
    if (!this.isLive(command.token)) return this.clerks.notLive(command.token);
    const result = this.tree.apply(index, command);
    this.onTreeEvents(result.events);
    return result;
  }
}
