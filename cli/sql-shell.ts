/** `sextant sql`: a small shell for machines without psql. Statements end with `;`, `\q` leaves. */
import { createInterface } from 'node:readline';
import pg from 'pg';
import { SextantError } from '#core/errors.js';

/** Text as the server sent it: the shell shows values, it does not interpret them. */
const AS_TEXT = { getTypeParser: () => (value: string) => value };

export interface SqlOptions {
  readonly url: string;
  readonly command?: string;
  readonly json: boolean;
}

type ShellResult = pg.QueryArrayResult<(string | null)[]>;

export async function runSql(options: SqlOptions): Promise<void> {
  const client = new pg.Client({
    connectionString: options.url,
    types: AS_TEXT as unknown as pg.CustomTypesConfig,
  });
  try {
    await client.connect();
  } catch (cause) {
    const why = (cause as Error).message;
    throw new SextantError(
      'DISCONNECTED',
      `cannot connect to ${options.url}: ${why}; is \`sextant dev\` running?`,
      {
        cause,
      },
    );
  }
  client.on('notice', (notice) =>
    process.stderr.write(`${notice.severity ?? 'NOTICE'}: ${notice.message ?? ''}\n`),
  );
  try {
    if (options.command !== undefined) {
      if (!(await execute(client, options.command, options.json))) process.exitCode = 1;
    } else {
      await interact(client, options.json);
    }
  } finally {
    await client.end();
  }
}

async function interact(client: pg.Client, json: boolean): Promise<void> {
  const lines = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: process.stdin.isTTY,
  });
  const interactive = process.stdin.isTTY;
  let pending = '';
  const prompt = (): void => {
    if (!interactive) return;
    lines.setPrompt(pending === '' ? 'sextant=> ' : 'sextant-> ');
    lines.prompt();
  };
  prompt();
  for await (const line of lines) {
    if (pending === '' && /^\s*(\\q|exit|quit)\s*;?\s*$/.test(line)) break;
    pending += `${line}\n`;
    if (/;\s*$/.test(line)) {
      const statement = pending;
      pending = '';
      if (!(await execute(client, statement, json)) && !interactive) process.exitCode = 1;
    }
    prompt();
  }
  if (pending.trim() !== '' && !(await execute(client, pending, json))) process.exitCode = 1;
  lines.close();
}

async function execute(client: pg.Client, text: string, json: boolean): Promise<boolean> {
  const start = performance.now();
  try {
    const answer = (await client.query({ text, rowMode: 'array' })) as unknown as
      | ShellResult
      | ShellResult[];
    const tookMs = performance.now() - start;
    for (const result of Array.isArray(answer) ? answer : [answer]) {
      process.stdout.write(json ? renderJson(result) : render(result));
    }
    if (process.stdin.isTTY && !json) process.stdout.write(`Time: ${tookMs.toFixed(2)} ms\n`);
    return true;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    process.stderr.write(`${error.severity ?? 'ERROR'}: ${error.message} (${error.code ?? '?'})\n`);
    for (const [name, value] of [
      ['DETAIL', error.detail],
      ['HINT', error.hint],
    ] as const) {
      if (value !== undefined) process.stderr.write(`${name}: ${value}\n`);
    }
    return false;
  }
}

function renderJson(result: ShellResult): string {
  const rows = result.rows.map((row) =>
    Object.fromEntries(result.fields.map((field, index) => [field.name, row[index] ?? null])),
  );
  return `${JSON.stringify({ command: result.command, rowCount: result.rowCount, rows })}\n`;
}

function render(result: ShellResult): string {
  if (result.fields.length === 0) {
    const count = result.rowCount === null ? '' : ` ${result.rowCount}`;
    return `${result.command ?? 'OK'}${count}\n`;
  }
  const head = result.fields.map((field) => field.name);
  const rows = result.rows.map((row) => row.map((value) => value ?? ''));
  const widths = head.map((name, column) =>
    rows.reduce((most, row) => Math.max(most, (row[column] ?? '').length), name.length),
  );
  const line = (cells: string[]): string =>
    cells
      .map((cell, column) => ` ${cell.padEnd(widths[column] ?? 0)} `)
      .join('|')
      .trimEnd();
  const rule = widths.map((width) => '-'.repeat(width + 2)).join('+');
  const footer = `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`;
  return `${[line(head), rule, ...rows.map(line), footer].join('\n')}\n\n`;
}
