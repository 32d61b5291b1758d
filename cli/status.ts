/** `sextant status`: what every part says of itself, at a glance or as JSON. */
import { SextantError, isSextantError } from '#core/errors.js';
import { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import { realWorld } from '#core/world/real/real-world.js';
import { type EngineStatus, EngineMessageType } from '#engine/status-protocol.js';
import {
  type HelloRequest,
  MessageType,
  type NodeStatus,
  PROTOCOL_VERSION,
} from '#storage-nodes/protocol/messages.js';
import type { ClusterConfig } from './config.js';
import { LockTool, collectClerks } from './lock-tool.js';
import { table } from './text-table.js';

const TIMEOUT_MS = 2000;
/** Kind of the clerks of file servers, before the name of the disk. */
const FILES_TABLE = 'files/';

export interface ClusterStatus {
  readonly cluster: string;
  /** null while no engine answers. */
  readonly vdl: number | null;
  readonly volumeEpoch: number | null;
  readonly engine: {
    pid: number | null;
    state: string;
    listen: string;
    details: EngineStatus | null;
  };
  readonly commitLatencyMs: {
    count: number;
    p50: number;
    p95: number;
    p99: number;
    max: number;
  } | null;
  readonly nodes: readonly NodeLine[];
  readonly lockServers: readonly LockServerLine[];
  readonly fileServers: readonly FileServerLine[];
}

export interface LockServerLine {
  readonly id: string;
  readonly address: string;
  readonly pid: number | null;
  /** leader, follower, candidate, starting; down: it does not answer. */
  readonly state: string;
  /** Lock groups that it serves. */
  readonly groups: number | null;
  readonly locks: number | null;
  readonly waiting: number | null;
}

/** One that serves a mount, a command or a program; as the lock service knows it. */
export interface FileServerLine {
  readonly disk: string;
  /** What it was opened for. */
  readonly name: string;
  readonly token: number;
  /** live; expired or fenced: dead, and to be recovered by another one of its disk. */
  readonly state: string;
  readonly leaseMsLeft: number | null;
}

export interface NodeLine {
  readonly id: string;
  readonly zone: string;
  readonly address: string;
  readonly pid: number | null;
  readonly state: string;
  /** LSNs between the end of the log and the end of its gap-free part; null when unknown. */
  readonly sclLag: number | null;
  readonly journalBytes: number | null;
  readonly pageBytes: number | null;
  readonly rssBytes: number | null;
  /** fdatasync calls since it started. */
  readonly syncCount: number | null;
  readonly volumeEpoch: number | null;
  readonly membershipEpoch: number | null;
  readonly generation: number | null;
}

async function ask<Answer>(
  world: World,
  address: string,
  type: number,
  hello: HelloRequest | null,
): Promise<Answer> {
  const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
  const client = new RpcClient(
    world,
    address,
    hello === null ? {} : { hello: () => ({ type: MessageType.hello, body: encode(hello) }) },
  );
  try {
    const answer = await client.call(type, encode({}), { timeoutMs: TIMEOUT_MS });
    return JSON.parse(new TextDecoder().decode(answer)) as Answer;
  } finally {
    client.close();
  }
}

export async function collectStatus(config: ClusterConfig): Promise<ClusterStatus> {
  const world = realWorld({ log: 'silent' });
  const engineAnswer = ask<EngineStatus>(
    world,
    config.engine.status,
    EngineMessageType.status,
    null,
  );
  const nodeAnswers = config.nodes.map((node) =>
    ask<NodeStatus>(world, node.address, MessageType.status, {
      protocol: PROTOCOL_VERSION,
      cluster: config.cluster,
      node: node.id,
      role: 'tool',
    }).catch((error: unknown) =>
      error instanceof SextantError ? error : new SextantError('INTERNAL', String(error)),
    ),
  );
  const lockServerAnswers = collectLockServers(world, config);
  const fileServerAnswers = collectFileServers(world, config);
  const engine = await engineAnswer.catch(() => null);
  const volume = engine?.volume ?? null;
  const nodes = await Promise.all(nodeAnswers);
  return {
    cluster: config.cluster,
    vdl: volume?.vdl ?? null,
    volumeEpoch: volume?.epoch ?? null,
    engine: {
      pid: engine?.pid ?? null,
      state: engine?.state ?? 'down',
      listen: engine?.listen ?? config.engine.listen,
      details: engine,
    },
    commitLatencyMs:
      volume === null
        ? null
        : {
            count: volume.commitLatency.count,
            p50: volume.commitLatency.p50Ms,
            p95: volume.commitLatency.p95Ms,
            p99: volume.commitLatency.p99Ms,
            max: volume.commitLatency.maxMs,
          },
    nodes: config.nodes.map((node, index) => nodeLine(node, nodes[index], engine)),
    lockServers: await lockServerAnswers,
    fileServers: await fileServerAnswers,
  };
}

function collectLockServers(world: World, config: ClusterConfig): Promise<LockServerLine[]> {
  const tool = new LockTool(world, config);
  return Promise.all(
    tool.servers.map(async (server) => {
      const { id, address } = server;
      try {
        const { pid, state, groups, locks, waiting } = await tool.status(server);
        return { id, address, pid, state, groups, locks, waiting };
      } catch (error) {
        const state = isSextantError(error, 'WRONG_CLUSTER') ? 'foreign' : 'down';
        return { id, address, pid: null, state, groups: null, locks: null, waiting: null };
      }
    }),
  );
}

async function collectFileServers(world: World, config: ClusterConfig): Promise<FileServerLine[]> {
  const clerks = await collectClerks(world, config).catch(() => []);
  return clerks
    .filter(({ kind, state }) => kind.startsWith(FILES_TABLE) && state !== 'recovered')
    .map(({ kind, name, token, state, leaseMsLeft }) => {
      return { disk: kind.slice(FILES_TABLE.length), name, token, state, leaseMsLeft };
    });
}

function nodeLine(
  node: ClusterConfig['nodes'][number],
  answer: NodeStatus | SextantError | undefined,
  engine: EngineStatus | null,
): NodeLine {
  const seen = engine?.volume?.nodes.find((candidate) => candidate.id === node.id);
  const base = {
    id: node.id,
    zone: node.zone,
    address: node.address,
    sclLag: seen?.sclLag ?? null,
  };
  if (answer === undefined || answer instanceof SextantError) {
    const state = answer?.code === 'WRONG_CLUSTER' ? 'foreign' : 'down';
    return {
      ...base,
      pid: null,
      state,
      journalBytes: null,
      pageBytes: null,
      rssBytes: null,
      syncCount: null,
      volumeEpoch: null,
      membershipEpoch: null,
      generation: null,
    };
  }
  const highest = (pick: (segment: NodeStatus['segments'][number]) => number): number =>
    answer.segments.reduce((most, segment) => Math.max(most, pick(segment)), 0);
  return {
    ...base,
    pid: answer.pid,
    state: answer.state,
    journalBytes: answer.journalBytes,
    pageBytes: answer.pageBytes,
    rssBytes: answer.rssBytes,
    syncCount: answer.syncCount,
    volumeEpoch: highest((segment) => segment.volumeEpoch),
    membershipEpoch: highest((segment) => segment.membershipEpoch),
    generation: answer.generation,
  };
}

function bytes(count: number | null): string {
  if (count === null) return '-';
  if (count < 1024) return `${count} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = count / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(1)} ${units[unit] ?? ''}`;
}

export function renderStatus(status: ClusterStatus): string {
  const latency = status.commitLatencyMs;
  const lines = [
    `cluster ${status.cluster}   engine ${status.engine.state}` +
      `${status.engine.pid === null ? '' : ` (pid ${status.engine.pid})`} on ${status.engine.listen}` +
      `   epoch ${status.volumeEpoch ?? '-'}   VDL ${status.vdl ?? '-'}`,
    latency === null || latency.count === 0
      ? 'commit latency: none yet'
      : `commit latency: p50 ${latency.p50.toFixed(2)} ms, p95 ${latency.p95.toFixed(2)} ms,` +
        ` p99 ${latency.p99.toFixed(2)} ms, max ${latency.max.toFixed(2)} ms of ${latency.count}`,
    '',
  ];
  const head = ['node', 'zone', 'state', 'pid', 'SCL lag', 'journal', 'pages', 'memory', 'epoch'];
  const rows = status.nodes.map((node) => [
    node.id,
    node.zone,
    node.state,
    String(node.pid ?? '-'),
    String(node.sclLag ?? '-'),
    bytes(node.journalBytes),
    bytes(node.pageBytes),
    bytes(node.rssBytes),
    String(node.volumeEpoch ?? '-'),
  ]);
  lines.push(...table(head, rows));
  if (status.lockServers.length > 0) {
    const lockRows = status.lockServers.map((server) => [
      server.id,
      server.state,
      String(server.pid ?? '-'),
      String(server.groups ?? '-'),
      String(server.locks ?? '-'),
      String(server.waiting ?? '-'),
    ]);
    lines.push(
      '',
      ...table(['lock server', 'state', 'pid', 'groups', 'locks', 'waiting'], lockRows),
    );
  }
  if (status.fileServers.length > 0) {
    const fileRows = status.fileServers.map((server) => [
      server.name,
      server.disk,
      server.state,
      String(server.token),
      server.leaseMsLeft === null ? '-' : `${(server.leaseMsLeft / 1000).toFixed(1)} s`,
    ]);
    lines.push('', ...table(['file server', 'disk', 'state', 'token', 'lease'], fileRows));
  }
  return `${lines.join('\n')}\n`;
}
