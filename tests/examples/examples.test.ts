/** The examples run as a reader would run them: built, standalone, ending with 0. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('../..', import.meta.url).pathname;
const TIMEOUT_MS = 60_000;

/** What each prints last, or at least. */
const PRINTS: Record<string, RegExp[]> = {
  'embedded.mjs': [/rolled back: changed my mind/, /Grace/, /total 200/],
  'election.mjs': [/^ada is elected$/m, /^edsger: grace leads, 8 shards$/m, /grace leads no more/],
  'files.mjs': [
    /^> Dear reader$/m,
    /ENOTEMPTY rmdir \/notes/,
    /^mood fine$/m,
    /^locked 22 bytes$/m,
    /^read again: Dear reader$/m,
  ],
  'locks.mjs': [
    /^ada flushes parcel 42: Tromsø$/m,
    /^grace reads parcel 42: Tromsø$/m,
    /another clerk holds the lock/,
    /^grace holds 18446744073709551615 exclusive, 42 shared$/m,
    /gets the range: false; bytes 0 to 100 /,
  ],
  'pg-client.mjs': [/^the 4$/m, /^log 2$/m, /23505 duplicate key/],
  'survive.mjs': [/killed two nodes/, /killed the engine/, /1000 of 1000 in the accounts/],
};
/** What examples share, and not one itself. */
const SHARED = ['dev-cluster.mjs'];

function run(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: ROOT });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.once('close', (code) => resolve({ code, out, err }));
  });
}

describe('examples', () => {
  it('are all run and all listed', () => {
    const files = readdirSync(`${ROOT}/examples`).filter((name) => name.endsWith('.mjs'));
    expect(files.filter((name) => !SHARED.includes(name)).sort()).toEqual(
      Object.keys(PRINTS).sort(),
    );
    const readme = readFileSync(`${ROOT}/examples/README.md`, 'utf8');
    for (const name of files) expect(readme).toContain(name);
  });

  for (const [file, prints] of Object.entries(PRINTS)) {
    it(
      `${file} ends with 0`,
      async () => {
        const { code, out, err } = await run(`examples/${file}`);
        expect({ code, err }, out).toEqual({ code: 0, err: '' });
        for (const expected of prints) expect(out).toMatch(expected);
      },
      TIMEOUT_MS,
    );
  }

  it(
    'the one in the README does what it says',
    async () => {
      const block = /```js\n([\s\S]*?)```/.exec(readFileSync(`${ROOT}/README.md`, 'utf8'));
      const folder = mkdtempSync(join(tmpdir(), 'sextant-readme-'));
      const code = (block?.[1] ?? '').replace("'./data'", JSON.stringify(folder));
      try {
        const ran = await run(
          '--input-type=module',
          '-e',
          `${code}\nconsole.log(JSON.stringify(rows));`,
        );
        expect(ran).toEqual({ code: 0, out: '[{"id":1,"balance":70}]\n', err: '' });
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    TIMEOUT_MS,
  );
});
