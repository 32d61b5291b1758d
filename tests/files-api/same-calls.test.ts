/** Options, arguments good and bad, and everything of FileHandle: the same as `node:fs/promises`. */
import type { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { differences, Twins, type AnyFs, type Step } from './same-script.js';
import { KINDS } from './vfs-kinds.js';

type Open = Awaited<ReturnType<AnyFs['open']>>;
type Use = (handle: Open, fs: AnyFs, folder: string) => unknown;

/** Calls that the types forbid. */
const loose = (fs: AnyFs): Record<string, (...values: unknown[]) => Promise<unknown>> =>
  fs as unknown as Record<string, (...values: unknown[]) => Promise<unknown>>;
const looseHandle = (handle: Open): Record<string, (...values: unknown[]) => Promise<unknown>> =>
  handle as unknown as Record<string, (...values: unknown[]) => Promise<unknown>>;

const BAD_PATHS: unknown[] = [
  undefined,
  null,
  7,
  true,
  {},
  [],
  'a\0b',
  Buffer.from('a\0b'),
  new URL('http://x/y'),
  '',
  Symbol.iterator,
  () => 1,
];
const OF_PATH = [
  'access',
  'chmod',
  'copyFile',
  'lstat',
  'mkdir',
  'mkdtemp',
  'open',
  'opendir',
  'readdir',
  'readFile',
  'readlink',
  'realpath',
  'rm',
  'rmdir',
  'stat',
  'statfs',
  'unlink',
];

const READING: Record<string, Step> = {
  'readFile options': (fs, d) =>
    Promise.all([
      fs.readFile(`${d}/file`),
      fs.readFile(`${d}/file`, 'utf8'),
      fs.readFile(`${d}/file`, { encoding: 'hex' }),
      fs.readFile(`${d}/file`, { encoding: null, flag: 'r+' }),
      fs.readFile(`${d}/empty`),
      fs.readFile(`${d}/empty`, 'latin1'),
      fs.readFile(Buffer.from(`${d}/file`), 'base64'),
      fs.readFile(pathToFileURL(`${d}/file`), 'utf8'),
    ]),
  'readFile of a bad encoding': (fs, d) => fs.readFile(`${d}/file`, 'klingon' as 'utf8'),
  'readFile of a bad flag': (fs, d) => fs.readFile(`${d}/file`, { flag: 'q' }),
  'readFile with numbers for options': (fs, d) => loose(fs)['readFile']!(`${d}/file`, 7),
  'readFile write only': (fs, d) => fs.readFile(`${d}/file`, { flag: 'a' }),
  'readFile aborted': (fs, d) => fs.readFile(`${d}/file`, { signal: AbortSignal.abort() }),
  'readFile bad signal': (fs, d) => loose(fs)['readFile']!(`${d}/file`, { signal: 7 }),
  'readdir encodings': async (fs, d) => [
    await fs.readdir(d, 'buffer'),
    await fs.readdir(d, { encoding: 'hex' }),
    await fs.readdir(Buffer.from(d)),
    await fs.readdir(pathToFileURL(d)),
    await fs.readdir(`${d}/`, { withFileTypes: true }),
    await fs.readdir(Buffer.from(d), { withFileTypes: true, encoding: 'buffer' }),
  ],
  'readdir recursive': async (fs, d) => (await fs.readdir(d, { recursive: true })).sort(),
  'readdir recursive with types': async (fs, d) =>
    (await fs.readdir(d, { recursive: true, withFileTypes: true }))
      .map((entry) => `${entry.parentPath} ${entry.name} ${entry.isDirectory()}`)
      .sort(),
  'opendir recursive': async (fs, d) => {
    const found: string[] = [];
    for await (const entry of await fs.opendir(d, { recursive: true, bufferSize: 100 })) {
      found.push(`${entry.parentPath} ${entry.name} ${entry.isFile()}`);
    }
    return found.sort();
  },
  'opendir by hand': async (fs, d) => {
    const dir = await fs.opendir(d, { bufferSize: 2 });
    const entries = await Promise.all(Array.from({ length: 14 }, () => dir.read()));
    const names = entries.map((entry) => entry?.name ?? '(end)').sort();
    await dir.close();
    return [dir.path, names, await dir.close().catch((error: unknown) => error)];
  },
  'opendir read after close': async (fs, d) => {
    const dir = await fs.opendir(d);
    await dir.close();
    return dir.read();
  },
  'readlink encodings': async (fs, d) => [
    await fs.readlink(`${d}/link`),
    await fs.readlink(`${d}/link`, 'buffer'),
    await fs.readlink(`${d}/absolute`, { encoding: 'base64' }),
  ],
  'realpath encodings': async (fs, d) => [
    await fs.realpath(`${d}/dir/up`),
    await fs.realpath(`${d}/slink/sub/..//../dlink/inner`, 'buffer'),
    await fs.realpath('/'),
    await fs.realpath('/..'),
  ],
  'access modes': async (fs, d) => {
    const { F_OK, R_OK, W_OK, X_OK } = fs.constants;
    const modes = [F_OK, R_OK, W_OK, R_OK | W_OK, X_OK];
    return Promise.all(
      modes.map((mode) => fs.access(`${d}/file`, mode).catch((error: unknown) => error)),
    );
  },
  'stat keys': async (fs, d) => {
    const stats = await fs.stat(`${d}/file`);
    const big = await fs.stat(`${d}/file`, { bigint: true });
    const statistics = await fs.statfs(d);
    const keys = (value: object): string[] => Object.keys(value).sort();
    return {
      keys: [keys(stats), keys(big), keys(statistics)],
      types: Object.values(big).map((value) => typeof value),
      blksize: typeof stats.blksize,
      dates: [stats.mtime instanceof Date, big.birthtime instanceof Date],
      ms: Math.round(stats.mtimeMs) === stats.mtime.getTime(),
      ns: big.mtimeNs / 1_000_000n === big.mtimeMs,
      big: typeof (await fs.statfs(d, { bigint: true })).bsize,
    };
  },
  'keys of errors': async (fs, d) => {
    const error = await fs.copyFile(`${d}/none`, `${d}/new`).catch((thrown: unknown) => thrown);
    return [Object.keys(error as Error), error instanceof Error, String(error)];
  },
  lchmod: (fs, d) => fs.lchmod(`${d}/file`, 0o600),
  'name of abort': async (fs, d) => {
    const error = await fs
      .readFile(`${d}/file`, { signal: AbortSignal.abort('why') })
      .catch((thrown: Error) => thrown);
    return [(error as Error).name, (error as Error).cause];
  },
};

const CHANGING: Record<string, Step> = {
  'mkdir returns': async (fs, d) => [
    await fs.mkdir(`${d}/new`),
    await fs.mkdir(`${d}/p/q/r`, { recursive: true }),
    await fs.mkdir(`${d}/p/q/r`, { recursive: true }),
    await fs.mkdir(`${d}/p/s/`, { recursive: true, mode: '700' }),
    await fs.mkdir(`${d}/p//t//u//`, { recursive: true }),
    await fs.mkdir(`${d}/m`, 0o711),
    await fs.mkdir(`${d}/n`, '750'),
  ],
  'mkdir bad mode': (fs, d) => fs.mkdir(`${d}/x`, '9'),
  'mkdir negative mode': (fs, d) => fs.mkdir(`${d}/x`, { mode: -1 }),
  'mkdir bad recursive': (fs, d) => loose(fs)['mkdir']!(`${d}/x`, { recursive: 'yes' }),
  mkdtemp: async (fs, d) => {
    const path = await fs.mkdtemp(`${d}/tmp-`);
    const bytes = (await fs.mkdtemp(`${d}/tmp-`, 'buffer')) as unknown;
    const { mode } = await fs.stat(path);
    const shape = /^tmp-[A-Za-z0-9]{6}$/.test(path.slice(d.length + 1));
    await fs.rmdir(path);
    await fs.rmdir(bytes as Buffer);
    return [shape, mode, path.length, Buffer.isBuffer(bytes)];
  },
  'mkdtemp nowhere': async (fs, d) => {
    const error = await fs.mkdtemp(`${d}/none/tmp-`).catch((thrown: unknown) => thrown);
    const { code, path, message } = error as NodeJS.ErrnoException;
    return [code, path?.slice(0, -6), message.replace(/......'$/, '')];
  },
  'chmod kinds': async (fs, d) => {
    await fs.chmod(`${d}/file`, '600');
    await fs.chmod(`${d}/dir`, 0o1777);
    await fs.chmod(`${d}/empty`, 0o4755);
    return fs.chmod(`${d}/link`, 0o100);
  },
  'chmod bad': (fs, d) => fs.chmod(`${d}/file`, 'rwx'),
  'chmod fraction': (fs, d) => fs.chmod(`${d}/file`, 1.5),
  'chmod too large': (fs, d) => fs.chmod(`${d}/file`, 2 ** 33),
  'chmod missing mode': (fs, d) => loose(fs)['chmod']!(`${d}/file`),
  'chown bad': (fs, d) => fs.chown(`${d}/file`, -2, 1),
  'chown string': (fs, d) => loose(fs)['chown']!(`${d}/file`, 'root', 1),
  'chown group only': (fs, d) => fs.chown(`${d}/file`, -1, 77),
  'utimes kinds': async (fs, d) => {
    const times: unknown[] = [];
    const values = [0, 1.234567891, '12.5', new Date(1_234_567), 2 ** 31 + 0.5, 1e10];
    for (const value of values) {
      await fs.utimes(`${d}/file`, value, value);
      const { atimeMs, mtimeNs } = await fs.stat(`${d}/file`, { bigint: true });
      times.push(atimeMs, mtimeNs);
    }
    return times;
  },
  'utimes bad': (fs, d) => fs.utimes(`${d}/file`, 'noon', 1),
  'utimes not finite': (fs, d) => fs.utimes(`${d}/file`, Infinity, 1),
  'truncate lengths': async (fs, d) => {
    await fs.truncate(`${d}/file`, 20);
    await fs.truncate(`${d}/empty`);
    return fs.truncate(`${d}/dir/inner`, -5);
  },
  'truncate bad': (fs, d) => fs.truncate(`${d}/file`, 1.5),
  'truncate bad type': (fs, d) => loose(fs)['truncate']!(`${d}/file`, 'x'),
  'writeFile data': async (fs, d) => {
    await fs.writeFile(`${d}/a`, 'text');
    await fs.writeFile(`${d}/b`, 'ffee', 'hex');
    await fs.writeFile(`${d}/c`, Buffer.from('buffer'), { mode: 0o600 });
    await fs.writeFile(`${d}/e`, new Uint16Array([0x4142, 0x4344]));
    await fs.writeFile(`${d}/f`, new DataView(Uint8Array.of(0x76, 0x69).buffer));
    await fs.writeFile(`${d}/g`, ['one ', Buffer.from('two ') as unknown as string, 'three']);
    await fs.writeFile(`${d}/h`, Readable.from(['stream', 'ed']));
    await fs.writeFile(`${d}/i`, Readable.from(['flushed']), { flush: true } as object);
    await fs.writeFile(`${d}/file`, 'X', { flag: 'r+' });
    await fs.appendFile(`${d}/link`, Buffer.from('!'));
    await fs.appendFile(`${d}/j`, 'new', { mode: 0o640 });
    async function* letters(): AsyncGenerator<string> {
      for (const letter of 'abc') yield letter;
    }
    return fs.writeFile(`${d}/k`, letters(), { encoding: 'utf16le' });
  },
  'writeFile flags': async (fs, d) => {
    const results: unknown[] = [];
    for (const flag of [
      'wx',
      'ax',
      'w+',
      'a+',
      'r',
      'rs+',
      'sr',
      'xw+',
      'as',
      'sa+',
      'nope',
      0o102,
    ]) {
      results.push(
        await fs
          .writeFile(`${d}/file`, flag.toString(), { flag: flag as string })
          .catch((error: unknown) => error),
      );
    }
    return results;
  },
  'writeFile of a number': (fs, d) => loose(fs)['writeFile']!(`${d}/a`, 7),
  'writeFile of null': (fs, d) => loose(fs)['writeFile']!(`${d}/a`, null),
  'writeFile of an object': (fs, d) => loose(fs)['writeFile']!(`${d}/a`, { toString: () => 'x' }),
  'writeFile of chunks that are none': (fs, d) => loose(fs)['writeFile']!(`${d}/a`, [{}]),
  'writeFile bad flush': (fs, d) => loose(fs)['writeFile']!(`${d}/a`, 'x', { flush: 1 }),
  'writeFile aborted': (fs, d) => fs.writeFile(`${d}/a`, 'x', { signal: AbortSignal.abort() }),
  'writeFile aborted between': async (fs, d) => {
    const stop = new AbortController();
    async function* parts(): AsyncGenerator<string> {
      yield 'first';
      stop.abort();
      yield 'second';
    }
    return fs.writeFile(`${d}/a`, parts(), { signal: stop.signal });
  },
  'copyFile modes': async (fs, d) => {
    await fs.chmod(`${d}/file`, 0o640);
    await fs.copyFile(`${d}/file`, `${d}/copy`);
    await fs.copyFile(`${d}/file`, `${d}/empty`, fs.constants.COPYFILE_FICLONE);
    await fs.copyFile(`${d}/file`, `${d}/file`);
    return fs.copyFile(`${d}/file`, `${d}/copy`, fs.constants.COPYFILE_EXCL);
  },
  'rm options': async (fs, d) => {
    await fs.rm(`${d}/none`, { force: true });
    await fs.rm(`${d}/dlink`, { recursive: true });
    await fs.rm(`${d}/dir`, { recursive: true, force: true, maxRetries: 3, retryDelay: 1 });
    return fs.rm(`${d}/void`);
  },
  'rm bad options': (fs, d) => loose(fs)['rm']!(`${d}/file`, { recursive: 1 }),
  'rm bad retries': (fs, d) => loose(fs)['rm']!(`${d}/file`, { maxRetries: -1 }),
  'rm options of a string': (fs, d) => loose(fs)['rm']!(`${d}/file`, 'force'),
  'rm a tree by a slash': (fs, d) => fs.rm(`${d}/dir/`, { recursive: true }),
  'cp tree': async (fs, d) => {
    await fs.chmod(`${d}/dir/inner`, 0o600);
    await fs.cp(d, `${d}-copy`, { recursive: true });
    const listed = await fs.readdir(`${d}-copy`, { recursive: true });
    const links = await fs.readlink(`${d}-copy/link`);
    await fs.rm(`${d}-copy`, { recursive: true });
    return [listed.sort(), links];
  },
  'cp verbatim': async (fs, d) => {
    await fs.cp(`${d}/link`, `${d}/made/deep/link`, { verbatimSymlinks: true });
    await fs.cp(`${d}/link`, `${d}/made/deep/other`);
    return fs.cp(`${d}/link`, `${d}/made/deep/content`, { dereference: true });
  },
  'cp filter': (fs, d) =>
    fs.cp(`${d}/dir`, `${d}/copy`, {
      recursive: true,
      filter: async (from) => !from.endsWith('sub'),
    }),
  'cp preserves': async (fs, d) => {
    await fs.utimes(`${d}/file`, 100, 200);
    await fs.chmod(`${d}/file`, 0o400);
    await fs.cp(`${d}/file`, `${d}/copy`, { preserveTimestamps: true });
    const { mtimeMs, mode } = await fs.stat(`${d}/copy`);
    return [mtimeMs, mode];
  },
  'cp error on exist': (fs, d) =>
    fs.cp(`${d}/file`, `${d}/empty`, { force: false, errorOnExist: true }),
  'cp without force': (fs, d) => fs.cp(`${d}/file`, `${d}/empty`, { force: false }),
  'cp onto itself': (fs, d) => fs.cp(`${d}/file`, `${d}/file`),
  'cp into itself': (fs, d) => fs.cp(`${d}/dir`, `${d}/dir/sub/x`, { recursive: true }),
  'cp into itself by a link': (fs, d) => fs.cp(`${d}/dir`, `${d}/dlink/x`, { recursive: true }),
  'cp directory plain': (fs, d) => fs.cp(`${d}/dir`, `${d}/x`),
  'cp file on directory': (fs, d) => fs.cp(`${d}/file`, `${d}/dir`),
  'cp directory on file': (fs, d) => fs.cp(`${d}/dir`, `${d}/file`, { recursive: true }),
  'cp link on link': (fs, d) => fs.cp(`${d}/link`, `${d}/dlink`),
  'cp link on file': (fs, d) => fs.cp(`${d}/link`, `${d}/empty`),
  'cp bad options': (fs, d) => loose(fs)['cp']!(`${d}/file`, `${d}/x`, { recursive: 'y' }),
  'cp bad filter': (fs, d) => loose(fs)['cp']!(`${d}/file`, `${d}/x`, { filter: 'y' }),
  'cp contradiction': (fs, d) =>
    fs.cp(`${d}/file`, `${d}/x`, { dereference: true, verbatimSymlinks: true }),
  'cp bad source': (fs, d) => loose(fs)['cp']!(7, `${d}/x`),
  'rename bad target': (fs, d) => loose(fs)['rename']!(`${d}/file`, null),
  'link bad source': (fs, d) => loose(fs)['link']!(undefined, `${d}/x`),
  'symlink empty': (fs, d) => fs.symlink('', `${d}/x`),
  'symlink of bytes': (fs, d) => fs.symlink(Buffer.from([0xff, 0xfe]), Buffer.from(`${d}/x`)),
  'names of bytes': async (fs, d) => {
    const path = Buffer.concat([Buffer.from(`${d}/void/`), Buffer.from([0xff, 0x41])]);
    await fs.writeFile(path, 'odd');
    const names = await fs.readdir(`${d}/void`, 'buffer');
    await fs.unlink(path);
    return names;
  },
  'forty links': async (fs, d) => {
    await fs.symlink('file', `${d}/l1`);
    for (let i = 2; i <= 41; i++) await fs.symlink(`l${i - 1}`, `${d}/l${i}`);
    const ends = [await fs.readFile(`${d}/l40`, 'utf8')];
    return [ends, await fs.readFile(`${d}/l41`).catch((error: unknown) => error)];
  },
  'rmdir recursive of a file': (fs, d) => fs.rmdir(`${d}/file`, { recursive: false }),
};

function handled(flags: string, use: Use, name = 'file'): Step {
  return async (fs, d) => {
    const handle = await fs.open(`${d}/${name}`, flags);
    try {
      return await use(handle, fs, d);
    } finally {
      await handle.close();
    }
  };
}

const HANDLES: Record<string, Step> = {
  'read in all forms': handled('r', async (h) => [
    await h.read(Buffer.alloc(4)),
    await h.read(Buffer.alloc(4), 1, 2),
    await h.read(Buffer.alloc(4), 0, 4, 0),
    await h.read(Buffer.alloc(4), { offset: 2, position: 6 }),
    await h.read({ buffer: Buffer.alloc(3), position: 8 }),
    (await h.read()).bytesRead,
    (await h.read()).bytesRead,
    await h.read(Buffer.alloc(2), 0, 0),
    await h.read(Buffer.alloc(2), null, null, null),
    await h.read(new Uint16Array(2), 0, 4, 0),
  ]),
  'read bad offset': handled('r', (h) => h.read(Buffer.alloc(4), -1)),
  'read bad length': handled('r', (h) => h.read(Buffer.alloc(4), 0, 5)),
  'read negative length': handled('r', (h) => h.read(Buffer.alloc(4), 0, -1)),
  'read fraction': handled('r', (h) => h.read(Buffer.alloc(4), 0.5)),
  'read empty buffer': handled('r', (h) => h.read(Buffer.alloc(0))),
  'read into a string': handled('r', (h) => looseHandle(h)['read']!('text')),
  'read into a number': handled('r', (h) => looseHandle(h)['read']!({ buffer: 7 })),
  'read write only': handled('a', (h) => h.read(Buffer.alloc(1))),
  'read a directory': handled('r', (h) => h.read(Buffer.alloc(1)), 'dir'),
  'stat a directory': handled('r', async (h) => [await h.stat(), await h.sync()], 'dir'),
  'chmod a directory': handled('r', async (h) => [await h.chmod(0o711), await h.stat()], 'dir'),
  'truncate a directory': handled('r', (h) => h.truncate(), 'dir'),
  'write a directory': handled('r', (h) => h.write('x'), 'dir'),
  'readFile a directory': handled('r', (h) => h.readFile(), 'dir'),
  readv: handled('r', async (h) => [
    await h.readv([Buffer.alloc(3), Buffer.alloc(4)]),
    await h.readv([Buffer.alloc(3), Buffer.alloc(40)]),
    await h.readv([Buffer.alloc(2)], 1),
  ]),
  'readv bad': handled('r', (h) => looseHandle(h)['readv']!('x')),
  'readv bad one': handled('r', (h) => looseHandle(h)['readv']!([1])),
  'write in all forms': handled('r+', async (h) => [
    await h.write('AB'),
    await h.write(Buffer.from('CD')),
    await h.write(Buffer.from('xEFx'), 1, 2),
    await h.write(Buffer.from('12345'), 0, 3, 20),
    await looseHandle(h)['write']!(Buffer.from('678'), { offset: 1, position: 30 }),
    await h.write('é', 40, 'latin1'),
    await h.write('ff', null, 'hex'),
    await h.write(Buffer.alloc(0)),
    await h.write(''),
    await h.write(new Uint16Array([0x4141, 0x4242]), 0, 4, 50),
    await h.write(Buffer.from('z'), null, null, null),
    (await h.stat()).size,
    await h.readFile('latin1'),
  ]),
  'write bad offset': handled('r+', (h) => h.write(Buffer.alloc(4), 5)),
  'write bad length': handled('r+', (h) => h.write(Buffer.alloc(4), 0, 5)),
  'write negative length': handled('r+', (h) => h.write(Buffer.alloc(4), 0, -1)),
  'write a number': handled('r+', (h) => looseHandle(h)['write']!(7)),
  'write null': handled('r+', (h) => looseHandle(h)['write']!(null)),
  'write odd hex': handled('r+', (h) => h.write('abc', 0, 'hex')),
  'write read only': handled('r', (h) => h.write('x')),
  writev: handled('r+', async (h) => [
    await h.writev([Buffer.from('a'), Buffer.from('bc')]),
    await h.writev([Buffer.from('de')], 30),
    await h.writev([]),
    await h.readFile('latin1'),
  ]),
  'append ignores the position': handled('a+', async (h) => [
    await h.write('end', 0),
    await h.write(Buffer.from('END'), 0, 3, 2),
    await h.read(Buffer.alloc(5), 0, 5, 0),
    await h.readFile('utf8'),
  ]),
  'readFile goes on': handled('r', async (h) => [
    await h.read(Buffer.alloc(6)),
    await h.readFile({ encoding: 'utf8' }),
    await h.readFile(),
  ]),
  'writeFile goes on': handled('r+', async (h) => {
    await h.write('12');
    await h.writeFile('34');
    await h.appendFile(Buffer.from('56'));
    await looseHandle(h)['writeFile']!(['7', '8']);
    return (await h.stat()).size;
  }),
  'writeFile read only': handled('r', (h) => h.writeFile('x')),
  'fs functions of a handle': handled('r+', async (h, fs) => [
    await fs.writeFile(h, 'HELLO'),
    await fs.readFile(h, 'utf8'),
    await fs.appendFile(h, '!'),
  ]),
  'attributes of a handle': handled('r+', async (h, fs, d) => {
    await h.chmod('640');
    await h.chown(5, 6);
    await h.utimes(10, new Date(20_500));
    const big = await h.stat({ bigint: true });
    return [await fs.stat(`${d}/file`), big.mtimeMs, big.atimeNs, big.size];
  }),
  'chmod bad': handled('r', (h) => h.chmod('x')),
  'chown bad': handled('r', (h) => looseHandle(h)['chown']!(1)),
  'utimes bad': handled('r', (h) => looseHandle(h)['utimes']!('x', {})),
  'truncate handle': handled('r+', async (h) => [
    await h.truncate(4),
    await h.readFile('utf8'),
    await h.truncate(6),
    await h.read(Buffer.alloc(9), 0, 9, 0),
    await h.truncate(),
    (await h.stat()).size,
  ]),
  'truncate read only': handled('r', (h) => h.truncate(1)),
  'sync and datasync': handled('r+', async (h) => [await h.sync(), await h.datasync()]),
  'read of an unlinked file': handled('r+', async (h, fs, d) => {
    await fs.unlink(`${d}/file`);
    await h.write(' more', 20);
    return [await h.readFile('utf8'), await h.stat()];
  }),
  'after close': async (fs, d) => {
    const h = await fs.open(`${d}/file`);
    const kinds = [typeof h.fd, h.fd > 2];
    let told = 0;
    (h as unknown as EventEmitter).on('close', () => told++);
    await h.close();
    await h.close();
    const calls = [
      h.read(Buffer.alloc(1)),
      h.readv([Buffer.alloc(1)]),
      h.readFile(),
      h.write('x'),
      h.writev([Buffer.from('x')]),
      h.writeFile('x'),
      h.appendFile('x'),
      h.stat(),
      h.chmod(0o600),
      h.chown(1, 1),
      h.utimes(1, 1),
      h.truncate(),
      h.sync(),
      h.datasync(),
    ];
    return [
      kinds,
      h.fd,
      told,
      await Promise.all(calls.map((call) => call.catch((error: unknown) => error))),
    ];
  },
  'web stream of a closed one': async (fs, d) => {
    const h = await fs.open(`${d}/file`);
    await h.close();
    return h.readableWebStream();
  },
  'web stream twice': handled('r', (h) => {
    h.readableWebStream();
    return h.readableWebStream();
  }),
  'web stream of bytes': handled('r', async (h) => {
    const parts: unknown[] = [];
    for await (const part of h.readableWebStream({ type: 'bytes' }))
      parts.push(Buffer.from(part as Uint8Array));
    return parts;
  }),
  lines: async (fs, d) => {
    await fs.writeFile(`${d}/file`, 'one\ntwo\r\nthree');
    const h = await fs.open(`${d}/file`);
    const lines: string[] = [];
    for await (const line of h.readLines()) lines.push(line);
    return [lines, h.fd];
  },
  'closing lets what runs finish': async (fs, d) => {
    const h = await fs.open(`${d}/file`);
    const reads = [1, 2, 3].map(() => h.read(Buffer.alloc(3)));
    await h.close();
    return (await Promise.all(reads)).map(({ bytesRead }) => bytesRead);
  },
};

async function collected(stream: AsyncIterable<unknown>): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

function written(
  stream: ReturnType<AnyFs['createWriteStream']>,
  ...chunks: string[]
): Promise<unknown> {
  return new Promise((resolve) => {
    const seen: string[] = [];
    for (const event of ['open', 'ready', 'finish', 'error', 'close']) {
      stream.on(event, (value: unknown) => {
        seen.push(event === 'error' ? String(value) : event);
        if (event === 'close') resolve([seen, stream.bytesWritten, stream.path]);
      });
    }
    for (const chunk of chunks) stream.write(chunk);
    stream.end();
  });
}

const STREAMS: Record<string, Step> = {
  'read stream': (fs, d) => collected(fs.createReadStream(`${d}/file`)),
  'read stream of a part': (fs, d) =>
    collected(fs.createReadStream(`${d}/file`, { start: 2, end: 6, highWaterMark: 2 })),
  'read stream with encoding': (fs, d) => collected(fs.createReadStream(`${d}/link`, 'hex')),
  'read stream of nothing': (fs, d) => collected(fs.createReadStream(`${d}/none`)),
  'read stream of a directory': (fs, d) => collected(fs.createReadStream(`${d}/dir`)),
  'read stream bad range': (fs, d) =>
    collected(fs.createReadStream(`${d}/file`, { start: 5, end: 1 })),
  'read stream bad path': (fs) => collected(fs.createReadStream(7 as unknown as string)),
  'read stream of a handle': async (fs, d) => {
    const h = await fs.open(`${d}/file`);
    const text = await collected(h.createReadStream({ start: 6 }));
    return [text, h.fd];
  },
  'read stream that leaves the handle': async (fs, d) => {
    const h = await fs.open(`${d}/file`);
    const text = await collected(h.createReadStream({ autoClose: false }));
    const open = h.fd > 0;
    await h.close();
    return [text, open];
  },
  'read stream with a handle as fd': async (fs, d) => {
    const h = await fs.open(`${d}/file`);
    return [await collected(fs.createReadStream('', { fd: h as never })), h.fd];
  },
  'write stream': (fs, d) =>
    written(fs.createWriteStream(`${d}/new`, { mode: 0o600 }), 'a', 'b', 'c'),
  'write stream from a start': (fs, d) =>
    written(fs.createWriteStream(`${d}/file`, { flags: 'r+', start: 3 }), 'XYZ'),
  'write stream that appends': (fs, d) =>
    written(fs.createWriteStream(`${d}/file`, { flags: 'a' }), '!'),
  'write stream that flushes': (fs, d) =>
    written(fs.createWriteStream(`${d}/file`, { flush: true } as object), 'x'),
  'write stream to nowhere': (fs, d) => written(fs.createWriteStream(`${d}/none/x`), 'x'),
  'write stream of a handle': async (fs, d) => {
    const h = await fs.open(`${d}/file`, 'w');
    return [await written(h.createWriteStream({ encoding: 'latin1' }), 'é', 'x'), h.fd];
  },
};

describe.each(Object.keys(KINDS))('the same as node:fs/promises on %s', (kind) => {
  let twins: Twins;
  let stop: (() => Promise<void>) | undefined;
  beforeAll(async () => {
    const made = await KINDS[kind]!();
    twins = new Twins(made.vfs);
    stop = made.stop;
    await twins.start();
  });
  afterAll(async () => {
    await twins.stop();
    await stop?.();
  });
  it('for paths that are none', async () => {
    const steps = OF_PATH.flatMap((name) =>
      BAD_PATHS.filter((path) => name !== 'mkdtemp' || path !== '').map(
        (path) =>
          [
            `${name} ${String(path)}`,
            (fs: AnyFs) =>
              loose(fs)[name]!(
                path,
                name === 'copyFile' ? '/x' : name === 'chmod' ? 0o600 : undefined,
              ),
          ] as const,
      ),
    );
    expect(await differences(twins, steps, () => 'look')).toEqual([]);
  });
  it('when it reads', async () => {
    expect(await differences(twins, Object.entries(READING), () => 'look')).toEqual([]);
  });
  it('when it changes something', async () => {
    expect(await differences(twins, Object.entries(CHANGING), () => 'run')).toEqual([]);
  });
  it('with handles', async () => {
    expect(await differences(twins, Object.entries(HANDLES), () => 'run')).toEqual([]);
  });
  it('with streams', async () => {
    expect(await differences(twins, Object.entries(STREAMS), () => 'run')).toEqual([]);
  });
});
