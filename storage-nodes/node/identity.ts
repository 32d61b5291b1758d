/**
 * Who a data folder belongs to: `<folder>/identity.json`, replaced whole (new file, sync, rename, sync folder).
 *
 * ```
 * { "format": 1, "cluster": "...", "node": "...", "zone": "...", "generation": 3, "trusted": true }
 * ```
 *
 * generation: 0 until the node is first admitted; grows each time the folder is made anew or its content was damaged; acknowledgements carry it.
 * trusted: false from the moment damage is known until epoch and list were adopted from a register read (rule 19).
 */
import { writeDurably } from '#core/world/durable.js';
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import { flag, jsonCodec, object, text, u32 } from '#core/rpc/shape.js';

export const FOLDER_FORMAT = 1;

export interface Identity {
  readonly format: number;
  readonly cluster: string;
  readonly node: string;
  readonly zone: string;
  readonly generation: number;
  readonly trusted: boolean;
}

const codec = jsonCodec(
  'identity.json',
  object<Identity>({
    format: u32,
    cluster: text,
    node: text,
    zone: text,
    generation: u32,
    trusted: flag,
  }),
);

const FILE = 'identity.json';

/**
 * The identity in a folder; undefined when the folder is absent or empty. Throws FOLDER_FOREIGN, without
 * touching anything, when it is another's, of another format, or holds files but no identity.
 */
export function readIdentity(
  world: World,
  folder: string,
  expected: { cluster: string; node: string },
): Identity | undefined {
  const path = `${folder}/${FILE}`;
  const foreign = (what: string): SextantError =>
    new SextantError('FOLDER_FOREIGN', `data folder ${folder}: ${what}`);
  if (!world.disk.exists(path)) {
    const others = world.disk
      .list(folder)
      .filter((name) => !/^(\..*|LOCK|identity\.new)$/.test(name));
    if (others.length > 0) throw foreign(`holds ${others[0]} but no ${FILE}`);
    return undefined;
  }
  const file = world.disk.open(path);
  let identity: Identity;
  try {
    const bytes = new Uint8Array(Math.min(file.size(), 64 * 1024));
    identity = codec.decode(bytes.subarray(0, file.read(bytes, 0, bytes.length, 0)));
  } catch (cause) {
    throw new SextantError('FOLDER_FOREIGN', `${path} is not readable`, { cause });
  } finally {
    file.close();
  }
  if (identity.format !== FOLDER_FORMAT) {
    throw foreign(`format ${identity.format}, this program knows ${FOLDER_FORMAT}`);
  }
  if (identity.cluster !== expected.cluster) {
    throw foreign(`belongs to cluster ${identity.cluster}, not ${expected.cluster}`);
  }
  if (identity.node !== expected.node) {
    throw foreign(`belongs to node ${identity.node}, not ${expected.node}`);
  }
  return identity;
}

/** Durable when it returns. */
export function writeIdentity(world: World, folder: string, identity: Identity): void {
  writeDurably(world.disk, folder, FILE, 'identity.new', codec.encode(identity));
}
