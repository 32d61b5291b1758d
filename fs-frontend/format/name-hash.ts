/**
 * The hash of a name: MurmurHash3, 32 bits, seeded per directory. Keys of directories are hash * 65536 + discriminator, so up to
 * 65,536 names of one hash find room; among them a lookup compares names.
 */
export const DISCRIMINATORS = 0x1_0000;

export function nameHash(name: Uint8Array, seed: number): number {
  const length = name.length;
  const body = length & ~3;
  let hash = seed | 0;
  for (let i = 0; i < body; i += 4) {
    const word = name[i] | (name[i + 1] << 8) | (name[i + 2] << 16) | (name[i + 3] << 24);
    hash ^= mix(word);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe654_6b64) | 0;
  }
  let tail = 0;
  for (let i = length - 1; i >= body; i--) tail = (tail << 8) | name[i];
  if (length !== body) hash ^= mix(tail);
  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function mix(word: number): number {
  const spread = Math.imul(word, 0xcc9e_2d51);
  return Math.imul((spread << 15) | (spread >>> 17), 0x1b87_3593);
}
