// Installs and builds what is missing or stale, so that `npm start` and `npm test` work on a fresh clone.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
process.chdir(root);

function run(command, args) {
  const result = spawnSync(command, args, { stdio: 'inherit' });
  if (result.status !== 0) {
    console.error(`sextant: \`${command} ${args.join(' ')}\` failed`);
    process.exit(result.status ?? 1);
  }
}

const lockHash = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex');
const lockStamp = 'node_modules/.sextant-lock';
if (!existsSync(lockStamp) || readFileSync(lockStamp, 'utf8') !== lockHash) {
  console.log('sextant: installing packages');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(lockStamp, lockHash);
}

function newestSource(folder) {
  let newest = 0;
  if (!existsSync(folder)) return newest;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) newest = Math.max(newest, newestSource(path));
    else if (path.endsWith('.ts')) newest = Math.max(newest, statSync(path).mtimeMs);
  }
  return newest;
}

const sources = [
  'core',
  'storage-nodes',
  'engine',
  'lockservice',
  'fs-frontend',
  'cli',
  'bench',
  'tests',
];
const buildStamp = 'dist/.built';
const newest = Math.max(...sources.map(newestSource), statSync('tsconfig.json').mtimeMs);
if (!existsSync(buildStamp) || statSync(buildStamp).mtimeMs < newest) {
  console.log('sextant: building');
  rmSync('dist', { recursive: true, force: true });
  run('npx', ['tsc', '-p', 'tsconfig.json']);
  mkdirSync('dist', { recursive: true });
  writeFileSync(buildStamp, '');
}
