import { describe, expect, it } from 'vitest';
import { isSextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { Region, registerBytes, type RegisterName } from '../disk/disk.js';
import { insertEntry, listEntries, lookupEntry, removeEntry } from '../format/directory.js';
import { InodeField, S_IFDIR, S_IFREG, changeInode, getInode, setOrphan } from '../format/inode.js';
import { insertExtent } from '../format/extents.js';
import { headerRegister } from '../format/layout.js';
import { OrphanList } from '../format/orphans.js';
import type { Transaction } from '../format/transaction.js';
import { openLog } from '../log/log.js';
import { checkFileSystem, type CheckReport, type FindingKind } from './check.js';
import { DiskBlocks } from './disk-blocks.js';
import { ROUND } from './repair.js';
import { makeFileSystem, readSuperblock } from './mkfs.js';
import { Sample, bytesOf } from './sample.test-helper.js';

const byText = (a: string, b: string): number => (a < b ? -1 : 1);
const SEED = 2;
const RUNS = 15;
const code = (expected: string) => expect.objectContaining({ code: expected });

function check(sample: Sample, repair: boolean, token = 9): Promise<CheckReport> {
  const { takeClocks, raiseClock } = sample;
  return checkFileSystem(sample.store.open(token), { repair, takeClocks, raiseClock });
}

const kindsOf = ({ findings }: CheckReport): FindingKind[] =>
  [...new Set(findings.map(({ kind }) => kind))].sort();

type Damage = (sample: Sample, tx: Transaction) => void;

/** What is done to the sample -> what is found at first -> whether repair can put it right. */
const DAMAGES: Record<string, { damage: Damage; finds: FindingKind[]; stays?: boolean }> = {
  'a file without a name': {
    damage: (s, tx) => void removeEntry(tx, s.header('/sub'), bytesOf('extents')),
    finds: ['inode-lost'],
  },
  'a tree without a name': {
    damage: (s, tx) => {
      removeEntry(tx, s.header(''), bytesOf('sub'));
      changeInode(tx, s.header(''), { nlink: 3 });
    },
    finds: ['inode-lost'],
  },
  'a name of a free inode': {
    damage: (s, tx) => insertEntry(tx, s.header('/sub'), bytesOf('ghost'), 9999, 5, S_IFREG),
    finds: ['name-dangling'],
  },
  'a name of another generation': {
    damage: (s, tx) => insertEntry(tx, s.header('/sub'), bytesOf('g'), s.ino('/pipe'), 5, S_IFREG),
    finds: ['name-dangling'],
  },
  'a wrong type in an entry': {
    damage: (s, tx) => {
      const ino = s.ino('/pipe');
      removeEntry(tx, s.header(''), bytesOf('pipe'));
      insertEntry(tx, s.header(''), bytesOf('pipe'), ino, ino + 100, S_IFREG);
    },
    finds: ['name-type'],
  },
  'a second name of a directory': {
    damage: (s, tx) => {
      const ino = s.ino('/sub/dir');
      insertEntry(tx, s.header(''), bytesOf('again'), ino, ino + 100, S_IFDIR);
    },
    finds: ['directory-linked-twice'],
  },
  'a wrong parent': {
    damage: (s, tx) => changeInode(tx, s.header('/sub/dir'), { parent: 1 }),
    finds: ['parent-wrong'],
  },
  'wrong counts of links': {
    damage: (s, tx) => {
      changeInode(tx, s.header('/small'), { nlink: 7 });
      changeInode(tx, s.header('/sub'), { nlink: 2 });
    },
    finds: ['nlink-wrong'],
  },
  'a wrong count of blocks': {
    damage: (s, tx) => changeInode(tx, s.header('/sub/tree'), { blocks: 8 }),
    finds: ['blocks-wrong'],
  },
  'bits that nobody uses': {
    damage: (s) => {
      const segment = s.blocks.segment(0);
      for (let i = 0; i < 50; i++) segment.claim(s.blocks.tx, 'data', 100_000 + i);
      segment.claim(s.blocks.tx, 'metadata', 5000);
      segment.claim(s.blocks.tx, 'inode', 20_000);
    },
    finds: ['data-leaked', 'inode-leaked', 'metadata-leaked'],
  },
  'bits that are missing': {
    damage: (s, tx) => {
      const segment = s.blocks.segment(0);
      segment.freeInode(tx, s.ino('/sub/dir/deep'));
      segment.freeMetadata(tx, 1);
      segment.freeData(tx, 3, 4);
    },
    finds: ['data-unmarked', 'inode-unmarked', 'metadata-unmarked'],
  },
  'a directory with a wrong count': {
    damage: (s, tx) => tx.u64(s.header('/many'), InodeField.entries, 12),
    finds: ['directory-damaged'],
  },
  'an entry under a wrong hash': {
    damage: (s, tx) => {
      const many = s.header('/many');
      const ino = s.ino('/many/a name 7');
      const root = tx.get(Region.metadata, many.view.getUint32(InodeField.root, true), 0);
      const leaf = tx.get(Region.metadata, root.view.getUint32(32 + 6, true), 0);
      tx.u8(leaf, leaf.view.getUint16(32, true) + 22, 0x7e);
      expect(ino).toBeGreaterThan(1);
    },
    finds: ['directory-damaged'],
  },
  'a leaf of a directory that is gone': {
    damage: (s, tx) => {
      const many = s.header('/many');
      const root = tx.get(Region.metadata, many.view.getUint32(InodeField.root, true), 0);
      tx.fill(tx.get(Region.metadata, root.view.getUint32(32 + 6 + 12, true), 0), 0, 4096, 0);
    },
    finds: ['directory-damaged', 'inode-lost', 'metadata-leaked'],
  },
  'xattrs cut short': {
    damage: (s, tx) => tx.u16(s.header('/small'), InodeField.xattrBytes, 9),
    finds: ['xattrs-damaged'],
  },
  'an orphan on no list': {
    damage: (s, tx) => {
      removeEntry(tx, s.header('/sub'), bytesOf('tree'));
      changeInode(tx, s.header('/sub/tree'), { nlink: 0 });
      setOrphan(tx, s.header('/sub/tree'));
    },
    finds: ['orphan-unlisted'],
  },
  'a block with two owners': {
    damage: (s, tx) => insertExtent(tx, s.header('/sub/extents'), 900, 9, 1, false),
    finds: ['block-shared'],
    stays: true,
  },
  'a damaged header': {
    damage: (s, tx) => tx.u32(s.header('/sub/tree'), 0, 0x1234),
    finds: ['inode-damaged', 'data-leaked', 'metadata-leaked'],
    stays: true,
  },
  'an extent that points nowhere': {
    damage: (s, tx) => tx.u48(s.header('/sub/extents'), InodeField.extents + 6, 2 ** 47),
    finds: ['inode-damaged', 'data-leaked'],
    stays: true,
  },
};

describe('mkfs and check', () => {
  it('make a file system once, and find nothing wrong with it', async () => {
    const sample = new Sample();
    await expect(check(sample, false)).rejects.toEqual(code('NOT_FOUND'));
    const disk = sample.store.open(5);
    const { takeClocks } = sample;
    const options = { diskId: new Uint8Array(16).fill(7), nowMs: 5e11, seed: 1, takeClocks };
    await makeFileSystem(disk, options);
    await expect(makeFileSystem(disk, options)).rejects.toEqual(code('EXISTS'));
    expect(await readSuperblock(disk)).toMatchObject({ version: 1, madeMs: 5e11 });
    expect(await check(sample, false)).toEqual({
      clean: true,
      findings: [],
      files: 0,
      directories: 1,
      orphans: 0,
      metadataBlocks: 0,
      dataBlocks: 0,
    });
  });

  it('find nothing in one of everything', async () => {
    const sample = await Sample.make();
    const report = await check(sample, false);
    expect(report.findings).toEqual([]);
    expect(report).toMatchObject({ files: 406, directories: 4, dataBlocks: 405 });
  });

  for (const [title, { damage, finds, stays }] of Object.entries(DAMAGES)) {
    it(`find and repair ${title}`, async () => {
      const sample = await Sample.make();
      await sample.damage((tx) => damage(sample, tx));
      const before = sample.store.contents();
      const found = await check(sample, false);
      const now = sample.store.contents();
      expect(now.size).toBe(before.size);
      for (const [key, bytes] of now) expect(before.get(key)).toBe(bytes);
      expect(kindsOf(found)).toEqual([...finds].sort());
      const repaired = await check(sample, true);
      expect(repaired.clean).toBe(stays !== true);
      const after = await check(sample, false, 10);
      if (stays === true) expect(kindsOf(after)).toEqual([...finds].sort());
      else expect(after.findings).toEqual([]);
    });
  }

  it('put a lost tree into /lost+found, whole', async () => {
    const sample = await Sample.make();
    const { damage } = DAMAGES['a tree without a name'];
    await sample.damage((tx) => damage(sample, tx));
    await check(sample, true);
    const blocks = new DiskBlocks(sample.store.open(11), sample.takeClocks);
    const names = await blocks.read(() => {
      const found = lookupEntry(blocks, getInode(blocks, 1), bytesOf('lost+found'));
      const folder = getInode(blocks, found?.ino ?? 0);
      const [{ name, ino }] = listEntries(blocks, folder, 0, 10);
      expect(Buffer.from(name).toString()).toBe(`#${sample.ino('/sub')}`);
      return listEntries(blocks, getInode(blocks, ino), 0, 10).length;
    });
    expect(names).toBe(4);
  });

  it('keep orphans that are on a list', async () => {
    const sample = await Sample.make();
    const list = new OrphanList(17);
    await sample.damage((tx) => {
      removeEntry(tx, sample.header('/sub'), bytesOf('tree'));
      changeInode(tx, sample.header('/sub/tree'), { nlink: 0 });
      setOrphan(tx, sample.header('/sub/tree'));
      list.add(tx, sample.ino('/sub/tree'), sample.ino('/sub/tree') + 100);
      list.add(tx, sample.ino('/small'), 3);
    });
    expect(await check(sample, false)).toMatchObject({ clean: true, findings: [], orphans: 1 });
  });

  it('FS-4: look at the state after replay, and replay with repair', async () => {
    const sample = await Sample.make();
    const disk = sample.store.open(6);
    const log = await openLog({ disk, slot: 40, takeClocks: sample.takeClocks });
    const server = new DiskBlocks(disk, sample.takeClocks);
    await server.change(() => lookupEntry(server, getInode(server, 1), bytesOf('small')));
    await server.read(() =>
      lookupEntry(server, getInode(server, sample.ino('/sub')), bytesOf('x')),
    );
    server.tx.begin();
    const root = getInode(server, 1);
    const ino = sample.ino('/pipe');
    removeEntry(server.tx, root, bytesOf('pipe'));
    insertEntry(
      server.tx,
      getInode(server, sample.ino('/sub')),
      bytesOf('p'),
      ino,
      ino + 100,
      0o10000,
    );
    server.tx.commit(log);
    await log.flush();
    const looked = await check(sample, false);
    expect([kindsOf(looked), looked.clean]).toEqual([['log-not-replayed'], true]);
    expect((await check(sample, true)).clean).toBe(true);
    expect((await check(sample, false)).findings).toEqual([]);
    const after = new DiskBlocks(sample.store.open(12), sample.takeClocks);
    const moved = await after.read(() =>
      lookupEntry(after, getInode(after, sample.ino('/sub')), bytesOf('p')),
    );
    expect(moved?.ino).toBe(ino);
  });

  it('never crash: any damaged register gives findings or a typed error', async () => {
    const random = new SimRandom(7);
    let found = 0;
    const sample = await Sample.make();
    const good = sample.store;
    const names: RegisterName[] = [...good.contents().keys()].map((key) => {
      const [region, index] = key.split('/').map(Number);
      return { region: region as Region, index };
    });
    const few = names.filter(
      ({ region, index }) =>
        region !== Region.inodes || index < headerRegister(12) || random.chance(0.02),
    );
    for (let i = 0; i < 70; i++) {
      const { region, index } = few[i % few.length];
      const bytes = good.peek(region, index).bytes.slice();
      const saved = bytes.slice();
      const size = registerBytes(region);
      const flips = 1 + random.below(4);
      for (let k = 0; k < flips; k++) {
        const near = random.chance(0.7) ? Math.min(size, 200) : size;
        bytes[random.below(near)] ^= 1 << random.below(8);
      }
      if (random.chance(0.1)) bytes.fill(random.below(256));
      const disk = good.open(50);
      const tag = () => ({ clock: sample.takeClocks(1), token: 50 });
      await disk.write([{ region, index, tag: tag(), bytes }]);
      try {
        const report = await check(sample, false);
        if (report.findings.length > 0) found++;
      } catch (error) {
        expect(isSextantError(error)).toBe(true);
        found++;
      }
      await disk.write([{ region, index, tag: tag(), bytes: saved }]);
    }
    expect(found).toBeGreaterThan(25);
    expect((await check(sample, false)).findings).toEqual([]);
  });

  it('come to an end with any damage, and leave only what is said to stay', async () => {
    const random = new SimRandom(SEED);
    let repaired = 0;
    for (let i = 0; i < RUNS; i++) {
      const sample = await Sample.make();
      const keys = [...sample.store.contents().keys()].filter((key) => key !== '0/0');
      const disk = sample.store.open(50);
      for (let k = random.below(3); k >= 0; k--) {
        const [region, index] = keys[random.below(keys.length)].split('/').map(Number);
        const name = { region: region as Region, index };
        const bytes = sample.store.peek(name.region, index).bytes.slice();
        for (let flips = random.below(6); flips >= 0; flips--) {
          bytes[random.below(Math.min(bytes.length, 300))] ^= 1 << random.below(8);
        }
        if (random.chance(0.15)) bytes.fill(0);
        await disk.write([{ ...name, tag: { clock: sample.takeClocks(1), token: 50 }, bytes }]);
      }
      const report = await check(sample, true);
      repaired += report.findings.filter((finding) => finding.repaired).length;
      const left = report.findings.filter((finding) => !finding.repaired);
      const again = await check(sample, true, 10);
      expect(again.findings.filter((finding) => finding.repaired)).toEqual([]);
      expect(again.findings.map(({ message }) => message).sort(byText)).toEqual(
        left.map(({ message }) => message).sort(byText),
      );
      const blocking = left.filter(({ kind }) => ROUND[kind] === 0);
      if (left.length > 0) expect(blocking.length, JSON.stringify(left)).toBeGreaterThan(0);
    }
    expect(repaired).toBeGreaterThan(5);
  });
});
