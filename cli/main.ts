#!/usr/bin/env node
/** The `sextant` command. Wrong use and bad configuration exit 2 with one line, other failures 1. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { SextantError } from '#core/errors.js';
import { type ClusterConfig, readClusterConfig } from './config.js';
import {
  type ClusterOptions,
  DEFAULT_DATA,
  clusterOf,
  configOption,
  dataOption,
  logLevel,
} from './cluster-options.js';
import { localSocket, nearestAddress } from './dev-folder.js';
import { addFileCommands } from './file-commands.js';
import { addLockCommands } from './lock-commands.js';

const EXIT_USAGE = 2;

const packageFile = new URL('../../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

const program = new Command('sextant')
  .description(
    'A SQL database on six storage nodes in three zones: the log is the database, commits need 4 of 6.',
  )
  .version(version)
  .showHelpAfterError(false)
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'sextant: ')) });

program
  .command('dev')
  .description(
    'run a whole cluster on this machine: six storage nodes in three zones, three lock servers and the engine',
  )
  .option('--data <dir>', 'where its data lies; made when absent', DEFAULT_DATA)
  .option('--port <n>', 'port of PostgreSQL clients on 127.0.0.1', '5433')
  .option('--show', 'once ready, run a few transactions and show what they cost', false)
  .addHelpText(
    'after',
    '\nExample:\n  sextant dev --data ./sextant-data --port 5433\n  psql postgres://postgres@127.0.0.1:5433/postgres',
  )
  .action(async (options: { data: string; port: string; show: boolean }) => {
    const { runDev } = await import('./dev.js');
    await runDev(options);
  });

program
  .command('storage-node')
  .description('run one storage node of the cluster that sextant.json describes')
  .requiredOption('--config <file>', 'sextant.json of the cluster')
  .requiredOption('--node <id>', 'which of its nodes this is')
  .option(
    '--initial',
    'first start of a new cluster: an empty folder is a new node, not one that lost its data',
    false,
  )
  .addOption(new Option('--supervised').hideHelp().default(false))
  .addOption(logLevel())
  .addHelpText(
    'after',
    '\nExample:\n  sextant storage-node --config /etc/sextant.json --node node-1 --initial',
  )
  .action(
    async (options: {
      config: string;
      node: string;
      initial: boolean;
      supervised: boolean;
      logLevel: 'info';
    }) => {
      const config = readClusterConfig(options.config);
      const node = config.nodes.find((candidate) => candidate.id === options.node);
      if (node === undefined) {
        const known = config.nodes.map((candidate) => candidate.id).join(', ');
        throw new SextantError(
          'CONFIG',
          `${options.config} has no node ${options.node}; it has ${known}`,
        );
      }
      const { runStorageNode } = await import('#storage-nodes/server.js');
      await runStorageNode({
        cluster: config.cluster,
        id: node.id,
        zone: node.zone,
        listen: node.address,
        ...(options.supervised ? localSocket(node.data) : {}),
        dataFolder: node.data,
        peers: config.nodes.map(({ id, zone, address }) => ({ id, zone, address })),
        initial: options.initial,
        exitWithStdin: options.supervised,
        logLevel: options.logLevel,
      });
    },
  );

program
  .command('engine')
  .description('run the database engine of the cluster that sextant.json describes')
  .requiredOption('--config <file>', 'sextant.json of the cluster')
  .option(
    '--previous-writer-dead',
    'the engine before this one is known to be gone: open without waiting for its lease',
    false,
  )
  .addOption(new Option('--supervised').hideHelp().default(false))
  .addOption(logLevel())
  .addHelpText('after', '\nExample:\n  sextant engine --config /etc/sextant.json')
  .action(
    async (options: {
      config: string;
      previousWriterDead: boolean;
      supervised: boolean;
      logLevel: 'info';
    }) => {
      const config = readClusterConfig(options.config);
      const { runEngine } = await import('#engine/server.js');
      await runEngine({
        cluster: config.cluster,
        nodes: config.nodes.map((node) => ({
          id: node.id,
          zone: node.zone,
          address: options.supervised ? nearestAddress(node) : node.address,
        })),
        name: config.engine.name,
        lockServers: config.lockServers.map(({ id, address }) => ({ id, address })),
        listen: config.engine.listen,
        statusListen: config.engine.status,
        bufferBytes: config.engine.bufferMiB * 1024 * 1024,
        previousWriterDead: options.previousWriterDead,
        exitWithStdin: options.supervised,
        logLevel: options.logLevel,
        ...(config.engine.pagesPerPg === undefined ? {} : { pagesPerPg: config.engine.pagesPerPg }),
        ...(config.engine.users === undefined ? {} : { users: config.engine.users }),
      });
    },
  );

addLockCommands(program);
addFileCommands(program);

program
  .command('status')
  .description('nodes, lock servers, epochs, lag and commit latency of a running cluster')
  .addOption(dataOption())
  .addOption(configOption())
  .option('--json', 'machine-readable', false)
  .addHelpText('after', '\nExample:\n  sextant status --json | jq .vdl')
  .action(async (options: ClusterOptions & { json: boolean }) => {
    const { collectStatus, renderStatus } = await import('./status.js');
    const status = await collectStatus(clusterOf(options));
    process.stdout.write(
      options.json ? `${JSON.stringify(status, null, 2)}\n` : renderStatus(status),
    );
    if (status.engine.details === null) process.exitCode = 1;
  });

program
  .command('sql')
  .description('a small SQL shell; psql works as well')
  .option('-c, --command <sql>', 'run this and leave')
  .option('--url <url>', 'a server to connect to, instead of the cluster')
  .addOption(dataOption())
  .addOption(configOption())
  .option('--json', 'one JSON line per result', false)
  .addHelpText('after', "\nExample:\n  sextant sql -c 'SELECT version()'")
  .action(async (options: ClusterOptions & { command?: string; url?: string; json: boolean }) => {
    const { runSql } = await import('./sql-shell.js');
    const url = options.url ?? urlOf(clusterOf(options));
    await runSql({
      url,
      json: options.json,
      ...(options.command === undefined ? {} : { command: options.command }),
    });
  });

function urlOf(config: ClusterConfig): string {
  const host = config.engine.listen
    .replace(/^0\.0\.0\.0:/, '127.0.0.1:')
    .replace(/^\[::\]:/, '[::1]:');
  return `postgres://postgres@${host}/postgres`;
}

async function main(): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
      return;
    }
    if (error instanceof SextantError) {
      process.stderr.write(`sextant: ${error.message}\n`);
      process.exitCode = error.code === 'CONFIG' ? EXIT_USAGE : 1;
      return;
    }
    throw error;
  }
}

await main();
