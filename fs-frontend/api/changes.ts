/**
 * Who watches what: changes that go through the API of this process, told to its watchers. Changes that other servers or a kernel
 * mount make are not seen. A hub belongs to a Vfs, so that all doors to the same Vfs share one.
 */
import type { Ino, Vfs } from '../vfs/vfs.js';
import type { Place } from './walk.js';

export type ChangeKind = 'rename' | 'change';

export interface Watcher {
  readonly ino: Ino;
  readonly recursive: boolean;
  /** `names` lead from the watched directory to what changed; empty: it is what is watched itself. */
  changed(kind: ChangeKind, names: readonly Uint8Array[]): void;
}

/** Where an open file was found, so that its writes can be told. */
export interface Origin {
  readonly inos: readonly Ino[];
  readonly names: readonly Uint8Array[];
  readonly name: Uint8Array;
}

const hubs = new WeakMap<Vfs, ChangeHub>();

export class ChangeHub {
  private readonly watchers = new Set<Watcher>();

  static of(vfs: Vfs): ChangeHub {
    let hub = hubs.get(vfs);
    if (hub === undefined) {
      hub = new ChangeHub();
      hubs.set(vfs, hub);
    }
    return hub;
  }

  /** Somebody watches: only then is it worth finding out what a name led to. */
  get active(): boolean {
    return this.watchers.size > 0;
  }

  add(watcher: Watcher): void {
    this.watchers.add(watcher);
  }

  remove(watcher: Watcher): void {
    this.watchers.delete(watcher);
  }

  /** A name in a directory came, went or leads elsewhere; `ino` is what it leads to, when known. */
  renamed(place: Place, ino?: Ino): void {
    if (this.active) this.tell('rename', place, ino);
  }

  changed(place: Origin, ino: Ino): void {
    if (this.active) this.tell('change', place, ino);
  }

  private tell(kind: ChangeKind, origin: Origin, ino: Ino | undefined): void {
    const { inos, names, name } = origin;
    const parent = inos.length - 1;
    for (const watcher of this.watchers) {
      if (watcher.ino === ino) watcher.changed(kind, []);
      if (name.length === 0) continue;
      const at = watcher.recursive ? inos.indexOf(watcher.ino) : parent;
      // `names` has none for the root, so that what follows inos[at] starts at names[at].
      if (at >= 0 && inos[at] === watcher.ino) {
        watcher.changed(kind, [...names.slice(at), name]);
      }
    }
  }
}
