/** `fs.extra`: what this file system can do and `node:fs` cannot say. */
import { Buffer } from 'node:buffer';
import { constants } from 'node:fs';
import { FsError, RenameFlag, XattrFlag, type FsStatistics } from '../vfs/vfs.js';
import { checkInteger, modeOf } from './arguments.js';
import { invalidArgumentType } from './errors.js';
import { named, type Files } from './files.js';
import { rename } from './names.js';
import { pathOf, type PathLike } from './paths.js';

const { S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK } = constants;
const NODE_TYPES = { fifo: S_IFIFO, socket: S_IFSOCK, character: S_IFCHR, block: S_IFBLK } as const;

export interface XattrOptions {
  /** Of the link itself, where the path leads to one (default false). */
  readonly noFollow?: boolean;
}
export interface SetXattrOptions extends XattrOptions {
  /** `create`: EEXIST when it is there; `replace`: ENODATA when it is not. */
  readonly mode?: 'create' | 'replace';
}

export class Extra {
  readonly #files: Files;

  constructor(files: Files) {
    this.#files = files;
  }

  /** ENODATA when there is none of that name. Names have a namespace in front: `user.` is everybody's. */
  async getXattr(given: PathLike, name: string, options?: XattrOptions): Promise<Buffer> {
    return await this.#withInode('getxattr', given, options, (ino) => {
      const value = this.#files.vfs.getXattr(ino, Buffer.from(name), this.#files.caller);
      // A copy, made at once: the bytes are only good until the next call.
      return value instanceof Promise
        ? value.then((bytes) => Buffer.from(bytes))
        : Buffer.from(value);
    });
  }

  async setXattr(
    given: PathLike,
    name: string,
    value: Uint8Array | string,
    options?: SetXattrOptions,
  ): Promise<void> {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    if (!(bytes instanceof Uint8Array)) {
      throw invalidArgumentType('value', 'of type string or an instance of Uint8Array', value);
    }
    const flags = XattrFlag[options?.mode ?? 'either'];
    await this.#withInode('setxattr', given, options, (ino) =>
      this.#files.vfs.setXattr(ino, Buffer.from(name), bytes, flags, this.#files.caller),
    );
  }

  async listXattr(given: PathLike, options?: XattrOptions): Promise<string[]> {
    return await this.#withInode('listxattr', given, options, async (ino) => {
      const names = await this.#files.vfs.listXattr(ino, this.#files.caller);
      return names.map((name) => Buffer.from(name).toString());
    });
  }

  async removeXattr(given: PathLike, name: string, options?: XattrOptions): Promise<void> {
    await this.#withInode('removexattr', given, options, (ino) =>
      this.#files.vfs.removeXattr(ino, Buffer.from(name), this.#files.caller),
    );
  }

  async #withInode<T>(
    syscall: string,
    given: PathLike,
    options: XattrOptions | undefined,
    work: (ino: number) => T | Promise<T>,
  ): Promise<T> {
    const path = pathOf(given);
    return await named(syscall, path, async () => {
      const place = await this.#files.place(path, options?.noFollow !== true);
      return await work(place.found.attributes.ino);
    });
  }

  /** mknod(2): a named pipe, a socket or a device; `device` is its number. */
  async makeNode(
    given: PathLike,
    type: keyof typeof NODE_TYPES,
    mode: number | string = 0o666,
    device = 0,
  ): Promise<void> {
    const path = pathOf(given);
    const permissions = modeOf(mode, 'mode') & 0o7777 & ~this.#files.umask;
    checkInteger(device, 'device', 0);
    const { vfs, caller } = this.#files;
    await named('mknod', path, async () => {
      const place = await this.#files.parent(path);
      if (place.kind !== 'name') throw new FsError('EEXIST');
      if (place.slash) throw new FsError('ENOENT');
      const kind = NODE_TYPES[type] | permissions;
      const made = await vfs.makeNode(place.parent, place.name, kind, device, caller);
      this.#files.changes.renamed(place, made.attributes.ino);
    });
  }

  /** As rename, but EEXIST when `newPath` is there. */
  async renameNoReplace(oldPath: PathLike, newPath: PathLike): Promise<void> {
    await rename(this.#files, oldPath, newPath, RenameFlag.noReplace);
  }

  /** Both are there, and each gets the other's name, at once. */
  async exchange(onePath: PathLike, otherPath: PathLike): Promise<void> {
    await rename(this.#files, onePath, otherPath, RenameFlag.exchange);
  }

  async statistics(): Promise<FsStatistics> {
    return await named('statfs', undefined, async () => this.#files.vfs.statistics());
  }

  /** Everything that was done so far is durable. */
  async sync(): Promise<void> {
    await named('sync', undefined, () => this.#files.vfs.sync());
  }
}
