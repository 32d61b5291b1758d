/** Every function of one or two paths, on every kind of path: the same as `node:fs/promises`. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { differences, Twins, type AnyFs } from './same-script.js';
import { FILE_SERVER, KINDS } from './vfs-kinds.js';

const LONG = 'n'.repeat(256);
const PATHS = [
  'file',
  'file/',
  'file/.',
  'file/x',
  'dir',
  'dir/',
  'dir/.',
  'dir/..',
  'dir/sub/../inner',
  'dir//inner',
  './dir/./inner',
  'void',
  'void/',
  'link',
  'link/',
  'dlink',
  'dlink/',
  'dlink/inner',
  'dlink/..',
  'dlink/../file',
  'slink',
  'slink/inner',
  'flink',
  'dangling',
  'dangling/',
  'dangling/x',
  'loop',
  'loop/x',
  'absolute',
  'dir/up',
  'missing',
  'missing/',
  'missing/x',
  'missing/..',
  LONG,
  `${LONG}/x`,
  'n'.repeat(255),
  'x/'.repeat(2100),
  'déjà vu',
];

const ONE: Record<string, (fs: AnyFs, path: string) => unknown> = {
  access: (fs, path) => fs.access(path),
  chmod: (fs, path) => fs.chmod(path, 0o640),
  chown: (fs, path) => fs.chown(path, 12, 34),
  lchown: (fs, path) => fs.lchown(path, 12, -1),
  lstat: (fs, path) => fs.lstat(path),
  mkdir: (fs, path) => fs.mkdir(path),
  'mkdir recursive': (fs, path) => fs.mkdir(path, { recursive: true }),
  'open r': async (fs, path) => (await fs.open(path, 'r')).close(),
  'open r+': async (fs, path) => (await fs.open(path, 'r+')).close(),
  'open w': async (fs, path) => (await fs.open(path, 'w', 0o600)).close(),
  'open wx': async (fs, path) => (await fs.open(path, 'wx')).close(),
  'open a+': async (fs, path) => (await fs.open(path, 'a+')).close(),
  'open nofollow': async (fs, path) =>
    (await fs.open(path, fs.constants.O_NOFOLLOW | fs.constants.O_RDONLY)).close(),
  'open directory': async (fs, path) =>
    (await fs.open(path, fs.constants.O_DIRECTORY | fs.constants.O_RDONLY)).close(),
  opendir: async (fs, path) => {
    const names: unknown[] = [];
    for await (const entry of await fs.opendir(path)) names.push(entry);
    return names.map((entry) => (entry as { name: string }).name).sort();
  },
  readdir: (fs, path) => fs.readdir(path),
  'readdir with types': (fs, path) => fs.readdir(path, { withFileTypes: true }),
  readFile: (fs, path) => fs.readFile(path, 'utf8'),
  readlink: (fs, path) => fs.readlink(path),
  realpath: (fs, path) => fs.realpath(path),
  rm: (fs, path) => fs.rm(path),
  'rm force': (fs, path) => fs.rm(path, { force: true }),
  rmdir: (fs, path) => fs.rmdir(path),
  stat: (fs, path) => fs.stat(path),
  truncate: (fs, path) => fs.truncate(path, 3),
  unlink: (fs, path) => fs.unlink(path),
  utimes: async (fs, path) => {
    await fs.utimes(path, 1.5, new Date(2_500_000));
    const { atimeMs, mtime, mtimeNs } = await fs.stat(path, { bigint: true });
    return [atimeMs, mtime.getTime(), mtimeNs];
  },
  lutimes: async (fs, path) => {
    await fs.lutimes(path, 1.5, 2.25);
    const { atimeMs, mtimeMs } = await fs.lstat(path);
    return [atimeMs, mtimeMs];
  },
  writeFile: (fs, path) => fs.writeFile(path, 'new'),
  appendFile: (fs, path) => fs.appendFile(path, ' more'),
};

const FROM = ['file', 'file/', 'dir', 'dlink', 'dlink/', 'dangling', 'missing', 'dir/.'];
const TO = [
  'new',
  'new/',
  'file',
  'empty/',
  'dir',
  'void/',
  'dir/sub/deep',
  'link',
  'dangling',
  'dlink/new',
  'loop',
  'file/x',
  'dir/..',
];
const TWO: Record<string, (fs: AnyFs, from: string, to: string) => unknown> = {
  rename: (fs, from, to) => fs.rename(from, to),
  link: (fs, from, to) => fs.link(from, to),
  symlink: (fs, from, to) => fs.symlink(from, to),
  copyFile: (fs, from, to) => fs.copyFile(from, to),
  'copyFile exclusive': (fs, from, to) => fs.copyFile(from, to, fs.constants.COPYFILE_EXCL),
  cp: (fs, from, to) => fs.cp(from, to),
  'cp recursive': (fs, from, to) => fs.cp(from, to, { recursive: true }),
};

/** Those that leave the tree as it was, and need none of their own. */
const LOOKS = /^(access|lstat|open r$|open nofollow|open directory|opendir|read|realpath|stat)/;

/** libuv's copyFile of a directory takes the target away that it could not fill; here the target stays. */
function how(name: string, label: string): 'run' | 'result' {
  return name.startsWith('copyFile') && /^(dir|dlink)/.test(label) ? 'result' : 'run';
}

describe('the same as node:fs/promises on a file server', () => {
  let twins: Twins;
  let stop: (() => Promise<void>) | undefined;
  beforeAll(async () => {
    const made = await KINDS[FILE_SERVER]!();
    twins = new Twins(made.vfs);
    stop = made.stop;
    await twins.start();
  });
  afterAll(async () => {
    await twins.stop();
    await stop?.();
  });
  for (const [name, work] of Object.entries(ONE)) {
    it(`${name} of any path`, async () => {
      // realpath of the C library works name by name and never sees how long a path is.
      const paths = name === 'realpath' ? PATHS.filter((path) => path.length < 4096) : PATHS;
      const steps = paths.map(
        (path) => [path, (fs: AnyFs, folder: string) => work(fs, `${folder}/${path}`)] as const,
      );
      expect(await differences(twins, steps, () => (LOOKS.test(name) ? 'look' : 'run'))).toEqual(
        [],
      );
    });
  }
  for (const [name, work] of Object.entries(TWO)) {
    it(`${name} of any two paths`, async () => {
      const steps = FROM.flatMap((from) =>
        TO.map(
          (to) =>
            [
              `${from} ${to}`,
              (fs: AnyFs, folder: string) => work(fs, `${folder}/${from}`, `${folder}/${to}`),
            ] as const,
        ),
      );
      // cp looks at both at once: which error comes first is up to the thread pool.
      const fails = (path: string | undefined): boolean =>
        /\/$|^file\/|^flink\/|^loop/.test(path ?? '');
      const sure = steps.filter(([label]) => {
        const [from, to] = label.split(' ');
        return !(name.startsWith('cp') && fails(from) && fails(to));
      });
      expect(await differences(twins, sure, (label) => how(name, label))).toEqual([]);
    });
  }
});
