/**
 * The random test: one schedule of calls from a seed, on the tree in memory and on every subject. A subject is a list of
 * instances over the same files (mounts, servers); each call goes to one of them by lot, one after the other. After every call the
 * results and errnos must be the same; at the end, and now and then, the whole trees, as every instance sees them.
 */
import { createHash } from 'node:crypto';

import { ModelTree, type Node } from './model-tree.js';
import { codeOf, type File, O, type PosixFs, readFile, removeTree, S } from './posix-fs.js';
import { Random } from './random.js';

export interface ModelOptions {
  readonly seed: number;
  readonly steps: number;
  readonly subjects: readonly (readonly PosixFs[])[];
}

export interface ModelReport {
  readonly steps: number;
  /** Undefined: all the same. Otherwise what differed, and the calls that led there. */
  readonly difference: string | undefined;
}

const NAMES = ['a', 'b', 'c', 'd'];
const DIRECTORY = 'model';
const OPEN_MAX = 4;

function hash(data: Buffer): string {
  return createHash('sha1').update(data).digest('hex').slice(0, 12);
}

async function linesOf(fs: PosixFs): Promise<string[]> {
  const found: string[] = [];
  const visit = async (directory: string, prefix: string): Promise<void> => {
    for (const item of await fs.readdir(directory)) {
      const name = item.name.toString();
      const path = `${directory}/${name}`;
      const stat = await fs.lstat(path);
      const type = stat.mode & S.IFMT;
      const kind = type === S.IFDIR ? 'directory' : type === S.IFLNK ? 'link' : 'file';
      if (item.type !== type) throw new Error(`${path}: readdir and lstat differ in its type`);
      const size = kind === 'directory' ? '' : String(stat.size);
      let content = '';
      if (kind === 'file') content = hash(await readFile(fs, path));
      if (kind === 'link') content = hash(await fs.readlink(path));
      found.push(
        `${prefix}${name} ${kind} ${(stat.mode & 0o7777).toString(8)} ${stat.nlink} ${size} ${content}`,
      );
      if (kind === 'directory') await visit(path, `${prefix}${name}/`);
    }
  };
  await visit(DIRECTORY, '');
  return found.sort();
}

interface OpenFile {
  readonly node: Node;
  /** One a subject. */
  readonly files: readonly File[];
}

interface Step {
  readonly text: string;
  expected(): string;
  actual(subject: number, instance: PosixFs): Promise<string>;
}

async function outcome(work: () => string | Promise<string>): Promise<string> {
  try {
    return await work();
  } catch (error) {
    return codeOf(error);
  }
}

class Schedule {
  readonly #random: Random;
  readonly #tree = new ModelTree();
  readonly #open: OpenFile[] = [];
  readonly #subjects: readonly (readonly PosixFs[])[];
  #opened: Node | undefined;
  #handles: File[] = [];

  constructor(options: ModelOptions) {
    this.#random = new Random(options.seed);
    this.#subjects = options.subjects;
  }

  #path(): string {
    const depth = 1 + this.#random.below(3);
    return Array.from({ length: depth }, () => this.#random.pick(NAMES)).join('/');
  }

  #data(): Buffer {
    const length = this.#random.pick([1, 100, 513, 4096, 5000, 9000]);
    return Buffer.alloc(length, 1 + this.#random.below(255));
  }

  #simple(text: string, model: () => void, real: (fs: PosixFs) => Promise<unknown>): Step {
    return {
      text,
      expected: () => (model(), 'done'),
      actual: async (_subject, fs) => (await real(fs), 'done'),
    };
  }

  #nameStep(kind: number): Step {
    const path = this.#path();
    const at = `${DIRECTORY}/${path}`;
    const tree = this.#tree;
    switch (kind) {
      case 0:
        return this.#simple(
          `mkdir ${path}`,
          () => tree.mkdir(path),
          (fs) => fs.mkdir(at, 0o755),
        );
      case 1:
        return this.#simple(
          `rmdir ${path}`,
          () => tree.rmdir(path),
          (fs) => fs.rmdir(at),
        );
      case 2:
        return this.#simple(
          `unlink ${path}`,
          () => tree.unlink(path),
          (fs) => fs.unlink(at),
        );
      case 3: {
        const to = this.#path();
        return this.#simple(
          `rename ${path} ${to}`,
          () => tree.rename(path, to),
          (fs) => fs.rename(at, `${DIRECTORY}/${to}`),
        );
      }
      case 4: {
        const to = this.#path();
        return this.#simple(
          `link ${path} ${to}`,
          () => tree.link(path, to),
          (fs) => fs.link(at, `${DIRECTORY}/${to}`),
        );
      }
      case 5: {
        const target =
          this.#random.below(2) === 0
            ? this.#random.pick(NAMES)
            : `${this.#random.pick(NAMES)}/${this.#random.pick(NAMES)}`;
        return this.#simple(
          `symlink ${target} ${path}`,
          () => tree.symlink(target, path),
          (fs) => fs.symlink(target, at),
        );
      }
      case 6: {
        const mode = this.#random.pick([0o600, 0o644, 0o755, 0o700]);
        return this.#simple(
          `chmod ${path} ${mode.toString(8)}`,
          () => void (tree.find(path, true).mode = mode),
          (fs) => fs.chmod(at, mode),
        );
      }
      case 7: {
        const size = this.#random.pick([0, 1, 4096, 10_000]);
        return this.#simple(
          `truncate ${path} ${size}`,
          () => tree.truncate(tree.find(path, true), size),
          (fs) => fs.truncate(at, size),
        );
      }
      case 8:
        return {
          text: `lstat ${path}`,
          expected: () => {
            const node = tree.find(path, false);
            return `${node.kind === 'directory' ? '' : node.data.length} ${node.nlink} ${node.mode.toString(8)}`;
          },
          actual: async (_subject, fs) => {
            const stat = await fs.lstat(at);
            const directory = (stat.mode & S.IFMT) === S.IFDIR;
            return `${directory ? '' : stat.size} ${stat.nlink} ${(stat.mode & 0o7777).toString(8)}`;
          },
        };
      case 9:
        return {
          text: `readdir ${path}`,
          expected: () => {
            const node = tree.find(path, true);
            if (node.kind !== 'directory') return 'ENOTDIR';
            return [...node.names.keys()].sort().join(' ');
          },
          actual: async (_subject, fs) =>
            (await fs.readdir(at))
              .map((item) => item.name.toString())
              .sort()
              .join(' '),
        };
      default:
        return this.#openStep(path, at);
    }
  }

  #openStep(path: string, at: string): Step {
    const [create, exclusive, truncate] = this.#random.pick([
      [true, false, false],
      [true, true, false],
      [true, false, true],
      [false, false, false],
    ] as const);
    const flags =
      O.RDWR | (create ? O.CREAT : 0) | (exclusive ? O.EXCL : 0) | (truncate ? O.TRUNC : 0);
    const data = this.#data();
    return {
      text: `open ${path}${create ? ' create' : ''}${exclusive ? ' exclusive' : ''}${truncate ? ' truncate' : ''}, write ${data.length}`,
      expected: () => {
        this.#opened = this.#tree.open(path, create, exclusive, truncate);
        this.#tree.write(this.#opened, 0, data);
        return 'done';
      },
      actual: async (subject, fs) => {
        const file = await fs.open(at, flags, 0o644);
        await file.write(0, data);
        this.#handles[subject] = file;
        return 'done';
      },
    };
  }

  #fileStep(open: OpenFile): Step {
    const offset = this.#random.pick([0, 1, 511, 4095, 4096, 12_000]);
    const file = (subject: number): File => open.files[subject] as File;
    switch (this.#random.below(4)) {
      case 0: {
        const data = this.#data();
        return {
          text: `write ${data.length} at ${offset}`,
          expected: () => (this.#tree.write(open.node, offset, data), 'done'),
          actual: async (subject) => (await file(subject).write(offset, data), 'done'),
        };
      }
      case 1:
        return {
          text: `read at ${offset}`,
          expected: () => hash(open.node.data.subarray(offset, offset + 6000)),
          actual: async (subject) => hash(await file(subject).read(offset, 6000)),
        };
      case 2:
        return {
          text: `ftruncate ${offset}`,
          expected: () => (this.#tree.truncate(open.node, offset), 'done'),
          actual: async (subject) => (await file(subject).truncate(offset), 'done'),
        };
      default:
        return {
          text: 'fstat',
          expected: () => `${open.node.data.length} ${open.node.nlink}`,
          actual: async (subject) => {
            const stat = await file(subject).stat();
            return `${stat.size} ${stat.nlink}`;
          },
        };
    }
  }

  async #closeOne(): Promise<void> {
    const [open] = this.#open.splice(this.#random.below(this.#open.length), 1);
    for (const file of open?.files ?? []) await file.close();
  }

  /** One call everywhere; answers what differed. */
  async step(trace: string[]): Promise<string | undefined> {
    const kind = this.#random.below(16);
    const onFile = kind > 12 && this.#open.length > 0;
    const step = onFile ? this.#fileStep(this.#random.pick(this.#open)) : this.#nameStep(kind);
    const instances = this.#subjects.map((list) => this.#random.below(list.length));
    trace.push(`${step.text} (${instances.join(', ')})`);
    this.#opened = undefined;
    this.#handles = [];
    const expected = await outcome(() => step.expected());
    for (const [subject, list] of this.#subjects.entries()) {
      const instance = list[instances[subject] as number] as PosixFs;
      const actual = await outcome(() => step.actual(subject, instance));
      if (actual !== expected) return `${instance.name}: ${actual} instead of ${expected}`;
    }
    if (this.#opened !== undefined) this.#open.push({ node: this.#opened, files: this.#handles });
    while (this.#open.length > OPEN_MAX) await this.#closeOne();
    return undefined;
  }

  async compareTrees(): Promise<string | undefined> {
    const expected = this.#tree.lines(hash);
    for (const fs of this.#subjects.flat()) {
      const actual = await linesOf(fs);
      for (let i = 0; i < Math.max(actual.length, expected.length); i++) {
        if (actual[i] !== expected[i])
          return `${fs.name}: tree: ${actual[i]} instead of ${expected[i]}`;
      }
    }
    return undefined;
  }

  async closeAll(): Promise<void> {
    while (this.#open.length > 0) await this.#closeOne();
  }
}

/** Runs one seed in the directory `model` of every subject, which is made and removed. */
export async function runModel(options: ModelOptions): Promise<ModelReport> {
  for (const [first] of options.subjects) await first?.mkdir(DIRECTORY, 0o755);
  const schedule = new Schedule(options);
  const trace: string[] = [];
  let difference: string | undefined;
  let steps = 0;
  while (steps < options.steps && difference === undefined) {
    difference = await schedule.step(trace);
    steps += 1;
    if (difference === undefined && (steps % 200 === 0 || steps === options.steps)) {
      difference = await schedule.compareTrees();
    }
  }
  await schedule.closeAll();
  for (const [first] of options.subjects)
    if (first !== undefined) await removeTree(first, DIRECTORY);
  if (difference === undefined) return { steps, difference };
  return {
    steps,
    difference: `seed ${options.seed}, step ${steps}: ${difference}\n  ${trace.slice(-12).join('\n  ')}`,
  };
}
