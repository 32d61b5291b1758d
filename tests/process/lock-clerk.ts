/**
 * A process with clerks, started by locks.test.ts: workers take locks, change blocks that the parent keeps, and use the
 * coordination tree. All it does is told to the parent, with times of the machine's monotonic clock, which all processes
 * share: whatever signals it gets, what it believed when is known.
 */
import { isSextantError } from '#core/errors.js';
import { realWorld } from '#core/world/real/real-world.js';
import { openClerk, type Clerk, type LockHandle } from '#lockservice/clerk/index.js';
import { WriteRefused } from '#lockservice/clerk/coordination/coordination.js';
import type { LockMode } from '../linearizability/locks.js';
import type { NodeInput, NodeOutput } from '../linearizability/versioned.js';

export interface ClerkConfig {
  readonly cluster: string;
  readonly servers: readonly string[];
  readonly name: string;
  readonly leaseMs: number;
  readonly workers: number;
  readonly ids: number;
}

/** To the parent. Of a question there is an answer with its number. */
export type ClerkReport =
  | { readonly t: 'opened'; readonly token: number }
  | {
      readonly t: 'took';
      readonly hold: string;
      readonly client: string;
      readonly key: string;
      readonly mode: LockMode;
      readonly callMs: number;
      readonly fromMs: number;
    }
  /** The lock was surely held at that time. */
  | { readonly t: 'holds'; readonly hold: string; readonly atMs: number }
  | { readonly t: 'gave'; readonly hold: string; readonly endMs: number }
  | { readonly t: 'read'; readonly n: number; readonly token: number; readonly key: string }
  | {
      readonly t: 'write';
      readonly n: number;
      readonly client: string;
      readonly token: number;
      readonly clock: number;
      readonly key: string;
      readonly expected: number | null;
      readonly callMs: number;
    }
  | { readonly t: 'fence'; readonly n: number; readonly token: number }
  | {
      readonly t: 'ask';
      readonly op: string;
      readonly client: string;
      readonly path: string;
      readonly input: NodeInput;
      readonly callMs: number;
    }
  | { readonly t: 'told'; readonly op: string; readonly output: NodeOutput }
  | { readonly t: 'wrong'; readonly what: string };

export interface StoreAnswer {
  readonly n: number;
  readonly result?: 'stored' | 'superseded' | 'fenced';
  readonly value?: number | null;
  readonly clock?: number;
}

const TABLE = 'files';
const world = realWorld({ log: 'silent' });
const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;
const tell = (report: ClerkReport): void => void process.send?.(report);

const waiting = new Map<number, (answer: StoreAnswer) => void>();
let questions = 0;
let holds = 0;

type Question = Extract<ClerkReport, { n: number }>;
type Unnumbered<T> = T extends Question ? Omit<T, 'n'> : never;

function ask(question: Unnumbered<Question>): Promise<StoreAnswer> {
  const n = ++questions;
  return new Promise((resolve) => {
    waiting.set(n, resolve);
    tell({ ...question, n } as ClerkReport);
  });
}

let current: Clerk | undefined;

process.on('message', (answer: StoreAnswer | 'stop') => {
  if (answer === 'stop') {
    void (current?.close() ?? Promise.resolve()).finally(() => process.exit(0));
    return;
  }
  waiting.get(answer.n)?.(answer);
  waiting.delete(answer.n);
});
process.on('disconnect', () => process.exit(0));

const pick = (bound: number): number => world.random.below(bound);
const EXPECTED = new Set(
  'LEASE_LOST FENCED TIMEOUT CONFLICT CANCELLED NOT_LEADER NOT_READY DISCONNECTED OVERLOADED CLOSED'.split(
    ' ',
  ),
);

function expected(error: unknown): void {
  if (isSextantError(error) && EXPECTED.has(error.code)) return;
  tell({ t: 'wrong', what: error instanceof Error ? (error.stack ?? '') : String(error) });
}

/** `handle.valid` only ever falls: what it says now was so at every time since it was granted. */
function confirm(hold: string, handle: LockHandle): boolean {
  const atMs = nowMs();
  if (!handle.valid) return false;
  tell({ t: 'holds', hold, atMs });
  return true;
}

async function lockWork(clerk: Clerk, client: string, ids: number): Promise<void> {
  const id = pick(ids) + 1;
  const mode: LockMode = pick(3) === 0 ? 'shared' : 'exclusive';
  const callMs = nowMs();
  const handle = await clerk.acquire(id, mode, { timeoutMs: 20_000 });
  const fromMs = nowMs();
  if (!handle.valid) return;
  const hold = `${client}/${++holds}`;
  tell({ t: 'took', hold, client, key: `${id}`, mode, callMs, fromMs });
  try {
    if (mode === 'exclusive') await changeBlock(clerk, client, `${id}`, handle, callMs);
    await world.timers.sleep(pick(10));
    if (!confirm(hold, handle)) return;
  } finally {
    handle.release();
  }
  tell({ t: 'gave', hold, endMs: nowMs() });
}

async function changeBlock(
  clerk: Clerk,
  client: string,
  key: string,
  handle: LockHandle,
  callMs: number,
): Promise<void> {
  const { token } = clerk;
  const before = await ask({ t: 'read', token, key });
  if (before.result === 'fenced' || !handle.valid) return;
  await world.timers.sleep(pick(5));
  if (!handle.valid) return;
  const clock = clerk.tick();
  const block = { client, token, clock, key, expected: before.value ?? null, callMs };
  const { result } = await ask({ t: 'write', ...block });
  if (result === 'superseded' && handle.valid) {
    tell({ t: 'wrong', what: `TAG-1: ${client} wrote ${key} at ${clock} under a valid lock` });
  }
}

async function treeWork(clerk: Clerk, client: string): Promise<void> {
  const path = `/n${pick(2)}`;
  const seen = await operate(clerk, client, path, { op: 'get' });
  const version = seen !== undefined && 'node' in seen ? (seen.node?.version ?? -1) : -1;
  const data = `${client}/${++holds}`;
  if (version < 0) await operate(clerk, client, path, { op: 'create', data });
  else await operate(clerk, client, path, { op: 'set', data, version });
}

async function operate(
  clerk: Clerk,
  client: string,
  path: string,
  input: NodeInput,
): Promise<NodeOutput | undefined> {
  const op = `${client}/${++holds}`;
  tell({ t: 'ask', op, client, path, input, callMs: nowMs() });
  try {
    const output = await perform(clerk, path, input);
    tell({ t: 'told', op, output });
    return output;
  } catch (error) {
    const refused = error instanceof WriteRefused ? error.code : undefined;
    if (refused !== 'EXISTS' && refused !== 'NOT_FOUND' && refused !== 'CONFLICT') throw error;
    tell({ t: 'told', op, output: { refused } });
    return { refused };
  }
}

async function perform(clerk: Clerk, path: string, input: NodeInput): Promise<NodeOutput> {
  const tree = clerk.coordination;
  if (input.op === 'create') return { version: (await tree.create(path, input.data)).stat.version };
  if (input.op === 'set') {
    return { version: (await tree.set(path, input.data, { version: input.version })).version };
  }
  const [node] = (await tree.readAll([path])).nodes;
  return { node: node ? { version: node.stat.version, data: node.text } : null };
}

/** Until the clerk is lost. */
async function work(clerk: Clerk, client: string, ids: number): Promise<void> {
  while (!clerk.lost.aborted) {
    try {
      if (pick(4) === 0) await treeWork(clerk, client);
      else await lockWork(clerk, client, ids);
    } catch (error) {
      expected(error);
    }
    await world.timers.sleep(pick(5));
  }
}

async function main(config: ClerkConfig): Promise<void> {
  const { cluster, servers, leaseMs, workers, ids } = config;
  for (let session = 1; ; session++) {
    const name = `${config.name}/${process.pid}/${session}`;
    try {
      const clerk = await openClerk({
        cluster,
        servers,
        name,
        kind: 'fs',
        recovery: true,
        table: TABLE,
        leaseMs,
        world,
        onRecovery: async ({ dead, state }, steps) => {
          const { clock = 0 } = await ask({ t: 'fence', token: dead });
          if (state === 'expired') await steps.fenced(clock);
          await steps.recovered(clock);
        },
      });
      current = clerk;
      tell({ t: 'opened', token: clerk.token });
      await Promise.all(
        Array.from({ length: workers }, (_, i) => work(clerk, `${name}#${i}`, ids)),
      );
    } catch (error) {
      expected(error);
      await world.timers.sleep(50);
    }
  }
}

void main(JSON.parse(process.argv[2] ?? '{}') as ClerkConfig);
