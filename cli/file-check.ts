/** `sextant fs check`: exits 0 when no damage is left, else 1. */
import { realWorld } from '#core/world/real/real-world.js';
import { checkFiles } from '#fs-frontend/check-files.js';
import { tableOf } from '#fs-frontend/open.js';
import { type FileCommand, printJson, printLines } from './file-shell.js';
import { filesClusterOf } from './files-options.js';
import { clusterOf } from './find-cluster.js';
import { collectClerks } from './lock-tool.js';

const CHECKER = 'fs check';

export async function runCheck(options: FileCommand & { readonly repair: boolean }): Promise<void> {
  const world = realWorld({ log: 'warn' });
  const { repair, disk, json } = options;
  const kind = tableOf(disk);
  const report = await checkFiles(world, {
    ...filesClusterOf(options),
    name: CHECKER,
    repair,
    onFinding: ({ kind: what, message }) => {
      // Live servers have logs too.
      if (!json && (repair || what !== 'log-not-replayed')) printLines([`${what}: ${message}`]);
    },
    others: async () => {
      const clerks = await collectClerks(world, clusterOf(options));
      return clerks
        .filter((clerk) => clerk.kind === kind && clerk.name !== CHECKER)
        .filter(({ state }) => state !== 'recovered')
        .map(({ name, state }) => (state === 'live' ? name : `${name} (${state})`));
    },
  });
  if (!report.clean) process.exitCode = 1;
  if (json) return printJson(report);
  const { files, directories, orphans, metadataBlocks, dataBlocks, findings } = report;
  const repaired = findings.filter((finding) => finding.repaired).length;
  const left = findings.filter((one) => !one.repaired && one.kind !== 'log-not-replayed').length;
  printLines([
    `${files} files, ${directories} folders, ${orphans} unlinked and open; ${metadataBlocks} metadata and ${dataBlocks} data blocks`,
    report.clean
      ? `disk ${disk} is whole${repaired === 0 ? '' : `, ${repaired} repaired`}`
      : `disk ${disk} is damaged: ${left} findings${repair ? ' left' : ': --repair'}`,
  ]);
}
