/** What a Vfs may do and a simple one does not: wait before every answer, and take back the bytes that it lent. */
import { setImmediate } from 'node:timers/promises';
import { RealFiles } from '#fs-frontend/server/real-files.test-helper.js';
import type { Vfs } from '#fs-frontend/vfs/vfs.js';
import { MemoryVfs } from '#tests/vfs/memory-vfs.js';

type Methods = Record<string | symbol, (...values: unknown[]) => unknown>;

function wrapped(vfs: Vfs, call: (method: () => unknown) => unknown): Vfs {
  return new Proxy(vfs, {
    get(target, name): unknown {
      const method = (target as unknown as Methods)[name];
      if (typeof method !== 'function') return method;
      return (...values: unknown[]) => call(() => method.apply(target, values));
    },
  });
}

/** Every answer comes in a later turn. */
export function waiting(vfs: Vfs): Vfs {
  return wrapped(vfs, async (method) => {
    await setImmediate();
    return await method();
  });
}

/** Bytes that an answer holds are overwritten when the next call begins. */
export function spoiling(vfs: Vfs): Vfs {
  let lent: Uint8Array | undefined;
  return wrapped(vfs, (method) => {
    lent?.fill(0xdd);
    lent = undefined;
    const answer = method();
    if (!(answer instanceof Uint8Array)) return answer;
    lent = Uint8Array.from(answer);
    return lent;
  });
}

export const MEMORY = 'a Vfs that answers at once, with bytes that the next call spoils';
export const FILE_SERVER = 'a file server';

/** What the API is tried on. */
export const KINDS: Record<string, () => Promise<{ vfs: Vfs; stop?: () => Promise<void> }>> = {
  [MEMORY]: async () => ({
    vfs: spoiling(new MemoryVfs()),
  }),
  'a Vfs that always lets wait': async () => ({ vfs: waiting(new MemoryVfs()) }),
  [FILE_SERVER]: async () => {
    const files = await RealFiles.open();
    return { vfs: await files.server(), stop: () => files.close() };
  },
};
