/** isomorphic-git with the files API as its `fs`: a repository is made, branched, merged and read back. */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import git from 'isomorphic-git';
import { describe, expect, it } from 'vitest';
import { filesOf, type SextantFs } from '#fs-frontend/api/index.js';
import { KINDS } from './vfs-kinds.js';

let timestamp = 1_700_000_000;
const author = (): object => ({
  name: 'Ada',
  email: 'ada@example.org',
  timestamp: ++timestamp,
  timezoneOffset: 0,
});

/** A tree of the API, written to a real directory. */
async function download(fs: SextantFs, from: string, to: string): Promise<void> {
  await mkdir(to);
  for (const entry of await fs.readdir(from, { withFileTypes: true })) {
    const [source, target] = [`${from}/${entry.name}`, join(to, entry.name)];
    if (entry.isDirectory()) await download(fs, source, target);
    else if (entry.isSymbolicLink()) await symlink(await fs.readlink(source), target);
    else await writeFile(target, await fs.readFile(source), { mode: (await fs.stat(source)).mode });
  }
}

describe.each(Object.keys(KINDS))('isomorphic-git on %s', (kind) => {
  it('inits, commits, branches, checks out, merges and logs', async () => {
    const { vfs, stop } = await KINDS[kind]!();
    const fs = filesOf(vfs);
    const dir = '/project';
    const commit = async (message: string): Promise<string> =>
      await git.commit({ fs, dir, message, author: author() });

    await fs.mkdir(dir);
    await git.init({ fs, dir, defaultBranch: 'main' });
    await fs.mkdir(`${dir}/src/deep`, { recursive: true });
    await fs.writeFile(`${dir}/README.md`, '# one\n');
    await fs.writeFile(`${dir}/src/deep/code.js`, 'run();\n', { mode: 0o755 });
    await fs.symlink('README.md', `${dir}/LINK`);
    expect(await git.status({ fs, dir, filepath: 'README.md' })).toBe('*added');
    await git.add({ fs, dir, filepath: ['README.md', 'src', 'LINK'] });
    const first = await commit('first');

    await git.branch({ fs, dir, ref: 'side', checkout: true });
    await fs.writeFile(`${dir}/src/deep/code.js`, 'run();\nwalk();\n');
    await fs.rm(`${dir}/LINK`);
    await git.remove({ fs, dir, filepath: 'LINK' });
    await git.add({ fs, dir, filepath: 'src/deep/code.js' });
    const second = await commit('second');

    await git.checkout({ fs, dir, ref: 'main' });
    expect(await fs.readFile(`${dir}/src/deep/code.js`, 'utf8')).toBe('run();\n');
    expect(await fs.readlink(`${dir}/LINK`)).toBe('README.md');
    expect((await fs.stat(`${dir}/src/deep/code.js`)).mode & 0o777).toBe(0o755);
    await fs.writeFile(`${dir}/NEW`, 'new');
    await git.add({ fs, dir, filepath: 'NEW' });
    await commit('third');

    await git.merge({ fs, dir, ours: 'main', theirs: 'side', author: author() });
    await git.checkout({ fs, dir, ref: 'main', force: true });
    const log = await git.log({ fs, dir });
    expect(log.map((entry) => entry.commit.message.split('\n')[0])).toEqual([
      "Merge branch 'side' into main",
      'third',
      'second',
      'first',
    ]);
    expect(log.map((entry) => entry.oid)).toEqual(expect.arrayContaining([first, second]));
    expect(await git.listFiles({ fs, dir })).toEqual(['NEW', 'README.md', 'src/deep/code.js']);
    expect(await fs.readdir(dir)).toEqual(['.git', 'NEW', 'README.md', 'src']);
    const matrix = await git.statusMatrix({ fs, dir });
    expect(matrix.every(([, head, work, stage]) => head === 1 && work === 1 && stage === 1)).toBe(
      true,
    );
    expect(await git.listBranches({ fs, dir })).toEqual(['main', 'side']);
    expect(await git.currentBranch({ fs, dir })).toBe('main');

    // What it wrote is a repository to git itself.
    const folder = join(await mkdtemp(join(tmpdir(), 'files-git-')), 'project');
    await download(fs, dir, folder);
    const real = (...args: string[]): string =>
      execFileSync('git', ['-c', 'safe.directory=*', '-C', folder, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    real('fsck', '--strict', '--full');
    expect(real('log', '--format=%s', '--first-parent').split('\n')).toEqual([
      "Merge branch 'side' into main",
      'third',
      'first',
      '',
    ]);
    expect(real('diff', 'HEAD', '--stat')).toBe('');
    await rm(dirname(folder), { recursive: true });
    await fs.unmount();
    await stop?.();
  });
});
