/**
 * Runs one lock server over the real world.
 *
 * `runLockServer` is a process: it prints exactly one line on standard output, `listening <address>`, once the server can be
 * reached, and ends cleanly, its groups given to the others, with SIGTERM, SIGINT, or with its standard input when told so. As a program of its own:
 * `node server.js '<LockServerConfig as JSON>'`, which exits with 1 and one line on standard error when it cannot run
 * (FOLDER_LOCKED, FOLDER_FOREIGN, CONFIG, CORRUPTION, DISK_FAILED).
 */
import { endWhenTold } from '#core/world/real/end-when-told.js';
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SextantError, isSextantError } from '#core/errors.js';
import { flag, jsonCodec, list, lsn, object, oneOf, optional, text } from '#core/rpc/shape.js';
import type { LogLevel } from '#core/world/real/log.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { World } from '#core/world/world.js';
import { serverAddress } from './protocol/control-codec.js';
import type { ServerAddress } from './protocol/messages.js';
import { LockServer } from './server/lock-server.js';
import type { TokenFloor } from './server/options.js';

export { LockServer } from './server/lock-server.js';
export type { LockServerOptions, TokenFloor } from './server/options.js';

export interface LockServerConfig {
  readonly cluster: string;
  readonly id: string;
  /** `host:port`; port 0: any free one. */
  readonly listen: string;
  readonly dataFolder: string;
  /** All lock servers of the cluster, this one among them. */
  readonly members: readonly ServerAddress[];
  /** The group exists already: asks it to be taken in. Without effect on a folder that is in use. */
  readonly join?: boolean;
  /** Lease of clerks that ask for none. */
  readonly leaseMs?: number;
  readonly serverLeaseMs?: number;
  /** Where no register gives one: the generation of a new group's tokens. */
  readonly generation?: number;
  /** The process ends when its standard input does: it never outlives who started it. */
  readonly exitWithStdin?: boolean;
  readonly logLevel?: LogLevel;
}

const configuration = jsonCodec(
  'lock server configuration',
  object<LockServerConfig>({
    cluster: text,
    id: text,
    listen: text,
    dataFolder: text,
    members: list(serverAddress, 64),
    join: optional(flag),
    leaseMs: optional(lsn),
    serverLeaseMs: optional(lsn),
    generation: optional(lsn),
    exitWithStdin: optional(flag),
    logLevel: optional(oneOf('debug', 'info', 'warn', 'error', 'silent')),
  }),
);

/** Resolves when the server listens; the process then stays alive until it is told to end. */
export async function runLockServer(
  config: LockServerConfig,
  floorOf?: (world: World) => TokenFloor,
): Promise<LockServer> {
  const world = realWorld({ log: config.logLevel ?? 'info' });
  const server = await LockServer.open(world, {
    cluster: config.cluster,
    id: config.id,
    listen: config.listen,
    folder: config.dataFolder,
    members: config.members,
    tokenFloor: floorOf?.(world) ?? fixedFloor(config.generation),
    pid: process.pid,
    ...(config.join === undefined ? {} : { join: config.join }),
    ...(config.leaseMs === undefined ? {} : { leaseMs: config.leaseMs }),
    ...(config.serverLeaseMs === undefined ? {} : { serverLeaseMs: config.serverLeaseMs }),
  });
  server.onFailed = fail;
  endWhenTold(config.exitWithStdin === true, () => server.stop(), fail);
  process.stdout.write(`listening ${server.listening}\n`);
  return server;
}

/** Without storage nodes nothing tells a new group from one that was recreated: whoever runs it says which it is. */
function fixedFloor(generation: number | undefined): TokenFloor {
  if (generation === undefined) {
    throw new SextantError('CONFIG', 'a lock server needs a register or a generation of tokens');
  }
  return { takeGeneration: () => Promise.resolve(generation) };
}

function fail(error: unknown): never {
  const line = isSextantError(error) ? `${error.code}: ${error.message}` : String(error);
  process.stderr.write(`sextant lockserver: ${line.replaceAll('\n', ' ')}\n`);
  process.exit(1);
}

const script = process.argv[1];
if (script !== undefined && fileURLToPath(import.meta.url) === realpathSync(script)) {
  const argument = process.argv[2] ?? '';
  Promise.resolve()
    .then(() => runLockServer(configuration.decode(new TextEncoder().encode(argument))))
    .catch(fail);
}
