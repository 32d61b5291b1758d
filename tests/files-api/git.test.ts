/** isomorphic-git with the files API as its `fs`: a repository is made, branched, merged and read back. */
import git from 'isomorphic-git';
import { describe, expect, it } from 'vitest';
import { filesOf } from '#fs-frontend/api/index.js';
import { MemoryVfs } from '#tests/vfs/memory-vfs.js';
import { waiting } from './vfs-kinds.js';

let timestamp = 1_700_000_000;
const author = (): object => ({
  name: 'Ada',
  email: 'ada@example.org',
  timestamp: ++timestamp,
  timezoneOffset: 0,
});

describe.each(['at once', 'waiting'])('isomorphic-git on a Vfs that answers %s', (kind) => {
  it('inits, commits, branches, checks out, merges and logs', async () => {
    const memory = new MemoryVfs();
    const fs = filesOf(kind === 'waiting' ? waiting(memory) : memory);
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
  });
});
