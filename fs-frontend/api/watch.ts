/**
 * `watch`: an async iterator of changes. Told are the changes that go through the API in this process (every door to the same Vfs);
 * not those of other servers, nor of a kernel mount.
 */
import { Buffer } from 'node:buffer';
import { ROOT_INO } from '../vfs/vfs.js';
import { checkBoolean, checkObject, checkSignal, decoded, optionsOf } from './arguments.js';
import type { ChangeKind, Watcher } from './changes.js';
import { throwIfAborted } from './errors.js';
import { named, type Files } from './files.js';
import { joinBytes, pathOf } from './paths.js';

export interface WatchEvent {
  readonly eventType: ChangeKind;
  readonly filename: string | Buffer | null;
}

/** Changes that nobody fetches are kept up to this many, the older ones are dropped. */
const QUEUED_MAX = 65_536;

class Changes implements Watcher {
  readonly ino: number;
  readonly recursive: boolean;
  readonly queued: { kind: ChangeKind; name: Uint8Array }[] = [];
  wake: (() => void) | undefined;
  private readonly self: Uint8Array;

  constructor(ino: number, recursive: boolean, self: Uint8Array) {
    this.ino = ino;
    this.recursive = recursive;
    this.self = self;
  }

  changed(kind: ChangeKind, names: readonly Uint8Array[]): void {
    const name = names.length === 0 ? this.self : names.reduce(joinBytes);
    if (this.queued.length === QUEUED_MAX) this.queued.shift();
    this.queued.push({ kind, name });
    this.wake?.();
  }
}

export async function* watch(
  files: Files,
  given: unknown,
  options: unknown = {},
): AsyncGenerator<WatchEvent, void> {
  const settings: { recursive?: unknown } =
    typeof options === 'string' ? {} : checkObject(options, 'options');
  if (settings.recursive !== undefined && settings.recursive !== null) {
    checkBoolean(settings.recursive, 'options.recursive');
  }
  const { encoding, signal } = optionsOf(options);
  checkSignal(signal, 'options.signal');
  const path = pathOf(given, 'filename');
  throwIfAborted(signal);
  const place = await named('watch', path, async () => files.place(path, true));
  const { ino } = place.found.attributes;
  const self = ino === ROOT_INO ? Buffer.from('/') : place.name;
  const changes = new Changes(ino, settings.recursive === true, self);
  const wake = (): void => changes.wake?.();
  files.changes.add(changes);
  signal?.addEventListener('abort', wake, { once: true });
  try {
    for (;;) {
      throwIfAborted(signal);
      const change = changes.queued.shift();
      if (change === undefined) {
        await new Promise<void>((resolve) => (changes.wake = resolve));
      } else {
        yield { eventType: change.kind, filename: decoded(change.name, encoding) };
      }
    }
  } finally {
    files.changes.remove(changes);
    signal?.removeEventListener('abort', wake);
  }
}
