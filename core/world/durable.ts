/** Small things that must be on the disk, whole, when the call returns. */
import type { Disk } from './world.js';

/**
 * Makes the folder and those above it that are missing; a power cut leaves them there. Synced from the top: a crash
 * between two syncs leaves nothing durable below what is not.
 */
export function makeDurableFolder(disk: Disk, folder: string): void {
  const parents: string[] = [];
  for (let path = folder; !disk.exists(path);) {
    const cut = path.lastIndexOf('/');
    const parent = cut > 0 ? path.slice(0, cut) : cut === 0 ? '/' : '.';
    parents.push(parent);
    if (parent === '/' || parent === '.') break;
    path = parent;
  }
  disk.makeFolder(folder);
  for (const parent of parents.toReversed()) disk.syncFolder(parent);
}

/** Writes a file aside as `aside` and renames it: after a crash it is the old one or the new one. */
export function writeDurably(
  disk: Disk,
  folder: string,
  name: string,
  aside: string,
  bytes: Uint8Array,
): void {
  const file = disk.open(`${folder}/${aside}`, { create: true });
  try {
    file.truncate(0);
    file.write(bytes, 0, bytes.length, 0);
    file.sync();
  } finally {
    file.close();
  }
  disk.rename(`${folder}/${aside}`, `${folder}/${name}`);
  disk.syncFolder(folder);
}
