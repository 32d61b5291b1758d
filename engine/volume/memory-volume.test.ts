import { describe, expect, it } from 'vitest';
import { PAGE_BYTES } from '#core/ids.js';
import { putFormat, putSet } from '#core/redo/edits.js';
import { FLAG_CPL, FLAG_FORMAT } from '#core/redo/record.js';
import { MemoryVolume } from './memory-volume.js';

const edits = new Uint8Array(64);

function write(volume: MemoryVolume, value: number, prev: number, flags = FLAG_CPL): number {
  let end = prev === 0 ? putFormat(edits, 0, 7) : 0;
  end = putSet(edits, end, 100, Uint8Array.of(value), 0, 1);
  return volume.append(3, flags | (prev === 0 ? FLAG_FORMAT : 0), prev, edits, 0, end);
}

async function read(volume: MemoryVolume): Promise<number> {
  const page = new Uint8Array(PAGE_BYTES);
  await volume.readPage(3, page, 0);
  return page[100];
}

describe('MemoryVolume', () => {
  it('shows what is durable, whole MTRs only', async () => {
    const volume = new MemoryVolume({ manual: true });
    const log: string[] = [];
    volume.onVdl = (vdl) => log.push(`vdl ${vdl}`);
    const first = write(volume, 1, 0);
    const second = write(volume, 2, first, 0);
    volume.wait(first, () => log.push('first'));
    expect(await read(volume)).toBe(0);
    volume.advance();
    expect(await read(volume)).toBe(1);
    const third = write(volume, 3, second);
    volume.wait(third, () => log.push('third'));
    volume.wait(second, () => log.push('second'));
    volume.advance();
    expect(await read(volume)).toBe(3);
    expect(log).toEqual(['vdl 1', 'first', 'vdl 3', 'second', 'third']);
  });

  it('moves by itself once somebody waits, and bounds what is in flight', async () => {
    const volume = new MemoryVolume({ lal: 2 });
    const lsn = write(volume, 1, 0);
    write(volume, 2, lsn);
    expect(volume.hasRoom(1, 0)).toBe(false);
    await volume.whenRoom();
    expect(volume.hasRoom(2, 0)).toBe(true);
    await new Promise<void>((resolve) => volume.wait(write(volume, 3, 2), () => resolve()));
    expect(await read(volume)).toBe(3);
  });

  it('dies as a fenced volume does', async () => {
    const volume = new MemoryVolume({ manual: true });
    const lost = new Promise((_, reject) => volume.wait(write(volume, 1, 0), reject));
    volume.fail();
    await expect(lost).rejects.toMatchObject({ code: 'FENCED' });
    expect(() => write(volume, 2, 1)).toThrow('another writer');
    await expect(volume.whenRoom()).rejects.toMatchObject({ code: 'FENCED' });
    expect(volume.confirmedWithin(1000)).toBe(false);
  });
});
