/** Seeded work on a file server, and what of it must be there after a crash. */
import type { SimRandom } from '#core/world/simulated/random.js';
import { FsError, type Ino } from '../vfs/vfs.js';
import type { FileServer } from './file-server.js';
import { ROOT, RW, bytes } from './files-cluster.test-helper.js';

/** What is known to be durable: contents of files whose last change was synced before anything else touched them. */
export interface Model {
  readonly synced: Map<string, Uint8Array>;
}

async function step(
  random: SimRandom,
  server: FileServer,
  dirs: Ino[],
  model: Model,
  owner: string,
): Promise<void> {
  const dir = dirs[random.below(dirs.length)] as Ino;
  const file = `${owner}${random.below(12)}`;
  const key = `${dir}/${file}`;
  const name = bytes(file);
  switch (random.below(9)) {
    case 0:
    case 1:
    case 2: {
      model.synced.delete(key);
      const { handle } = await server.create(dir, name, 0o644, RW, ROOT);
      const size = [10, 3000, 9000, 70_000, 300_000][random.below(5)] as number;
      const data = random.bytes(size);
      const at = random.below(3) === 0 ? random.below(100_000) : 0;
      await server.write(handle, at, data, ROOT);
      if (random.chance(0.6)) {
        await server.fsync(handle, false);
        const entry = await server.lookup(dir, name, ROOT);
        const parts: Uint8Array[] = [];
        for (let done = 0; done < entry.attributes.size;) {
          const part = (await server.read(handle, done, 1 << 20)).slice();
          parts.push(part);
          done += part.length;
        }
        // Of a file with two names the other one may change it.
        if (entry.attributes.nlink === 1) model.synced.set(key, Buffer.concat(parts));
      }
      await server.release(handle);
      return;
    }
    case 3:
      model.synced.delete(key);
      await server.unlink(dir, name, ROOT);
      return;
    case 4: {
      const to = dirs[random.below(dirs.length)] as Ino;
      const other = `${owner}${random.below(12)}`;
      model.synced.delete(key);
      model.synced.delete(`${to}/${other}`);
      await server.rename(dir, name, to, bytes(other), 0, ROOT);
      return;
    }
    case 5: {
      const { ino } = (await server.lookup(dir, name, ROOT)).attributes;
      model.synced.delete(key);
      await server.setAttributes(ino, { size: random.below(80_000) }, ROOT);
      return;
    }
    case 6: {
      const sub = bytes(`${owner}d${random.below(4)}`);
      if (random.chance(0.5)) await server.makeDirectory(dir, sub, 0o755, ROOT);
      else await server.removeDirectory(dir, sub, ROOT);
      return;
    }
    case 7: {
      const { ino } = (await server.lookup(dir, name, ROOT)).attributes;
      const to = dirs[random.below(dirs.length)] as Ino;
      const other = `${owner}${random.below(12)}`;
      model.synced.delete(key);
      model.synced.delete(`${to}/${other}`);
      await server.link(ino, to, bytes(other), ROOT);
      return;
    }
    default: {
      const { ino } = (await server.lookup(dir, name, ROOT)).attributes;
      await server.setXattr(ino, bytes('user.x'), random.bytes(random.below(3000)), 0, ROOT);
    }
  }
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
      await step(random, server, dirs, model, owner);
    } catch (error) {
      const known = error instanceof FsError && EXPECTED.has(error.errno);
      if (!known) throw error;
    }
  }
}

const EXPECTED = new Set(['ENOENT', 'EEXIST', 'ENOTEMPTY', 'EISDIR', 'ENOTDIR', 'EMLINK']);
