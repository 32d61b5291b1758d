/** Memory of every process after minutes of load, and what the load left behind. */
import { join } from 'node:path';
import { collectStatus, renderStatus } from '#cli/status.js';
import { readClusterConfig } from '#cli/config.js';
import { DevProcess } from './cluster.js';
import { pgbenchInit, pgbenchRun } from './pgbench.js';

export interface SoakResult {
  readonly minutes: number;
  readonly tps: number;
  readonly nodeRssMiBMax: number;
  readonly engineRssMiB: number;
  readonly engineBufferMiB: number;
}

export async function benchSoak(options: { minutes: number; scale: number }): Promise<SoakResult> {
  const sextant = await DevProcess.start();
  try {
    await pgbenchInit(sextant.port, options.scale);
    const { tps } = await pgbenchRun(sextant.port, { clients: 32, seconds: options.minutes * 60 });
    const status = await collectStatus(readClusterConfig(join(sextant.folder, 'sextant.json')));
    process.stdout.write(`${renderStatus(status)}\n`);
    const MiB = 1024 * 1024;
    const result = {
      minutes: options.minutes,
      tps,
      nodeRssMiBMax: Math.max(...status.nodes.map((node) => node.rssBytes ?? 0)) / MiB,
      engineRssMiB: (status.engine.details?.rssBytes ?? 0) / MiB,
      engineBufferMiB: (status.engine.details?.bufferBytes ?? 0) / MiB,
    };
    process.stdout.write(
      `${options.minutes} minutes at ${tps.toFixed(0)} tps: largest node ${result.nodeRssMiBMax.toFixed(0)} MiB,` +
        ` engine ${result.engineRssMiB.toFixed(0)} MiB with a buffer of ${result.engineBufferMiB.toFixed(0)} MiB\n`,
    );
    return result;
  } finally {
    await sextant.stop();
  }
}
