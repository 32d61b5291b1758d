/**
 * pgbench's TPC-B-like script against Sextant and against PostgreSQL with five quorum standbys (the same promise:
 * four of six copies durable), in alternating rounds of one run; medians and their ratio.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DevProcess, freePort } from './cluster.js';
import { pgbenchInit, pgbenchRun } from './pgbench.js';
import { run } from './run.js';
import { median, table } from './statistics.js';
import { collectStatus } from '#cli/status.js';
import { readClusterConfig } from '#cli/config.js';

const PG_QUORUM = new URL('../../bench/yardsticks/pg-quorum.sh', import.meta.url).pathname;

export interface TpcbOptions {
  readonly scale: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly clients: readonly number[];
  readonly peer: boolean;
}

export interface TpcbLine {
  clients: number;
  sextantTps: number[];
  postgresTps: number[];
  ratio: number;
  bytesPerTransaction: number;
  syncsPerTransactionPerNode: number;
  boxcarsPerTransaction: number;
}

export async function benchTpcb(options: TpcbOptions): Promise<TpcbLine[]> {
  const sextant = await DevProcess.start();
  const peerFolder = mkdtempSync(join(tmpdir(), 'pg-quorum-'));
  const peerPort = await freePort();
  try {
    await pgbenchInit(sextant.port, options.scale);
    if (options.peer) {
      await run('bash', [PG_QUORUM, 'up', peerFolder, String(peerPort)]);
      await pgbenchInit(peerPort, options.scale);
    }
    const lines: TpcbLine[] = [];
    for (const clients of options.clients)
      lines.push(await oneLine(options, clients, sextant, peerPort));
    process.stdout.write(
      `${table(
        [
          'clients',
          'Sextant tps',
          'PostgreSQL quorum tps',
          'ratio',
          'bytes/txn to six',
          'fdatasyncs/txn/node',
          'boxcars/txn',
        ],
        lines.map((line) => [
          line.clients,
          median(line.sextantTps),
          options.peer ? median(line.postgresTps) : '-',
          options.peer ? line.ratio : '-',
          line.bytesPerTransaction,
          line.syncsPerTransactionPerNode,
          line.boxcarsPerTransaction,
        ]),
      )}\n`,
    );
    return lines;
  } finally {
    if (options.peer)
      await run('bash', [PG_QUORUM, 'down', peerFolder, String(peerPort)]).catch(() => '');
    rmSync(peerFolder, { recursive: true, force: true });
    await sextant.stop();
  }
}

async function oneLine(
  options: TpcbOptions,
  clients: number,
  sextant: DevProcess,
  peerPort: number,
): Promise<TpcbLine> {
  const line: TpcbLine = {
    clients,
    sextantTps: [],
    postgresTps: [],
    ratio: Number.NaN,
    bytesPerTransaction: 0,
    syncsPerTransactionPerNode: 0,
    boxcarsPerTransaction: 0,
  };
  let transactions = 0;
  const cost = { bytes: 0, syncs: 0, boxcars: 0 };
  for (let round = 0; round < options.rounds; round++) {
    const before = await counters(sextant);
    const ours = await pgbenchRun(sextant.port, { clients, seconds: options.seconds });
    const after = await counters(sextant);
    if (ours.failed > 0) throw new Error(`${ours.failed} transactions failed`);
    line.sextantTps.push(ours.tps);
    transactions += ours.tps * options.seconds;
    cost.bytes += after.bytes - before.bytes;
    cost.syncs += after.syncs - before.syncs;
    cost.boxcars += after.boxcars - before.boxcars;
    if (options.peer)
      line.postgresTps.push(
        (await pgbenchRun(peerPort, { clients, seconds: options.seconds })).tps,
      );
    process.stderr.write(
      `round ${round + 1}, ${clients} clients: Sextant ${ours.tps.toFixed(0)} tps` +
        `${options.peer ? `, PostgreSQL ${(line.postgresTps.at(-1) ?? 0).toFixed(0)} tps` : ''}\n`,
    );
  }
  line.ratio = median(line.sextantTps) / median(line.postgresTps);
  line.bytesPerTransaction = cost.bytes / transactions;
  line.syncsPerTransactionPerNode = cost.syncs / transactions / 6;
  line.boxcarsPerTransaction = cost.boxcars / transactions;
  return line;
}

async function counters(
  sextant: DevProcess,
): Promise<{ bytes: number; syncs: number; boxcars: number }> {
  const status = await collectStatus(readClusterConfig(join(sextant.folder, 'sextant.json')));
  return {
    bytes: status.engine.details?.volume?.sentBytes ?? 0,
    boxcars: status.engine.details?.volume?.boxcarsSent ?? 0,
    syncs: status.nodes.reduce((sum, node) => sum + (node.syncCount ?? 0), 0),
  };
}
