/** A file tree in memory as simple as can be: what the random test expects of every call. Root's, without permissions. */
import { PosixError } from './posix-fs.js';

export interface Node {
  readonly kind: 'file' | 'directory' | 'link';
  mode: number;
  nlink: number;
  data: Buffer;
  readonly names: Map<string, Node>;
  parent: Node | undefined;
}

function fail(code: string): never {
  throw new PosixError(code, 'model');
}

export function newNode(kind: Node['kind'], mode: number): Node {
  const nlink = kind === 'directory' ? 2 : 1;
  return { kind, mode, nlink, data: Buffer.alloc(0), names: new Map(), parent: undefined };
}

export class ModelTree {
  readonly root = newNode('directory', 0o755);

  /** The directory of the last name; links on the way are followed. */
  #place(path: string, from: Node = this.root, depth = 0): { directory: Node; name: string } {
    if (depth > 40) fail('ELOOP');
    const parts = path.split('/');
    const name = parts.pop() as string;
    let at = from;
    for (const part of parts) {
      const next = this.#child(at, part, depth);
      if (next.kind !== 'directory') fail('ENOTDIR');
      at = next;
    }
    return { directory: at, name };
  }

  #child(directory: Node, name: string, depth: number): Node {
    const found = directory.names.get(name);
    if (found === undefined) return fail('ENOENT');
    if (found.kind !== 'link') return found;
    const place = this.#place(found.data.toString(), directory, depth + 1);
    return this.#child(place.directory, place.name, depth + 1);
  }

  find(path: string, follow: boolean): Node {
    const { directory, name } = this.#place(path);
    if (follow) return this.#child(directory, name, 0);
    return directory.names.get(name) ?? fail('ENOENT');
  }

  open(path: string, create: boolean, exclusive: boolean, truncate: boolean): Node {
    let place = this.#place(path);
    for (let depth = 1; ; depth++) {
      const found = place.directory.names.get(place.name);
      if (found === undefined) {
        if (!create) return fail('ENOENT');
        const made = newNode('file', 0o644);
        place.directory.names.set(place.name, made);
        return made;
      }
      if (create && exclusive) return fail('EEXIST');
      if (found.kind === 'link') {
        if (depth > 40) return fail('ELOOP');
        place = this.#place(found.data.toString(), place.directory, depth);
        continue;
      }
      if (found.kind === 'directory') return fail('EISDIR');
      if (truncate) found.data = Buffer.alloc(0);
      return found;
    }
  }

  write(node: Node, offset: number, data: Buffer): void {
    const size = Math.max(node.data.length, offset + data.length);
    const grown = Buffer.alloc(size);
    node.data.copy(grown);
    data.copy(grown, offset);
    node.data = grown;
  }

  truncate(node: Node, size: number): void {
    if (node.kind === 'directory') fail('EISDIR');
    const cut = Buffer.alloc(size);
    node.data.copy(cut);
    node.data = cut;
  }

  #make(path: string, node: Node): void {
    const { directory, name } = this.#place(path);
    if (directory.names.has(name)) fail('EEXIST');
    directory.names.set(name, node);
    if (node.kind === 'directory') {
      node.parent = directory;
      directory.nlink += 1;
    }
  }

  mkdir(path: string): void {
    this.#make(path, newNode('directory', 0o755));
  }

  symlink(target: string, path: string): void {
    const node = newNode('link', 0o777);
    node.data = Buffer.from(target);
    this.#make(path, node);
  }

  link(from: string, to: string): void {
    const node = this.find(from, false);
    const { directory, name } = this.#place(to);
    if (directory.names.has(name)) fail('EEXIST');
    if (node.kind === 'directory') fail('EPERM');
    directory.names.set(name, node);
    node.nlink += 1;
  }

  unlink(path: string): void {
    const { directory, name } = this.#place(path);
    const node = directory.names.get(name) ?? fail('ENOENT');
    if (node.kind === 'directory') fail('EISDIR');
    directory.names.delete(name);
    node.nlink -= 1;
  }

  rmdir(path: string): void {
    const { directory, name } = this.#place(path);
    const node = directory.names.get(name) ?? fail('ENOENT');
    if (node.kind !== 'directory') fail('ENOTDIR');
    if (node.names.size > 0) fail('ENOTEMPTY');
    directory.names.delete(name);
    directory.nlink -= 1;
    node.nlink = 0;
  }

  #within(node: Node, ancestor: Node): boolean {
    for (let at: Node | undefined = node; at !== undefined; at = at.parent) {
      if (at === ancestor) return true;
    }
    return false;
  }

  rename(from: string, to: string): void {
    const source = this.#place(from);
    const target = this.#place(to);
    const node = source.directory.names.get(source.name) ?? fail('ENOENT');
    const old = target.directory.names.get(target.name);
    if (node.kind === 'directory' && this.#within(target.directory, node)) fail('EINVAL');
    if (old?.kind === 'directory' && this.#within(source.directory, old)) fail('ENOTEMPTY');
    if (node === old) return;
    if (old !== undefined) {
      if (node.kind === 'directory' && old.kind !== 'directory') fail('ENOTDIR');
      if (node.kind !== 'directory' && old.kind === 'directory') fail('EISDIR');
      if (old.names.size > 0) fail('ENOTEMPTY');
      old.nlink -= old.kind === 'directory' ? 2 : 1;
      if (old.kind === 'directory') target.directory.nlink -= 1;
    }
    source.directory.names.delete(source.name);
    target.directory.names.set(target.name, node);
    if (node.kind === 'directory') {
      source.directory.nlink -= 1;
      target.directory.nlink += 1;
      node.parent = target.directory;
    }
  }

  /** A line a name: path, kind, mode, links, size, content. */
  lines(hash: (data: Buffer) => string): string[] {
    const found: string[] = [];
    const visit = (directory: Node, prefix: string): void => {
      for (const [name, node] of directory.names) {
        const size = node.kind === 'directory' ? '' : String(node.data.length);
        const content = node.kind === 'directory' ? '' : hash(node.data);
        found.push(
          `${prefix}${name} ${node.kind} ${node.mode.toString(8)} ${node.nlink} ${size} ${content}`,
        );
        if (node.kind === 'directory') visit(node, `${prefix}${name}/`);
      }
    };
    visit(this.root, '');
    return found.sort();
  }
}
