/** Seeded work on a file server, and what of it must be there after a crash. */
import type { SimRandom } from '#core/world/simulated/random.js';
import { FsError, type Ino } from '../vfs/vfs.js';
import type { FileServer } from './file-server.js';
import { ROOT, RW, bytes } from './files-cluster.test-helper.js';

/** What is known to be durable: contents of files whose last change was synced before anything else touched them. */
export interface Model {
  readonly synced: Map<string, Uint8Array>;
}

interface Place {
  readonly server: FileServer;
  readonly random: SimRandom;
  readonly model: Model;
  readonly dir: Ino;
  readonly name: Uint8Array;
  readonly key: string;
  /** Another name, and what the model calls it. */
  readonly to: Ino;
  readonly other: Uint8Array;
  readonly otherKey: string;
  readonly sub: Uint8Array;
}

const SIZES = [10, 3000, 9000, 70_000, 300_000];

async function writeFile({ server, random, model, dir, name, key }: Place): Promise<void> {
  model.synced.delete(key);
  const { handle } = await server.create(dir, name, 0o644, RW, ROOT);
  const data = random.bytes(SIZES[random.below(SIZES.length)] ?? 0);
  await server.write(handle, random.chance(0.3) ? random.below(100_000) : 0, data, ROOT);
  if (random.chance(0.6)) {
    await server.fsync(handle, false);
    const { attributes } = await server.lookup(dir, name, ROOT);
    const parts: Uint8Array[] = [];
    for (let done = 0; done < attributes.size;) {
      const part = (await server.read(handle, done, 1 << 20)).slice();
      parts.push(part);
      done += part.length;
    }
    // Of a file with two names the other one may change it.
    if (attributes.nlink === 1) model.synced.set(key, Buffer.concat(parts));
  }
  await server.release(handle);
}

async function inoOf({ server, dir, name }: Place): Promise<Ino> {
  return (await server.lookup(dir, name, ROOT)).attributes.ino;
}

const STEPS: readonly ((place: Place) => Promise<void>)[] = [
  writeFile,
  writeFile,
  writeFile,
  async ({ server, model, dir, name, key }) => {
    model.synced.delete(key);
    await server.unlink(dir, name, ROOT);
  },
  async ({ server, model, dir, name, key, to, other, otherKey }) => {
    model.synced.delete(key);
    model.synced.delete(otherKey);
    await server.rename(dir, name, to, other, 0, ROOT);
  },
  async (place) => {
    const ino = await inoOf(place);
    place.model.synced.delete(place.key);
    await place.server.setAttributes(ino, { size: place.random.below(80_000) }, ROOT);
  },
  async ({ server, random, dir, sub }) => {
    if (random.chance(0.5)) await server.makeDirectory(dir, sub, 0o755, ROOT);
    else await server.removeDirectory(dir, sub, ROOT);
  },
  async (place) => {
    const ino = await inoOf(place);
    place.model.synced.delete(place.key);
    place.model.synced.delete(place.otherKey);
    await place.server.link(ino, place.to, place.other, ROOT);
  },
  async (place) => {
    const value = place.random.bytes(place.random.below(3000));
    await place.server.setXattr(await inoOf(place), bytes('user.x'), value, 0, ROOT);
  },
];

function placeOf(
  server: FileServer,
  random: SimRandom,
  dirs: Ino[],
  model: Model,
  owner: string,
): Place {
  const dir = dirs[random.below(dirs.length)] ?? 1;
  const to = dirs[random.below(dirs.length)] ?? 1;
  const file = `${owner}${random.below(12)}`;
  const target = `${owner}${random.below(12)}`;
  return {
    server,
    random,
    model,
    dir,
    name: bytes(file),
    key: `${dir}/${file}`,
    to,
    other: bytes(target),
    otherKey: `${to}/${target}`,
    sub: bytes(`${owner}d${random.below(4)}`),
  };
}

/** Steps on names that begin with `owner`; what other servers do to the same directories is in nobody's way. */
export async function work(
  random: SimRandom,
  server: FileServer,
  dirs: Ino[],
  model: Model,
  owner: string,
  steps: number,
): Promise<void> {
  for (let i = 0; i < steps; i++) {
    try {
      const step = STEPS[random.below(STEPS.length)] ?? writeFile;
      await step(placeOf(server, random, dirs, model, owner));
    } catch (error) {
      const known = error instanceof FsError && EXPECTED.has(error.errno);
      if (!known) throw error;
    }
  }
}

const EXPECTED = new Set(['ENOENT', 'EEXIST', 'ENOTEMPTY', 'EISDIR', 'ENOTDIR', 'EMLINK']);
