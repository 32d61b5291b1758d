/**
 * `sextant.json`: one file that describes a cluster, the same for every command and machine.
 *
 * ```json
 * {
 *   "cluster": "orders",
 *   "nodes": [
 *     { "id": "node-1", "zone": "a", "address": "10.0.1.11:7001", "data": "/var/lib/sextant/node-1" }
 *   ],
 *   "lockServers": [{ "id": "lock-1", "address": "10.0.1.11:7201", "data": "/var/lib/sextant/lock-1" }],
 *   "engine": { "listen": "0.0.0.0:5433", "status": "10.0.1.10:7100", "bufferMiB": 1024 }
 * }
 * ```
 *
 * `lockServers` may be absent: a database alone needs none. Relative `data` folders are relative to the file.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { SextantError } from '#core/errors.js';

const ADDRESS = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$/, 'an address is host:port, as in 127.0.0.1:7001');

const NODE = z.strictObject({
  id: z.string().regex(/^[a-z0-9-]{1,32}$/, 'a node id is 1 to 32 of a-z, 0-9 and -'),
  zone: z.string().regex(/^[a-z0-9-]{1,32}$/, 'a zone is 1 to 32 of a-z, 0-9 and -'),
  address: ADDRESS,
  data: z.string().min(1),
});

const LOCK_SERVER = z.strictObject({
  id: z.string().regex(/^[a-z0-9-]{1,32}$/, 'a lock server id is 1 to 32 of a-z, 0-9 and -'),
  address: ADDRESS,
  data: z.string().min(1),
});
const LOCK_SERVERS_MAX = 9;

const ENGINE = z.strictObject({
  /** Of the place: an engine of the same name replaces its predecessor, one of another name stands by. */
  name: z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/, 'an engine name is 1 to 32 of a-z, 0-9 and -')
    .default('engine'),
  listen: ADDRESS,
  status: ADDRESS,
  bufferMiB: z.int().min(8).max(1_048_576).default(256),
  /** Pages of 8 KiB in one protection group; fixed when the volume is made. */
  pagesPerPg: z.int().min(64).optional(),
  /** user name -> password; none: trust. */
  users: z.record(z.string(), z.strictObject({ password: z.string().min(1) })).optional(),
});

const CLUSTER = z
  .strictObject({
    cluster: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,64}$/, 'a cluster name is 1 to 64 of A-Z, a-z, 0-9, _ and -'),
    nodes: z.array(NODE).length(6, 'a cluster has six storage nodes'),
    lockServers: z
      .array(LOCK_SERVER)
      .max(LOCK_SERVERS_MAX, `a cluster has at most ${LOCK_SERVERS_MAX} lock servers`)
      .default([]),
    engine: ENGINE,
  })
  .superRefine((value, context) => {
    const refuse = (message: string): void => {
      context.addIssue({ code: 'custom', path: ['nodes'], message });
    };
    const zones = new Map<string, number>();
    for (const node of value.nodes) zones.set(node.zone, (zones.get(node.zone) ?? 0) + 1);
    if (zones.size !== 3 || [...zones.values()].some((count) => count !== 2)) {
      refuse('six nodes lie in three zones, two in each');
    }
    for (const key of ['id', 'address', 'data'] as const) {
      if (new Set(value.nodes.map((node) => node[key])).size !== 6)
        refuse(`two nodes share one ${key}`);
      const all = [...value.nodes, ...value.lockServers].map((one) => one[key]);
      if (new Set(all).size !== all.length) {
        refuse(`two lock servers, or one and a node, share one ${key}`);
      }
    }
  });

export type ClusterConfig = z.infer<typeof CLUSTER>;
export type LockServerConfig = ClusterConfig['lockServers'][number];
export type NodeConfig = ClusterConfig['nodes'][number];

/** Reads and checks a file; throws CONFIG with one line that names file, place and remedy. */
export function readClusterConfig(path: string): ClusterConfig {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new SextantError('CONFIG', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SextantError('CONFIG', `${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const config = parseClusterConfig(value, path);
  const home = dirname(resolve(path));
  return {
    ...config,
    nodes: config.nodes.map((node) => ({ ...node, data: resolve(home, node.data) })),
    lockServers: config.lockServers.map((one) => ({ ...one, data: resolve(home, one.data) })),
  };
}

export function parseClusterConfig(value: unknown, path: string): ClusterConfig {
  const parsed = CLUSTER.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const place = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  throw new SextantError(
    'CONFIG',
    `${path}: ${place}${issue?.message ?? 'not a cluster description'}`,
  );
}
