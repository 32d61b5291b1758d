/**
 * One script, run against `node:fs/promises` on a real directory and against the API on a Vfs whose tree has the same
 * paths: what comes back, what is thrown and what is left behind must be the same.
 */
import * as nodeFs from 'node:fs/promises';
import * as nodeSync from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { filesOf, type SextantFs } from '#fs-frontend/api/index.js';
import type { Vfs } from '#fs-frontend/vfs/vfs.js';
import { MemoryVfs } from '#tests/vfs/memory-vfs.js';

export type AnyFs = Pick<SextantFs, keyof typeof nodeFs | 'createReadStream' | 'createWriteStream'>;
export type Step = (fs: AnyFs, folder: string) => unknown;

/** To plant and to look: the synchronous functions are several times faster, and say the same. */
const quick = new Proxy({} as AnyFs, {
  get:
    (_, name) =>
    async (...values: unknown[]) =>
      (nodeSync as unknown as Record<string, (...values: unknown[]) => unknown>)[
        `${String(name)}Sync`
      ]!(...values),
});
const local = {
  ...nodeFs,
  createReadStream: nodeSync.createReadStream,
  createWriteStream: nodeSync.createWriteStream,
} as unknown as AnyFs;

/** What is comparable of a result. */
export function shown(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.length > 400 ? `${value.slice(0, 60)}... ${value.length}` : value;
  }
  if (Buffer.isBuffer(value)) return `Buffer ${value.toString('latin1')}`;
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('latin1')}`;
  if (Array.isArray(value)) return value.map(shown);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'function';
  if (value instanceof Error) return shownError(value);
  if (typeof value !== 'object' || value === null) return value;
  const record = value as Record<string, unknown>;
  if (typeof record['isFIFO'] === 'function') {
    const types = ['isFile', 'isDirectory', 'isSymbolicLink', 'isFIFO', 'isSocket'];
    const is = types.filter((name) => (record[name] as () => boolean).call(record));
    if ('parentPath' in record) return [is, shown(record['name']), shown(record['parentPath'])];
    const { mode, uid, gid, nlink } = record;
    const size = is.includes('isDirectory') ? 'any' : shown(record['size']);
    const links = is.includes('isDirectory') ? 'any' : shown(nlink);
    return [is, shown(mode), shown(uid), shown(gid), links, size];
  }
  return Object.fromEntries(Object.entries(record).map(([key, item]) => [key, shown(item)]));
}

function shownError(error: Error): unknown {
  const { code, errno, syscall, path, dest } = error as Error & Record<string, unknown>;
  return shown({ error: error.name, message: error.message, code, errno, syscall, path, dest });
}

/** Everything below `folder`: names, kinds, permissions, contents, where links lead. */
async function treeOf(fs: AnyFs, folder: string): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const name of await fs.readdir(folder)) {
    const path = join(folder, name);
    const stats = await fs.lstat(path);
    if (stats.isDirectory()) {
      found.push([path, stats.mode], ...(await treeOf(fs, path)));
    } else {
      const content = stats.isSymbolicLink() ? await fs.readlink(path) : await fs.readFile(path);
      found.push([path, stats.mode, stats.nlink, shown(content)]);
    }
  }
  return found;
}

export async function plant(fs: AnyFs, folder: string): Promise<void> {
  await fs.mkdir(folder, { recursive: true });
  await fs.writeFile(`${folder}/file`, 'hello world');
  await fs.writeFile(`${folder}/empty`, '');
  await fs.mkdir(`${folder}/dir/sub`, { recursive: true });
  await fs.writeFile(`${folder}/dir/inner`, 'inside');
  await fs.mkdir(`${folder}/void`);
  await fs.symlink('file', `${folder}/link`);
  await fs.symlink('dir', `${folder}/dlink`);
  await fs.symlink('dir/', `${folder}/slink`);
  await fs.symlink('file/', `${folder}/flink`);
  await fs.symlink('nowhere', `${folder}/dangling`);
  await fs.symlink('loop', `${folder}/loop`);
  await fs.symlink(`${folder}/dir/inner`, `${folder}/absolute`);
  await fs.symlink('../link', `${folder}/dir/up`);
}

const STEP_MS = 5000;

async function outcome(work: () => unknown): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const never = new Promise((resolve) => {
    timer = setTimeout(() => resolve('no answer'), STEP_MS);
  });
  try {
    return shown(await Promise.race([work(), never]));
  } catch (error) {
    return shown(error);
  } finally {
    clearTimeout(timer);
  }
}

/** Two trees of the same paths, new for each script. */
export class Twins {
  readonly base = nodeSync.mkdtempSync(join(tmpdir(), 'same-'));
  readonly api: SextantFs;
  private count = 0;
  /** A planted tree that nothing has touched yet. */
  private fresh: string | undefined;

  constructor(vfs: Vfs = new MemoryVfs()) {
    this.api = filesOf(vfs);
  }

  async start(): Promise<void> {
    await this.api.mkdir(this.base, { recursive: true, mode: 0o700 });
    await this.api.chmod(this.base, 0o700);
  }

  async stop(): Promise<void> {
    await nodeFs.rm(this.base, { recursive: true });
    await this.api.unmount();
  }

  /** Runs a step that changes nothing. */
  async look(step: Step): Promise<{ node: unknown; api: unknown }> {
    if (this.fresh === undefined) {
      const folder = join(this.base, `t${this.count++}`);
      for (const fs of [quick, this.api as AnyFs]) await plant(fs, folder);
      this.fresh = folder;
    }
    const folder = this.fresh;
    return {
      node: await outcome(() => step(local, folder)),
      api: await outcome(() => step(this.api as AnyFs, folder)),
    };
  }

  /** Runs a step on a tree of its own; what is left of the tree counts too. */
  async run(step: Step): Promise<{ node: unknown; api: unknown }> {
    const folder = this.fresh ?? join(this.base, `t${this.count++}`);
    const results: unknown[] = [];
    for (const fs of [local, this.api as AnyFs]) {
      const helper = fs === local ? quick : fs;
      if (this.fresh === undefined) await plant(helper, folder);
      const result = await outcome(() => step(fs, folder));
      results.push({ result, tree: shown(await treeOf(helper, folder)) });
      await helper.rm(folder, { recursive: true });
    }
    this.fresh = undefined;
    return { node: results[0], api: results[1] };
  }
}

function resultOf(ran: unknown): unknown {
  return (ran as { result: unknown }).result;
}

/** The steps whose outcomes differ, each with both outcomes. */
export async function differences(
  twins: Twins,
  steps: readonly (readonly [label: string, step: Step])[],
  how: (label: string) => 'look' | 'run' | 'result',
): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const [label, step] of steps) {
    const kind = how(label);
    let { node, api } = await (kind === 'look' ? twins.look(step) : twins.run(step));
    if (kind === 'result') [node, api] = [resultOf(node), resultOf(api)];
    if (!isDeepStrictEqual(node, api)) found.push({ label: label.slice(0, 40), node, api });
  }
  return found;
}
