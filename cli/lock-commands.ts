/** The commands of the lock service: `lockserver` and `locks`. */
import { Option, type Command } from 'commander';
import { SextantError } from '#core/errors.js';
import {
  type ClusterOptions,
  clusterOf,
  configOption,
  dataOption,
  logLevel,
} from './cluster-options.js';
import { type ClusterConfig, type LockServerConfig, readClusterConfig } from './config.js';

interface LockServerCommand {
  readonly config: string;
  readonly server: string;
  readonly join: boolean;
  readonly leave: boolean;
  readonly supervised: boolean;
  readonly logLevel: 'info';
}

export function addLockCommands(program: Command): void {
  program
    .command('lockserver')
    .description('run one lock server of the cluster that sextant.json describes')
    .requiredOption('--config <file>', 'sextant.json of the cluster')
    .requiredOption('--server <id>', 'which of its lock servers this is')
    .addOption(
      new Option('--join', 'the others run already: ask them to take this new one in')
        .default(false)
        .conflicts('leave'),
    )
    .addOption(
      new Option(
        '--leave',
        'do not run: give its lock groups to the others and take it out',
      ).default(false),
    )
    .addOption(new Option('--supervised').hideHelp().default(false))
    .addOption(logLevel())
    .addHelpText(
      'after',
      '\nExample:\n  sextant lockserver --config /etc/sextant.json --server lock-1',
    )
    .action(async (options: LockServerCommand) => {
      const config = readClusterConfig(options.config);
      const server = serverOf(config, options);
      if (options.leave) await leave(config, server);
      else await run(config, server, options);
    });

  program
    .command('locks')
    .description('who holds which locks, who waits for whom, and since when')
    .option('--table <name>', 'of this lock table only')
    .option('--hot', 'only locks that were waited for, the most contended first', false)
    .option('--limit <n>', 'at most so many', '100')
    .addOption(dataOption())
    .addOption(configOption())
    .option('--json', 'machine-readable', false)
    .addHelpText('after', '\nExample:\n  sextant locks --table fs --hot --json')
    .action(
      async (
        options: ClusterOptions & { table?: string; hot: boolean; limit: string; json: boolean },
      ) => {
        const limit = Number(options.limit);
        if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
          throw new SextantError('CONFIG', `--limit takes 1 to 10000, not ${options.limit}`);
        }
        const { collectLocks, renderLocks } = await import('./locks.js');
        const report = await collectLocks(clusterOf(options), {
          hot: options.hot,
          limit,
          ...(options.table === undefined ? {} : { table: options.table }),
        });
        process.stdout.write(
          options.json ? `${JSON.stringify(report, null, 2)}\n` : renderLocks(report),
        );
      },
    );
}

function serverOf(config: ClusterConfig, options: LockServerCommand): LockServerConfig {
  const server = config.lockServers.find((candidate) => candidate.id === options.server);
  if (server !== undefined) return server;
  const known = config.lockServers.map((candidate) => candidate.id).join(', ') || 'none';
  throw new SextantError(
    'CONFIG',
    `${options.config} has no lock server ${options.server}; it has ${known}`,
  );
}

async function run(
  config: ClusterConfig,
  server: LockServerConfig,
  options: LockServerCommand,
): Promise<void> {
  const [{ runLockServer }, { RegisterTokenFloor }] = await Promise.all([
    import('#lockservice/server.js'),
    import('./token-floor.js'),
  ]);
  await runLockServer(
    {
      cluster: config.cluster,
      id: server.id,
      listen: server.address,
      dataFolder: server.data,
      members: config.lockServers.map(({ id, address }) => ({ id, address })),
      join: options.join,
      exitWithStdin: options.supervised,
      logLevel: options.logLevel,
    },
    (world) => new RegisterTokenFloor(world, config.cluster, config.nodes),
  );
}

async function leave(config: ClusterConfig, server: LockServerConfig): Promise<void> {
  const [{ LockTool }, { realWorld }] = await Promise.all([
    import('./lock-tool.js'),
    import('#core/world/real/real-world.js'),
  ]);
  const tool = new LockTool(realWorld({ log: 'silent' }), config);
  await tool.changeMembers({ remove: server.id });
  process.stdout.write(`${server.id} has left: stop it, and take it out of sextant.json\n`);
}
