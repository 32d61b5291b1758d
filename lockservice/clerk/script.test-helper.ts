/** Runs a clerk core without servers and writes down what it does, one line for each event. */
import type { SextantError } from '#core/errors.js';
import { LockItem, VectorReader, VectorWriter } from '../protocol/lock-vectors.js';
import type { VectorType } from '../protocol/lock-vectors.js';
import { LOCK_GROUPS, MessageType } from '../protocol/messages.js';
import type { GroupMap, Level, LockMode, RefuseCode } from '../protocol/messages.js';
import { Waiter, type CachedLock } from './cached-lock.js';
import { ClerkCore, type ClerkCoreOptions, type FlushTask } from './clerk-core.js';
import type { CachedTable } from './lock-cache.js';
import { aspectOf, levelOf } from './lock-modes.js';

export const TOKEN = 7;
const NAMES = new Map<number, string>([
  [MessageType.request, 'REQUEST'],
  [MessageType.release, 'RELEASE'],
  [MessageType.cancel, 'CANCEL'],
  [MessageType.claim, 'CLAIM'],
]);
const LEVELS = ['none', 'shared', 'exclusive'];

export function mapOf(owner: string | null, epoch: number, version = epoch): GroupMap {
  return {
    version,
    servers: [
      { id: 's1', address: 's1:1' },
      { id: 's2', address: 's2:1' },
    ],
    groups: Array.from({ length: LOCK_GROUPS }, () => ({ owner, epoch })),
  };
}

export class ScriptWaiter extends Waiter {
  readonly #script: Script;
  readonly #name: string;
  settled = false;

  constructor(
    script: Script,
    name: string,
    lock: CachedLock,
    level: Level,
    noWait: boolean,
    upgrade: boolean,
  ) {
    super(lock, level, noWait, upgrade);
    this.#script = script;
    this.#name = name;
  }

  settle(error: SextantError | undefined): void {
    this.settled = true;
    const what =
      error === undefined ? `has it${this.interrupted ? ', interrupted' : ''}` : error.code;
    this.#script.lines.push(`  ${this.#name}: ${what}`);
  }
}

export class Script {
  readonly lines: string[] = [];
  readonly core: ClerkCore;
  readonly table: CachedTable;
  nowMs = 1000;
  /** Flushes that the owner was told of and has not ended. */
  flushes: FlushTask[] = [];
  readonly #reader = new VectorReader();

  constructor(options: Partial<ClerkCoreOptions> = {}) {
    this.core = new ClerkCore(
      {
        token: TOKEN,
        leaseMs: 10_000,
        sentMs: 1000,
        map: mapOf('s1', 1),
        clock: 0,
        fenceEpoch: 0,
        idleMs: 3_600_000,
        locksMax: 1000,
        waitersMax: 100,
        flushDeadlineMs: 10_000,
        ...options,
      },
      {
        wake: () => undefined,
        flush: (_table, tasks) => {
          this.flushes.push(...tasks);
          for (const { lock, keep } of tasks) {
            this.lines.push(`  owner: flush ${String(lock.id)}, keep ${LEVELS[keep]}`);
          }
        },
        revoking: (lock) => this.lines.push(`  users of ${String(lock.id)} are told`),
        mapStale: () => this.lines.push('  map is stale'),
        retryIn: () => undefined,
        onLost: (error) => this.lines.push(`  lost: ${error.code}`),
      },
    );
    this.table = this.core.addTable('t', 1);
  }

  say(line: string): void {
    this.lines.push(line);
  }

  /** Names the step, does it, and sends what the core has to send. */
  step(line: string, fn: () => void): void {
    this.lines.push(line);
    fn();
    this.drain();
  }

  lock(id: number, mode: LockMode): CachedLock {
    const aspect = aspectOf(mode);
    return this.table.find(id, aspect) ?? this.core.lockOf(this.table, 0, id, aspect);
  }

  acquire(name: string, id: number, mode: LockMode, noWait = false): ScriptWaiter {
    const lock = this.lock(id, mode);
    const waiter = new ScriptWaiter(this, name, lock, levelOf(mode), noWait, false);
    this.step(`${name} acquires ${id} ${mode}${noWait ? ', no wait' : ''}`, () => {
      if (!this.core.alive(this.nowMs)) waiter.settle(this.core.error);
      else if (this.core.take(lock, levelOf(mode))) this.lines.push(`  ${name}: has it at once`);
      else this.core.wait(waiter);
    });
    return waiter;
  }

  done(name: string, id: number, mode: LockMode): void {
    this.step(`${name} is done with ${id}`, () =>
      this.core.done(this.lock(id, mode), levelOf(mode)),
    );
  }

  upgrade(name: string, id: number): ScriptWaiter {
    const waiter = new ScriptWaiter(this, name, this.lock(id, 'shared'), 2, false, true);
    this.step(`${name} upgrades ${id}`, () => this.core.upgrade(waiter));
    return waiter;
  }

  flushed(ok = true): void {
    const tasks = this.flushes;
    this.flushes = [];
    this.step(`owner: flushed${ok ? '' : ', failed'}`, () => {
      for (const task of tasks) this.core.flushed(task, ok);
    });
  }

  grant(id: number, level: Level, request: number, grant: number, epoch = 1, clock = 0): void {
    this.step(`GRANT ${id} ${LEVELS[level]} r${request} g${grant} epoch ${epoch}`, () => {
      this.#hear(
        MessageType.grant,
        { id, level, request, grant: number(epoch, grant), epoch },
        clock,
      );
    });
  }

  revoke(id: number, level: Level, grant: number, epoch = 1): void {
    this.step(`REVOKE ${id} g${grant} keep ${LEVELS[level]}`, () =>
      this.#hear(
        MessageType.revoke,
        { id, level, request: 0, grant: number(epoch, grant), epoch },
        0,
      ),
    );
  }

  refuse(id: number, request: number, why: RefuseCode): void {
    this.step(`REFUSE ${id} r${request} why ${why}`, () =>
      this.#hear(MessageType.refuse, { id, level: 0, request, grant: 0, epoch: 1, why }, 0),
    );
  }

  rebuild(server: string, epoch: number): void {
    const group = this.lock(1, 'shared').group;
    this.step(`REBUILD by ${server} epoch ${epoch}`, () =>
      this.core.rebuild({ server, groups: [{ group, epoch }] }, this.nowMs),
    );
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.step(`${ms} ms pass`, () => this.core.tick(this.nowMs));
  }

  drain(): void {
    this.core.drain(this.nowMs, (server, type, body) => {
      this.lines.push(`  to ${server}: ${this.#show(type as VectorType, body)}`);
      return true;
    });
  }

  #show(type: VectorType, body: Uint8Array): string {
    const reader = this.#reader;
    reader.open(type, body);
    const items: string[] = [];
    while (reader.next()) {
      const { item } = reader;
      const level = LEVELS[item.level];
      const grant = `g${item.grant % 2 ** 32}`;
      if (type === MessageType.request) {
        items.push(
          `${item.idLow} ${level} r${item.request} e${item.epoch}${item.noWait ? ' no wait' : ''}`,
        );
      } else if (type === MessageType.cancel) items.push(`${item.idLow} r${item.request}`);
      else items.push(`${item.idLow} ${grant} ${level}${item.keeps ? ' keeps' : ''}`);
    }
    const clock = reader.clock === 0 ? '' : ` clock ${reader.clock}`;
    const epoch = type === MessageType.claim ? ` epoch ${reader.epoch}` : '';
    return `${NAMES.get(type)}${epoch} [${items.join(', ')}]${clock}`;
  }

  #hear(
    type: VectorType,
    what: {
      id: number;
      level: Level;
      request: number;
      grant: number;
      epoch: number;
      why?: RefuseCode;
    },
    clock: number,
  ): void {
    const item = new LockItem();
    item.table = 1;
    item.idLow = what.id;
    item.level = what.level;
    item.request = what.request;
    item.grant = what.grant;
    item.epoch = what.epoch;
    if (what.why !== undefined) item.why = what.why;
    const writer = new VectorWriter(type);
    if (type === MessageType.grant) writer.addGrant(item);
    else if (type === MessageType.revoke) writer.addRevoke(item);
    else writer.addRefuse(item);
    this.#reader.open(type, writer.finish({ token: TOKEN, clock, fenceEpoch: 0 }).slice());
    if (type === MessageType.grant) this.core.grants(this.#reader, this.nowMs);
    else if (type === MessageType.revoke) this.core.revokes(this.#reader, this.nowMs);
    else this.core.refusals(this.#reader, this.nowMs);
  }
}

function number(epoch: number, counter: number): number {
  return epoch * 2 ** 32 + counter;
}
