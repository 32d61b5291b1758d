/** Cases, the assertions they make, and the runner: every failed assertion is kept and the case goes on. */
import {
  codeOf,
  type Capability,
  type Path,
  type PosixFs,
  readFile,
  removeTree,
  S,
  type User,
} from './posix-fs.js';

export interface Case {
  readonly name: string;
  readonly needs?: readonly Capability[];
  run(t: Trial): Promise<void>;
}

export interface Report {
  readonly assertions: number;
  readonly failures: readonly string[];
  /** Name and reason. */
  readonly skipped: readonly string[];
}

/** The usual strangers. */
export const ALICE: User = { uid: 5001, gid: 5101 };
export const BOB: User = { uid: 5002, gid: 5102 };
/** In Alice's group by a supplementary group. */
export const CAROL: User = { uid: 5003, gid: 5103, groups: [5101] };

type Awaitable<T> = Promise<T> | (() => Promise<T>);

function start<T>(action: Awaitable<T>): Promise<T> {
  return typeof action === 'function' ? action() : action;
}

function show(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) {
    const text = Buffer.from(value).toString('latin1');
    return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}... (${text.length})` : text);
  }
  return JSON.stringify(value);
}

function same(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    return Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;
  }
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => same(item, b[index]));
  }
  return a === b;
}

export class Trial {
  readonly fs: PosixFs;
  /** The case's own directory, mode 755. */
  readonly dir: string;
  readonly #name: string;
  assertions = 0;
  readonly failures: string[] = [];

  constructor(fs: PosixFs, dir: string, name: string) {
    this.fs = fs;
    this.dir = dir;
    this.#name = name;
  }

  can(capability: Capability): boolean {
    return this.fs.can.has(capability);
  }

  path(name: string): string {
    return `${this.dir}/${name}`;
  }

  fail(what: string): void {
    this.failures.push(`${this.#name}: ${what}`);
  }

  ok(condition: boolean, what: string): void {
    this.assertions += 1;
    if (!condition) this.fail(what);
  }

  is<T>(actual: T, expected: T, what: string): void {
    this.assertions += 1;
    if (!same(actual, expected)) {
      this.fail(`${what}: ${show(actual)} instead of ${show(expected)}`);
    }
  }

  async fails(
    code: string | readonly string[],
    action: Awaitable<unknown>,
    what: string,
  ): Promise<void> {
    this.assertions += 1;
    const codes = typeof code === 'string' ? [code] : code;
    let found = 'no error';
    try {
      await start(action);
    } catch (error) {
      found = codeOf(error);
    }
    if (!codes.includes(found)) this.fail(`${what}: ${found} instead of ${codes.join(' or ')}`);
  }

  async works<T>(action: Awaitable<T>, what: string): Promise<T | undefined> {
    this.assertions += 1;
    try {
      return await start(action);
    } catch (error) {
      this.fail(`${what}: ${codeOf(error)} instead of no error`);
      return undefined;
    }
  }

  /** `expected` undefined: it works. */
  async gives(
    expected: string | undefined,
    action: Awaitable<unknown>,
    what: string,
  ): Promise<void> {
    if (expected === undefined) await this.works(action, what);
    else await this.fails(expected, action, what);
  }

  async exists(path: Path, what: string): Promise<void> {
    await this.works(this.fs.lstat(path), what);
  }
  async absent(path: Path, what: string): Promise<void> {
    await this.fails('ENOENT', this.fs.lstat(path), what);
  }
  async content(path: Path, expected: string | Uint8Array, what: string): Promise<void> {
    const bytes = typeof expected === 'string' ? Buffer.from(expected) : expected;
    const found = await this.works(readFile(this.fs, path), what);
    if (found !== undefined) this.is<Uint8Array>(found, bytes, what);
  }
  async mode(path: Path, expected: number, what: string): Promise<void> {
    const stat = await this.works(this.fs.lstat(path), what);
    if (stat !== undefined) this.is((stat.mode & 0o7777).toString(8), expected.toString(8), what);
  }
  async type(path: Path, expected: number, what: string): Promise<void> {
    const stat = await this.works(this.fs.lstat(path), what);
    if (stat !== undefined) this.is(stat.mode & S.IFMT, expected, what);
  }
  async size(path: Path, expected: number, what: string): Promise<void> {
    this.is((await this.fs.stat(path)).size, expected, what);
  }
  async nlink(path: Path, expected: number, what: string): Promise<void> {
    this.is((await this.fs.lstat(path)).nlink, expected, what);
  }
}

/** Longer than the grain of a file system's clock, so that a later time is a larger one. */
export async function tick(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 12));
}

export async function runCases(
  fs: PosixFs,
  cases: readonly Case[],
  only?: RegExp,
): Promise<Report> {
  let assertions = 0;
  const failures: string[] = [];
  const skipped: string[] = [];
  const before = new Set((await fs.readdir('.')).map((item) => item.name.toString('latin1')));
  // A stranger who cannot come this far gets EACCES for everything, and nothing would be tried.
  if (fs.can.has('users')) await fs.as(ALICE).readdir('.');
  for (const [index, one] of cases.entries()) {
    if (only !== undefined && !only.test(one.name)) continue;
    const lacking = (one.needs ?? []).filter((capability) => !fs.can.has(capability));
    if (lacking.length > 0) {
      skipped.push(`${one.name}: ${fs.name} has no ${lacking.join(', ')}`);
      continue;
    }
    const trial = new Trial(fs, `case-${index}`, one.name);
    await fs.mkdir(trial.dir, 0o755);
    try {
      await one.run(trial);
    } catch (error) {
      trial.fail(
        `broke off: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
    }
    await trial.works(() => removeTree(fs, trial.dir), 'all of it can be removed');
    assertions += trial.assertions;
    failures.push(...trial.failures);
  }
  for (const item of await fs.readdir('.')) {
    const name = item.name.toString('latin1');
    if (!before.has(name)) failures.push(`left behind: ${name}`);
  }
  return { assertions, failures, skipped };
}
