/**
 * A file server as far as the disk sees one: takes locks, reads, writes in place or through its log, gives locks back, recovers
 * the dead. It never looks at its lease again once it has a lock, so one whose lease ended is a zombie that goes on.
 */
import { isSextantError } from '#core/errors.js';
import type { SimRandom } from '#core/world/simulated/random.js';
import type { World } from '#core/world/world.js';
import { registerBytes, type RegisterContent, type Tag } from '#fs-frontend/disk/disk.js';
import type { DiskClient } from '#fs-frontend/disk/disk-client.js';
import type { Faults as DiskFaults } from '#fs-frontend/disk/faults.js';
import { ADDRESSES } from '#fs-frontend/disk/cluster.test-helper.js';
import { openDisk } from '#fs-frontend/disk/open-disk.js';
import type { Lockable, LogRecord, Oracle } from './oracle.js';

export interface ClerkFaults {
  /** Rule 16: replay writes a tag of its own. */
  readonly freshTag?: boolean;
}

const CALL_MS = 4000;

export class SimClerk {
  readonly token: number;
  readonly #oracle: Oracle;
  readonly #random: SimRandom;
  readonly #world: World;
  readonly #faults: ClerkFaults & DiskFaults;
  #disk!: DiskClient;
  #clock = 0;
  #fenceEpoch = 0;
  /** Locks that it never gave back, as far as it knows. */
  readonly #held = new Set<Lockable>();
  /** Tags as last read or written, under locks that it holds. */
  readonly #tags = new Map<string, Tag>();

  constructor(
    world: World,
    oracle: Oracle,
    token: number,
    random: SimRandom,
    faults: ClerkFaults & DiskFaults = {},
  ) {
    this.#world = world;
    this.#oracle = oracle;
    this.#random = random;
    this.#faults = faults;
    this.token = token;
  }

  /** Until it finds that it is fenced, or `isOver`. */
  async run(isOver: () => boolean): Promise<void> {
    this.#disk = await openDisk(this.#world, {
      cluster: 'test',
      nodes: ADDRESSES,
      name: 'fs',
      token: this.token,
      create: {},
      faults: this.#faults,
    });
    while (!isOver()) {
      try {
        await this.#recover();
        if (this.#random.chance(0.03)) await this.#snapshot();
        if (this.#oracle.begin(this.token)) {
          await this.#work();
          this.#oracle.end(this.token);
        } else await this.#world.timers.sleep(3);
      } catch (error) {
        if (isSextantError(error, 'FENCED') || isSextantError(error, 'CLOSED')) return;
        if (isSextantError(error, 'CONFLICT') && this.#oracle.isLive(this.token)) {
          this.#oracle.violate('TagOrder', `token ${this.token}: ${error.message}`);
          return;
        }
        if (!isSextantError(error)) throw error;
        // Something did not work out: the lease is given up, and the locks are recovered.
        this.#oracle.expire(this.token);
        await this.#disk.close();
        return;
      }
    }
    await this.#disk.close();
  }

  async #work(): Promise<void> {
    const lock = this.#oracle.locks[this.#random.below(this.#oracle.locks.length)];
    const grant = this.#oracle.acquire(this.token, lock);
    if (grant === undefined) {
      await this.#world.timers.sleep(1 + this.#random.below(10));
      const isZombie = !this.#oracle.isLive(this.token);
      if (isZombie && this.#held.has(lock)) await this.#haunt(lock);
      return;
    }
    this.#held.add(lock);
    this.#clock = Math.max(this.#clock, grant.clock);
    if (grant.fenceEpoch > this.#fenceEpoch) {
      await this.#disk.refreshFences();
      this.#fenceEpoch = grant.fenceEpoch;
    }
    await this.#read(lock);
    const changes = this.#random.below(4);
    if (lock.logged) await this.#change(lock, changes);
    for (let i = 0; i < changes && !lock.logged; i++) {
      await this.#write(lock);
      if (this.#random.chance(0.2)) await this.#read(lock);
    }
    if (this.#random.chance(0.5)) this.#disk.reportComplete(this.#clock);
    // Locks are sticky.
    if (this.#random.chance(0.3)) return;
    this.#held.delete(lock);
    this.#oracle.release(this.token, lock, this.#clock);
  }

  /** Under the barrier; not for long, as the others wait. */
  async #snapshot(): Promise<void> {
    const { timers } = this.#world;
    if (!this.#oracle.isLive(this.token) || !this.#oracle.raiseBarrier(this.token)) return;
    try {
      for (let i = 0; !this.#oracle.isQuiet(this.token); i++) {
        if (i > 40) return;
        await timers.sleep(5);
      }
      const frozen = this.#oracle.freeze(this.token);
      frozen.took(
        await this.#disk.snapshot(`s-${this.token}-${this.#clock}-${this.#random.u32()}`),
      );
    } finally {
      this.#oracle.end(this.token);
    }
  }

  /** What a snapshot shows. */
  static valueIn(content: RegisterContent): number {
    return valueOf(content);
  }

  /** A zombie does not know: it writes as if it had the lock, until somebody tells it. */
  async #haunt(lock: Lockable): Promise<void> {
    if (lock.logged) return;
    await this.#write(lock);
  }

  async #read(lock: Lockable): Promise<void> {
    const reads = lock.registers.map(({ region, index }) => ({ region, index, count: 1 }));
    const found = await this.#disk.read(reads, { deadlineMs: CALL_MS });
    found.forEach((content, i) => {
      this.#tags.set(`${lock.id}/${i}`, content.tags[0]);
      this.#oracle.observed(this.token, lock, i, valueOf(content));
    });
  }

  async #write(lock: Lockable): Promise<void> {
    const chosen = lock.registers.map((_, i) => i).filter(() => this.#random.chance(0.6));
    const made = chosen.map((i) => {
      const value = this.#oracle.attempt(this.token, lock, i);
      return { i, value, tag: { clock: ++this.#clock, token: this.token } };
    });
    await this.#disk.write(
      made.map(({ i, value, tag }) => {
        const { region, index } = lock.registers[i];
        return { region, index, tag, bytes: bytesOf(value, registerBytes(region)) };
      }),
      { deadlineMs: CALL_MS },
    );
    for (const { i, value, tag } of made) {
      this.#oracle.completed(this.token, lock, i, value);
      this.#tags.set(`${lock.id}/${i}`, tag);
    }
  }

  /** Log first; in place later, the newest only; then the log is free. */
  async #change(lock: Lockable, count: number): Promise<void> {
    const newest = new Map<number, LogRecord>();
    for (let k = 0; k < count; k++) {
      const i = this.#random.below(lock.registers.length);
      const previous = this.#tags.get(`${lock.id}/${i}`) ?? { clock: 0, token: 0 };
      const tag = { clock: ++this.#clock, token: this.token };
      const value = this.#oracle.attempt(this.token, lock, i);
      const record: LogRecord = { lock, register: i, previous, tag, value };
      if (!this.#oracle.synced(this.token, record)) return;
      this.#tags.set(`${lock.id}/${i}`, tag);
      newest.set(i, record);
      if (this.#random.chance(0.6)) await this.#world.timers.sleep(this.#random.below(30));
    }
    for (const record of newest.values()) await this.#put(record, record.tag);
    this.#oracle.freeLog(this.token);
  }

  async #put({ lock, register, value }: LogRecord, tag: Tag): Promise<void> {
    const { region, index } = lock.registers[register];
    const bytes = bytesOf(value, registerBytes(region));
    await this.#disk.write([{ region, index, tag, bytes }], { deadlineMs: CALL_MS });
  }

  /** As a demon: fence, replay, pass the locks on. */
  async #recover(): Promise<void> {
    const task = this.#oracle.task(this.token);
    if (task === undefined) return;
    const { clock } = await this.#disk.fence(task.token);
    let highest = clock;
    for (const record of task.log) {
      highest = Math.max(highest, record.tag.clock);
      await this.#replay(record);
      // Now and then a demon dies half-way.
      if (this.#random.chance(0.1)) await this.#world.timers.sleep(this.#random.below(40));
    }
    this.#oracle.recovered(this.token, task.token, highest);
  }

  async #replay(record: LogRecord): Promise<void> {
    const { region, index } = record.lock.registers[record.register];
    const [{ tags }] = await this.#disk.read([{ region, index, count: 1 }], {
      deadlineMs: CALL_MS,
    });
    const [found] = tags;
    if (!isOlder(found, record.tag)) return;
    const { previous } = record;
    if (found.clock !== previous.clock || found.token !== previous.token) {
      const text = `(${found.clock}, ${found.token})`;
      const wanted = `(${previous.clock}, ${previous.token})`;
      this.#oracle.violate('FS-3', `replay met version ${text}, not ${wanted}`);
      return;
    }
    const fresh = { clock: this.#clock + 1, token: this.token };
    if (this.#faults.freshTag === true) this.#clock++;
    await this.#put(record, this.#faults.freshTag === true ? fresh : record.tag);
  }
}

function isOlder(a: Tag, b: Tag): boolean {
  return a.clock < b.clock || (a.clock === b.clock && a.token < b.token);
}

function bytesOf(value: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size).fill(value & 0xff);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** -1: torn. */
function valueOf({ bytes }: RegisterContent): number {
  const value = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  for (let i = 4; i < bytes.length; i++) if (bytes[i] !== (value & 0xff)) return -1;
  return value;
}
