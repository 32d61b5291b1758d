/**
 * Latency of a one-row insert, durable on four of six node processes, through the engine's API; beside it quorum-floor,
 * the cheapest quorum commit in C, with records of the same size. Alternating rounds.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import hdr from 'hdr-histogram-js';
import { optimizeSooner } from '#core/world/real/v8-flags.js';
import { realWorld } from '#core/world/real/real-world.js';
import { EmbeddedConnection } from '#engine/api/embedded-connection.js';
import { DATABASE, Engine } from '#engine/engine.js';
import { openVolume } from '#engine/volume/open-volume.js';
import { NodeProcesses } from './cluster.js';
import { run } from './run.js';
import { median, table } from './statistics.js';

const FLOOR_SOURCE = new URL('../../bench/yardsticks/quorum-floor.c', import.meta.url).pathname;
const INSERT = 'INSERT INTO commits (id, note) VALUES ($1, $2)';
const NOTE = 'x'.repeat(64);
/** Enough for the six node processes to be compiled as they are after a minute of use. */
const WARM_UP = 10_000;

export interface CommitRound {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
}

export interface CommitFigures {
  readonly bytesPerNode: number;
  readonly sextant: CommitRound[];
  readonly floor: CommitRound[];
  readonly p50Ratio: number;
  readonly p99Ratio: number;
}

export async function benchCommit(options: {
  commits: number;
  rounds: number;
}): Promise<CommitFigures> {
  optimizeSooner();
  const scratch = mkdtempSync(join(tmpdir(), 'quorum-floor-'));
  const binary = join(scratch, 'quorum-floor');
  await run('cc', ['-O2', '-o', binary, FLOOR_SOURCE]);
  const nodes = await NodeProcesses.start();
  const world = realWorld({ log: 'warn' });
  const volume = await openVolume(world, {
    clusterId: nodes.cluster,
    nodes: nodes.nodes,
    volume: 1,
    create: true,
  });
  const engine = await Engine.open(world, { volume });
  const connection = new EmbeddedConnection(engine, 'postgres', DATABASE);
  try {
    await connection.exec('CREATE TABLE commits (id int PRIMARY KEY, note text)');
    let id = 0;
    const insert = (): Promise<unknown> => connection.query(INSERT, [id++, NOTE]);
    for (let i = 0; i < WARM_UP; i++) await insert();
    const before = engine.volume.status().sentBytes;
    const figures = { sextant: [] as CommitRound[], floor: [] as CommitRound[] };
    let bytesPerNode = 0;
    for (let round = 0; round < options.rounds; round++) {
      figures.sextant.push(await sextantRound(insert, options.commits));
      bytesPerNode = Math.round(
        (engine.volume.status().sentBytes - before) / 6 / ((round + 1) * options.commits),
      );
      figures.floor.push(await floorRound(binary, scratch, bytesPerNode, options.commits));
    }
    return report({ ...figures, bytesPerNode });
  } finally {
    await connection.close();
    await engine.close();
    await volume.close();
    await nodes.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function sextantRound(insert: () => Promise<unknown>, commits: number): Promise<CommitRound> {
  const histogram = hdr.build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60_000_000_000,
    numberOfSignificantValueDigits: 3,
  });
  for (let i = 0; i < commits; i++) {
    const start = process.hrtime.bigint();
    await insert();
    histogram.recordValue(Number(process.hrtime.bigint() - start));
  }
  const at = (percentile: number): number => histogram.getValueAtPercentile(percentile) / 1000;
  return { p50Us: at(50), p99Us: at(99), p999Us: at(99.9) };
}

async function floorRound(
  binary: string,
  folder: string,
  bytes: number,
  commits: number,
): Promise<CommitRound> {
  const line = JSON.parse(await run(binary, [folder, String(bytes), String(commits)])) as Record<
    string,
    number
  >;
  return {
    p50Us: line['p50_us'] ?? Number.NaN,
    p99Us: line['p99_us'] ?? Number.NaN,
    p999Us: line['p999_us'] ?? Number.NaN,
  };
}

function report(figures: Omit<CommitFigures, 'p50Ratio' | 'p99Ratio'>): CommitFigures {
  const middle = (rounds: CommitRound[], pick: keyof CommitRound): number =>
    median(rounds.map((round) => round[pick]));
  const { sextant, floor, bytesPerNode } = figures;
  const p50Ratio = middle(sextant, 'p50Us') / middle(floor, 'p50Us');
  const p99Ratio = middle(sextant, 'p99Us') / middle(floor, 'p99Us');
  const row = (name: string, rounds: CommitRound[]): (string | number)[] => [
    name,
    middle(rounds, 'p50Us'),
    middle(rounds, 'p99Us'),
    middle(rounds, 'p999Us'),
  ];
  process.stdout.write(
    `${table(
      [`one-row commit, ${bytesPerNode} bytes to each node`, 'p50 us', 'p99 us', 'p99.9 us'],
      [row('Sextant', sextant), row('quorum-floor (C)', floor), ['ratio', p50Ratio, p99Ratio, '']],
    )}\n`,
  );
  return { ...figures, p50Ratio, p99Ratio };
}
