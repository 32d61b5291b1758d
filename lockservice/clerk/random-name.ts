import type { Random } from '#core/world/world.js';

/** 128 random bits in hexadecimal. */
export function randomName(random: Random): string {
  let name = '';
  for (const byte of random.bytes(16)) name += byte.toString(16).padStart(2, '0');
  return name;
}
