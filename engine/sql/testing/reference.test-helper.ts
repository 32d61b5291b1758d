/**
 * A throw-away PostgreSQL 15 for differential tests: the binaries of a Debian package, run as user postgres, in a
 * temporary folder, on a unix socket only. null (with the reason) where there is none.
 */
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BIN = '/usr/lib/postgresql/15/bin';
/** The first unprivileged port; only the socket's file name. */
const PORT = '6543';

export interface Reference {
  readonly folder: string;
  /** Rows of one statement as psql -At shows them, or `ERROR code message`. */
  query(text: string): string[];
  close(): void;
}

export function startReference(): Reference | string {
  if (!existsSync(join(BIN, 'initdb'))) return `no PostgreSQL 15 in ${BIN}`;
  let uid: number;
  let gid: number;
  try {
    uid = Number(execFileSync('id', ['-u', 'postgres']).toString());
    gid = Number(execFileSync('id', ['-g', 'postgres']).toString());
  } catch {
    return 'no user postgres';
  }
  if (process.getuid?.() !== 0 && process.getuid?.() !== uid)
    return 'needs to run as root or postgres';
  const folder = mkdtempSync(join(tmpdir(), 'sextant-reference-'));
  chownSync(folder, uid, gid);
  const as = { uid, gid, env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' }, cwd: folder };
  const data = join(folder, 'data');
  execFileSync(
    join(BIN, 'initdb'),
    ['-D', data, '-U', 'postgres', '-E', 'UTF8', '--locale=C', '-N', '-A', 'trust'],
    {
      ...as,
      stdio: 'ignore',
    },
  );
  const options = `-p ${PORT} -k ${folder} -c listen_addresses='' -c fsync=off -c timezone=UTC`;
  execFileSync(join(BIN, 'pg_ctl'), ['-D', data, '-w', '-o', options, 'start'], {
    ...as,
    stdio: 'ignore',
  });
  return {
    folder,
    query: (text) => runQuery(folder, text),
    close: () => {
      execFileSync(join(BIN, 'pg_ctl'), ['-D', data, '-m', 'immediate', 'stop'], {
        ...as,
        stdio: 'ignore',
      });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function runQuery(folder: string, text: string): string[] {
  const marker = '\u001e';
  try {
    const out = execFileSync(
      join(BIN, 'psql'),
      [
        '-h',
        folder,
        '-p',
        PORT,
        '-U',
        'postgres',
        '-X',
        '-A',
        '-t',
        '-q',
        '-R',
        marker,
        '-v',
        'VERBOSITY=verbose',
        '-c',
        text,
        'postgres',
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    ).toString();
    const body = out.endsWith('\n') ? out.slice(0, -1) : out;
    return body === '' ? [] : body.split(marker);
  } catch (error) {
    const stderr = String((error as { stderr?: Buffer }).stderr ?? error);
    const match = /ERROR:\s+(\w{5}): (.*)/.exec(stderr);
    return [`ERROR ${match?.[1] ?? ''} ${match?.[2] ?? stderr}`];
  }
}
