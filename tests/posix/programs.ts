/** Real programs on a directory: git, tar, rsync, SQLite written through two paths in turn, npm ci. */
import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface ProgramReport {
  /** Names of what ran well. */
  readonly passed: readonly string[];
  readonly failures: readonly string[];
  /** Name and reason. */
  readonly skipped: readonly string[];
}

interface Program {
  readonly name: string;
  readonly tools: readonly string[];
  run(first: string, second: string): Promise<void>;
}

/** Never blocks this process, in which the mount's server may run. */
async function execute(command: string, args: readonly string[], cwd: string): Promise<string> {
  const env = {
    ...process.env,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@example.org',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@example.org',
  };
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (out += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${out.slice(-800)}`);
  return out;
}

async function hasTool(name: string): Promise<boolean> {
  return execute(name, ['--version'], '/').then(
    () => true,
    () => false,
  );
}

async function makeTree(root: string): Promise<void> {
  for (let d = 0; d < 5; d++) {
    const directory = join(root, `directory-${d}`, 'deep');
    await mkdir(directory, { recursive: true });
    for (let f = 0; f < 8; f++) {
      await writeFile(join(directory, `file-${f}.txt`), `${d} ${f}\n`.repeat(1 + f * f * 50));
    }
  }
}

const SQLITE = `
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30)
connection.execute('create table if not exists t (id integer primary key, who text)')
for i in range(5):
    connection.execute('insert into t (who) values (?)', (sys.argv[2],))
    connection.commit()
assert connection.execute('pragma integrity_check').fetchone()[0] == 'ok'
print(connection.execute('select count(*) from t').fetchone()[0])
`;

const PROGRAMS: readonly Program[] = [
  {
    name: 'git',
    tools: ['git'],
    run: async (first, second) => {
      const origin = join(first, 'origin');
      await makeTree(origin);
      await execute('git', ['init', '-q', '-b', 'main'], origin);
      for (let commit = 0; commit < 3; commit++) {
        await writeFile(join(origin, 'changing.txt'), `commit ${commit}\n`);
        await execute('git', ['add', '-A'], origin);
        await execute('git', ['commit', '-qm', `commit ${commit}`], origin);
      }
      await execute('git', ['gc', '-q'], origin);
      const clone = join(second, 'clone');
      await execute('git', ['clone', '-q', '--no-local', join(second, 'origin'), clone], second);
      await execute('git', ['fsck', '--full', '--strict'], clone);
      const status = await execute('git', ['status', '--porcelain'], join(first, 'clone'));
      if (status !== '') throw new Error(`git status of the clone: ${status}`);
    },
  },
  {
    name: 'tar',
    tools: ['tar', 'diff'],
    run: async (first, second) => {
      await makeTree(join(first, 'tree'));
      await execute('tar', ['-cf', 'tree.tar', 'tree'], first);
      await mkdir(join(second, 'unpacked'));
      await execute('tar', ['-xf', '../tree.tar'], join(second, 'unpacked'));
      await execute('diff', ['-r', 'tree', 'unpacked/tree'], first);
    },
  },
  {
    name: 'rsync',
    tools: ['rsync', 'diff'],
    run: async (first, second) => {
      await makeTree(join(first, 'tree'));
      await execute('rsync', ['-a', 'tree/', 'copy/'], second);
      await writeFile(join(first, 'tree', 'directory-1', 'new.txt'), 'new');
      await rm(join(first, 'tree', 'directory-2'), { recursive: true });
      await execute('rsync', ['-a', '--delete', '--inplace', 'tree/', 'copy/'], second);
      await execute('diff', ['-r', 'tree', 'copy'], first);
      const again = await execute('rsync', ['-ai', '--delete', 'tree/', 'copy/'], first);
      if (again !== '') throw new Error(`rsync found differences again: ${again}`);
    },
  },
  {
    name: 'sqlite',
    tools: ['python3'],
    run: async (first, second) => {
      for (let round = 0; round < 6; round++) {
        const directory = round % 2 === 0 ? first : second;
        const out = await execute(
          'python3',
          ['-c', SQLITE, 'turns.db', `round ${round}`],
          directory,
        );
        if (Number(out.trim()) !== (round + 1) * 5)
          throw new Error(`round ${round} sees ${out.trim()} rows`);
      }
      await Promise.all(
        [first, second].map((directory) =>
          execute('python3', ['-c', SQLITE, 'turns.db', 'both'], directory),
        ),
      );
      const out = await execute('python3', ['-c', SQLITE, 'turns.db', 'last'], first);
      if (Number(out.trim()) !== 45) throw new Error(`${out.trim()} rows at the end instead of 45`);
    },
  },
  {
    name: 'npm ci',
    tools: ['npm'],
    run: async (first) => {
      const app = join(first, 'app');
      await mkdir(join(app, 'local'), { recursive: true });
      await writeFile(
        join(app, 'local', 'package.json'),
        JSON.stringify({ name: 'local', version: '1.0.0', main: 'index.js', bin: 'index.js' }),
      );
      await writeFile(
        join(app, 'local', 'index.js'),
        '#!/usr/bin/env node\nmodule.exports = 42;\n',
      );
      await writeFile(
        join(app, 'package.json'),
        JSON.stringify({ name: 'app', version: '1.0.0', dependencies: { local: 'file:local' } }),
      );
      const quiet = ['--offline', '--no-audit', '--no-fund', '--silent'];
      await execute('npm', ['install', ...quiet], app);
      await rm(join(app, 'node_modules'), { recursive: true });
      await execute('npm', ['ci', ...quiet], app);
      await execute('node', ['-e', "if (require('local') !== 42) process.exit(1)"], app);
    },
  },
];

/** `first` and `second`: two paths to the same directory (two mounts), or one path twice. */
export async function runPrograms(
  first: string,
  second: string,
  only?: RegExp,
): Promise<ProgramReport> {
  const passed: string[] = [];
  const failures: string[] = [];
  const skipped: string[] = [];
  for (const program of PROGRAMS) {
    if (only !== undefined && !only.test(program.name)) continue;
    let missing: string | undefined;
    for (const tool of program.tools) if (!(await hasTool(tool))) missing ??= tool;
    if (missing !== undefined) {
      skipped.push(`${program.name}: ${missing} is not installed`);
      continue;
    }
    const folder = `program-${program.name.replace(' ', '-')}`;
    try {
      await mkdir(join(first, folder));
      await program.run(join(first, folder), join(second, folder));
      passed.push(program.name);
      await rm(join(first, folder), { recursive: true });
    } catch (error) {
      failures.push(`${program.name}: ${String(error)}`);
    }
  }
  return { passed, failures, skipped };
}
