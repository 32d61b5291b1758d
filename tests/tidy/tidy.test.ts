/**
 * House rules as a test over the source: who may import whom, and that time, randomness, disk and network are
 * reached only through core/world. Sizes of files and functions are held by the linter (`max-lines`, `max-lines-per-function`).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('../..', import.meta.url).pathname;
const FOLDERS = [
  'core',
  'storage-nodes',
  'engine',
  'lockservice',
  'fs-frontend',
  'cli',
  'bench',
  'tests',
];

/** Top-level folder -> what it may import besides itself. A trailing path narrows it. */
const MAY_IMPORT: Record<string, string[]> = {
  core: [],
  'storage-nodes': ['core'],
  lockservice: ['core'],
  engine: ['core', 'storage-nodes/protocol', 'lockservice/clerk'],
  'fs-frontend': ['core', 'storage-nodes/protocol', 'lockservice/clerk'],
  cli: ['core', 'storage-nodes', 'lockservice', 'engine', 'fs-frontend'],
  bench: ['core', 'storage-nodes', 'lockservice', 'engine', 'fs-frontend', 'cli', 'tests'],
  tests: ['core', 'storage-nodes', 'lockservice', 'engine', 'fs-frontend', 'cli', 'bench'],
};
/** Files that may cross a line, each for a reason. */
const CROSSINGS: Record<string, string[]> = {
  // An embedded database runs its six storage nodes itself.
  'engine/api': ['storage-nodes'],
  // A program names a cluster as the commands do.
  'fs-frontend/api/cluster-files.ts': ['cli/find-cluster.js'],
};
/** Drivers that may touch the outside directly. */
const DRIVERS = [
  'core/world/real/',
  'core/rpc/tcp.ts',
  'core/rpc/in-process.ts',
  'storage-nodes/server.ts',
  'lockservice/server.ts',
  'storage-nodes/coalesce/fold-worker.ts',
  'storage-nodes/coalesce/piscina-folder.ts',
  'engine/pgwire/server.ts',
  'engine/server.ts',
  'engine/api/',
  'fs-frontend/api/',
  // The kernel's device, its threads and processes, /proc.
  'fs-frontend/fuse/caller.ts',
  'fs-frontend/fuse/device.ts',
  'fs-frontend/fuse/kernel-view.ts',
  'fs-frontend/fuse/mount.ts',
  'fs-frontend/fuse/notifier.ts',
  'cli/',
  'bench/',
  'tests/',
];
const FORBIDDEN: [RegExp, string][] = [
  [/\bDate\.now\(|\bnew Date\(\)/, 'the time of day'],
  [/\bMath\.random\(/, 'Math.random'],
  [/\b(setTimeout|setInterval|setImmediate)\(/, 'a timer'],
  [/\bperformance\.now\(|\bhrtime\b/, 'a clock'],
  [
    /from '(node:)?(fs|net|dgram|child_process|worker_threads|fs\/promises)'/,
    'a node: module of the outside',
  ],
];

function sources(folder: string): string[] {
  let found: string[] = [];
  try {
    for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) found = found.concat(sources(path));
      else if (path.endsWith('.ts')) found.push(path);
    }
  } catch {
    return [];
  }
  return found;
}

function importsOf(path: string): string[] {
  const text = readFileSync(join(ROOT, path), 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'([#.][^']+)'/g)].map((match) => {
    const target = match[1] as string;
    return target.startsWith('#') ? target.slice(1) : normalize(join(dirname(path), target));
  });
}

const files = FOLDERS.flatMap(sources);
const product = files.filter((path) => !/\.(test|bench)\.ts$|test-helper/.test(path));

describe('tidy', () => {
  it('sees the source', () => {
    expect(product.length).toBeGreaterThan(20);
  });

  it('holds the import rules between top-level folders', () => {
    const offences: string[] = [];
    for (const path of product) {
      const home = path.split('/')[0] as string;
      const allowed = [home, ...(MAY_IMPORT[home] ?? [])];
      for (const [prefix, extra] of Object.entries(CROSSINGS))
        if (path.startsWith(prefix)) allowed.push(...extra);
      for (const target of importsOf(path)) {
        if (!allowed.some((folder) => target === folder || target.startsWith(`${folder}/`))) {
          offences.push(`${path} imports ${target}`);
        }
      }
    }
    expect(offences).toEqual([]);
  });

  it('reaches across folders by package imports, never by ../ over a top-level folder', () => {
    const offences = files.flatMap((path) =>
      [...readFileSync(join(ROOT, path), 'utf8').matchAll(/from '(\.\.?\/[^']+)'/g)]
        .map((match) => normalize(join(dirname(path), match[1] as string)))
        .filter((target) => target.split('/')[0] !== path.split('/')[0])
        .map((target) => `${path} -> ${target}`),
    );
    expect(offences).toEqual([]);
  });

  it('reaches time, randomness, disk and network only through core/world and the named drivers', () => {
    const offences: string[] = [];
    for (const path of product) {
      if (DRIVERS.some((driver) => path.startsWith(driver))) continue;
      readFileSync(join(ROOT, path), 'utf8')
        .split('\n')
        .forEach((line, index) => {
          if (/^\s*(\*|\/\/|\/\*)/.test(line)) return;
          for (const [pattern, what] of FORBIDDEN) {
            if (pattern.test(line)) offences.push(`${path}:${index + 1} uses ${what}`);
          }
        });
    }
    expect(offences).toEqual([]);
  });

  it('leaves nothing half done in words', () => {
    const offences = product.filter((path) =>
      /\b(TODO|FIXME|XXX|HACK)\b/.test(readFileSync(join(ROOT, path), 'utf8')),
    );
    expect(offences).toEqual([]);
  });
});
