/**
 * The settings of one session (SET, SHOW, RESET). A change is transactional: it goes back with the transaction or
 * savepoint in which it was made; SET LOCAL goes back at commit, too.
 *
 *     log:  one entry per change while a transaction is open: name, old value, local
 *     rollback to mark m: undo entries above m;  commit: undo the local ones, newest first
 */
import { SqlError } from '../sql-error.js';
import { definitionOf, listDefinitions, type SettingDef } from './setting-definitions.js';

const DURATION_UNITS: readonly [string, number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
];

interface Change {
  readonly name: string;
  readonly old: string | undefined;
  local: boolean;
}

export interface SettingRow {
  readonly name: string;
  readonly value: string;
  readonly description: string;
}

export class Settings {
  readonly #values = new Map<string, string>();
  /** What the client asked for at connect: RESET goes back to it. */
  readonly #startup = new Map<string, string>();
  #log: Change[] = [];
  #inTransaction = false;
  /** Grows with every change: what was read under the same revision still holds. */
  revision = 0;
  /** Runs after a value changed, by whatever means. */
  onChange: (def: SettingDef, value: string) => void = () => {};

  /** 42704 when there is none of that name. */
  get(name: string): string {
    const value = this.find(name);
    if (value === undefined) throw unknownSetting(name);
    return value;
  }

  find(name: string): string | undefined {
    const key = name.toLowerCase();
    const value = this.#values.get(key);
    if (value !== undefined) return value;
    return this.#startup.get(key) ?? definitionOf(key)?.initial;
  }

  /** As SHOW prints it: durations with their unit. */
  show(name: string): string {
    const value = this.get(name);
    if (definitionOf(name)?.duration !== true || value === '0') return value;
    const ms = Number(value);
    for (const [unit, size] of DURATION_UNITS) if (ms % size === 0) return `${ms / size}${unit}`;
    return `${value}ms`;
  }

  /** Milliseconds, bytes and the like. */
  number(name: string): number {
    return Number(this.find(name));
  }

  /** Throws 42704, 22023 (bad value), 55P02 (cannot be changed), 0A000 (a value that is not there yet). */
  set(name: string, text: string, local = false): void {
    const key = name.toLowerCase();
    const def = definitionOf(key);
    if (def === undefined) {
      // Names with a dot are the application's own.
      if (!/^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)+$/.test(key)) throw unknownSetting(name);
      this.#change(key, text, local);
      return;
    }
    if (def.fixed === true) {
      throw new SqlError('55P02', `parameter "${def.name}" cannot be changed`);
    }
    const value = def.parse(text);
    this.#change(key, value, local);
    this.onChange(def, value);
  }

  /** At connect, before any transaction. */
  setAtStartup(name: string, text: string): void {
    const key = name.toLowerCase();
    const def = definitionOf(key);
    if (def === undefined || def.fixed === true) {
      if (key.includes('.')) this.#startup.set(key, text);
      else throw unknownSetting(name);
      return;
    }
    const value = def.parse(text);
    this.revision++;
    this.#startup.set(key, value);
    this.onChange(def, value);
  }

  reset(name: string, local = false): void {
    const key = name.toLowerCase();
    const def = definitionOf(key);
    if (def === undefined && this.find(key) === undefined) throw unknownSetting(name);
    if (def?.fixed === true) {
      throw new SqlError('55P02', `parameter "${def.name}" cannot be changed`);
    }
    this.#change(key, undefined, local);
    if (def !== undefined) this.onChange(def, this.get(key));
  }

  resetAll(): void {
    for (const key of this.#values.keys()) {
      if (definitionOf(key)?.transactionScope !== true) this.reset(key);
    }
  }

  list(): SettingRow[] {
    return listDefinitions().map((def) => ({
      name: def.name,
      value: this.show(def.name),
      description: def.description,
    }));
  }

  begin(): void {
    this.#inTransaction = true;
  }

  mark(): number {
    return this.#log.length;
  }

  rollbackTo(mark: number): void {
    while (this.#log.length > mark) this.#undo(this.#log.pop());
  }

  /** Ends the transaction. */
  commit(): void {
    this.#inTransaction = false;
    if (this.#log.length === 0) return;
    const log = this.#log;
    this.#log = [];
    for (let i = log.length - 1; i >= 0; i--) if (log[i].local) this.#undo(log[i]);
  }

  rollback(): void {
    this.#inTransaction = false;
    this.rollbackTo(0);
  }

  #change(key: string, value: string | undefined, local: boolean): void {
    if (local && !this.#inTransaction) return;
    if (this.#inTransaction) {
      const old = this.#values.get(key);
      if (!local) {
        // A later SET makes an earlier SET LOCAL moot: what it hid must not come back at commit.
        for (const entry of this.#log) if (entry.name === key) entry.local = false;
      }
      this.#log.push({ name: key, old, local });
    }
    this.#put(key, value);
  }

  #undo(change: Change | undefined): void {
    if (change === undefined) return;
    this.#put(change.name, change.old);
    const def = definitionOf(change.name);
    if (def !== undefined) this.onChange(def, this.get(change.name));
  }

  #put(key: string, value: string | undefined): void {
    this.revision++;
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
  }
}

function unknownSetting(name: string): SqlError {
  return new SqlError('42704', `unrecognized configuration parameter "${name}"`);
}
