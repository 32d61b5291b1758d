/**
 * Clerks that fight for few locks while servers die, clerks stop and the network misbehaves. LOCK-1 is looked at whenever
 * somebody holds something; in the end everybody gets everything (no lock is lost, no wait forgotten).
 */
import { expect } from 'vitest';
import { isSextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import type { SimProcess } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import { CLUSTER, LockCluster } from '../server/cluster.test-helper.js';
import type { Clerk } from './clerk.js';
import type { LockHandle } from './lock-handle.js';
import { openClerk } from './open-clerk.js';

const LOCKS = 4;
export const CLERKS = 4;

export class Chaos {
  readonly cluster: LockCluster;
  readonly random: SimRandom;
  readonly held = new Map<LockHandle, { who: string; clerk: Clerk }>();
  readonly violations: string[] = [];
  readonly live = new Map<string, Clerk>();
  readonly processes: SimProcess[] = [];
  taken = 0;
  lost = 0;
  calm = false;

  constructor(seed: number) {
    this.cluster = new LockCluster(seed);
    this.random = new SimRandom(seed).fork('chaos');
    for (let i = 0; i < CLERKS; i++) {
      const name = `c${i}`;
      this.processes.push(this.cluster.sim.process(name, (world) => this.#life(world, name)));
    }
  }

  /** LOCK-1, as each clerk itself sees it at this moment. */
  check(): void {
    const seen = [...this.held].filter(([handle]) => handle.valid);
    for (const [one, a] of seen) {
      for (const [two, b] of seen) {
        if (one === two || one.id !== two.id) continue;
        if (one.mode === 'shared' && two.mode === 'shared') continue;
        this.violations.push(`${a.who} ${one.mode} and ${b.who} ${two.mode} hold ${one.id}`);
      }
    }
  }

  async #life(world: World, who: string): Promise<void> {
    for (;;) {
      let clerk: Clerk;
      try {
        clerk = await openClerk({
          servers: this.cluster.members.map(({ address }) => address),
          cluster: CLUSTER,
          world,
          leaseMs: 1500,
          table: 't',
        });
      } catch {
        await world.timers.sleep(100);
        continue;
      }
      clerk.table('t').onRevoke = (locks) => {
        this.check();
        return world.random.below(2) === 0 ? undefined : world.timers.sleep(locks.length);
      };
      this.live.set(who, clerk);
      await Promise.all([0, 1].map(() => this.#work(world, who, clerk)));
      this.live.delete(who);
      this.lost++;
      await clerk.close();
    }
  }

  async #work(world: World, who: string, clerk: Clerk): Promise<void> {
    const pick = (): number => this.random.below(LOCKS);
    while (!clerk.lost.aborted) {
      if (this.calm) {
        await world.timers.sleep(50);
        continue;
      }
      try {
        const mode = this.random.below(3) === 0 ? 'exclusive' : 'shared';
        if (this.random.below(5) === 0) {
          const wanted = [...new Set([pick(), pick(), pick()])].map(
            (id) => ({ id, mode }) as const,
          );
          const handles = await clerk.acquireMany(wanted, { timeoutMs: 5000 });
          for (const handle of handles) this.held.set(handle, { who, clerk });
          await this.#use(world);
          for (const handle of handles) this.#release(handle);
        } else {
          const noWait = this.random.below(8) === 0;
          const handle = await clerk.acquire(pick(), mode, { timeoutMs: 5000, noWait });
          this.held.set(handle, { who, clerk });
          await this.#use(world);
          if (this.random.below(4) === 0 && handle.mode === 'shared') {
            this.held.delete(handle);
            const ok = await handle.upgrade({ timeoutMs: 3000 }).then(
              () => true,
              () => handle.valid,
            );
            if (ok) this.held.set(handle, { who, clerk });
            await this.#use(world);
          } else if (this.random.below(4) === 0 && handle.valid) {
            handle.downgrade();
            await this.#use(world);
          }
          this.#release(handle);
        }
        this.taken++;
      } catch (error) {
        if (!isSextantError(error)) throw error;
        for (const [handle, { clerk: owner }] of this.held) {
          if (owner === clerk && !handle.valid) this.held.delete(handle);
        }
      }
      await world.timers.sleep(this.random.below(10));
    }
  }

  async #use(world: World): Promise<void> {
    this.check();
    await world.timers.sleep(this.random.below(15));
    this.check();
  }

  #release(handle: LockHandle): void {
    this.held.delete(handle);
    handle.release();
  }

  disturb(): void {
    const { sim, processes, servers, members } = this.cluster;
    const clerk = this.processes[this.random.below(CLERKS)];
    const server = members[this.random.below(members.length)]?.id ?? '';
    if (clerk === undefined) return;
    const name = `c${this.random.below(CLERKS)}`;
    switch (this.random.below(5)) {
      case 0:
        if (clerk.running && !clerk.paused) {
          clerk.pause();
          sim.after(this.random.below(3000), 'resume', () => clerk.running && clerk.resume());
        }
        return;
      case 1:
        if (servers.size === members.length) {
          this.cluster.crash(server);
          sim.after(500 + this.random.below(3000), 'restart', () => processes.get(server)?.start());
        }
        return;
      case 2: {
        sim.network.partition([name], [server], { oneWay: this.random.below(2) === 0 });
        sim.after(this.random.below(2500), 'heal', () => sim.network.heal());
        return;
      }
      case 3:
        sim.network.faults(name, '*', { drop: 0.1, duplicate: 0.1, reorder: 0.3 });
        sim.network.faults('*', name, { drop: 0.1, duplicate: 0.1, reorder: 0.3 });
        sim.after(1500, 'clear', () => sim.network.clearFaults());
        return;
      default:
        if (clerk.running) {
          clerk.crash({ power: false });
          const world = clerk.name;
          for (const [handle, { who }] of this.held) if (who === world) this.held.delete(handle);
          this.live.delete(world);
          sim.after(this.random.below(1000), 'again', () => clerk.start());
        }
    }
  }

  async run(steps: number): Promise<void> {
    const { sim } = this.cluster;
    await this.cluster.start();
    for (const process of this.processes) process.start();
    for (let i = 0; i < steps && this.violations.length === 0; i++) {
      await sim.runFor(100 + this.random.below(500));
      this.disturb();
    }
    await sim.runFor(4000);
    sim.network.heal();
    sim.network.clearFaults();
    for (const process of this.processes) if (process.paused) process.resume();
    await sim.runFor(4000);
    this.calm = true;
  }

  /** Every clerk gets every lock. */
  async settle(): Promise<void> {
    const { sim } = this.cluster;
    await sim.runFor(8000);
    for (let id = 0; id < LOCKS; id++) {
      for (const clerk of this.live.values()) {
        const handle = await sim.runPromise(clerk.acquire(id, 'exclusive'), 10_000, `lock ${id}`);
        expect(handle.valid).toBe(true);
        handle.release();
      }
    }
  }
}
