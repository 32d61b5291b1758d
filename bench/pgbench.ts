/** pgbench, as a function. */
import { run } from './run.js';

export interface PgbenchResult {
  readonly tps: number;
  readonly latencyMs: number;
  readonly failed: number;
}

const target = (port: number): string[] => [
  '-h',
  '127.0.0.1',
  '-p',
  String(port),
  '-U',
  'postgres',
  'postgres',
];

export async function pgbenchInit(port: number, scale: number): Promise<void> {
  await run('pgbench', ['-i', '-q', '-s', String(scale), ...target(port)]);
}

export async function pgbenchRun(
  port: number,
  options: {
    clients: number;
    seconds: number;
    mode?: 'simple' | 'extended' | 'prepared';
    script?: string;
  },
): Promise<PgbenchResult> {
  const args = ['-n', '-M', options.mode ?? 'prepared', '-c', String(options.clients), '-j', '1'];
  if (options.script !== undefined) args.push('-b', options.script);
  const out = await run('pgbench', [...args, '-T', String(options.seconds), ...target(port)]);
  const pick = (pattern: RegExp): number => Number(pattern.exec(out)?.[1] ?? Number.NaN);
  return {
    tps: pick(/tps = ([\d.]+)/),
    latencyMs: pick(/latency average = ([\d.]+)/),
    failed: pick(/number of failed transactions: (\d+)/),
  };
}
