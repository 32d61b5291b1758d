/**
 * Three lock servers without Raft: one replicated tree, whoever is leader serves it. Requests and answers get lost and
 * leaders change, so that what the client does about it is seen.
 */
import { SextantError } from '#core/errors.js';
import type { Simulation } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import { CoordinationService } from '../../coordination/coordination-service.js';
import { CoordinationTree } from '../../coordination/coordination-tree.js';
import type { CoordinationCommand } from '../../coordination/messages.js';
import { MessageType } from '../../protocol/messages.js';
import { Coordination } from './coordination.js';

export class FakeGroup {
  readonly tree = new CoordinationTree();
  readonly world: World;
  readonly services: CoordinationService[];
  /** -1: none. */
  leader = 0;
  index = 0;
  /** Probability that a request, an answer or a push gets lost. */
  loss = 0;
  delayMs = 1;
  /** False: every message takes as long as every other, so that none overtakes another. */
  jitter = true;
  requests = 0;
  /** Whom something was pushed to. */
  readonly pushes: number[] = [];
  readonly #clients = new Map<number, FakeClient>();

  constructor(sim: Simulation) {
    this.world = sim.process('servers').start();
    this.services = [0, 1, 2].map(
      (id) =>
        new CoordinationService(this.world, {
          propose: async (command) => {
            await this.#pause();
            this.refuseUnlessLeader(id);
            return this.apply(command);
          },
          readIndex: async () => {
            await this.#pause();
            this.refuseUnlessLeader(id);
            return this.index;
          },
          tree: () => this.tree,
          push: (token, body) => {
            this.pushes.push(token);
            if (this.isLost()) return;
            this.world.timers.after(this.delayMs, () => {
              const client = this.#clients.get(token);
              if (client?.live === true) client.coordination.received(body);
            });
          },
        }),
    );
  }

  get #service(): CoordinationService | undefined {
    return this.services[this.leader];
  }

  client(sim: Simulation, token: number): FakeClient {
    const client = new FakeClient(this, sim.process(`clerk-${token}`).start(), token);
    this.#clients.set(token, client);
    return client;
  }

  /** No leader for a while, then another one, which knows nothing of watches. */
  async change(next: number, pauseMs: number): Promise<void> {
    const before = this.#service;
    this.leader = -1;
    before?.onLeadership(false);
    await this.world.timers.sleep(pauseMs);
    this.leader = next;
    this.#service?.onLeadership(true);
  }

  /** Its lease ran out. */
  expire(token: number): void {
    this.#clients.get(token)?.lose();
    this.index++;
    const events = this.tree.expireSession(this.index, token);
    this.#service?.onApplied(events);
    this.#service?.onDisconnect(token);
  }

  apply(command: CoordinationCommand) {
    if (this.#clients.get(command.token)?.live !== true) {
      throw new SextantError('LEASE_LOST', 'not a live clerk');
    }
    this.index++;
    const result = this.tree.apply(this.index, command);
    this.#service?.onApplied(result.events);
    return result;
  }

  refuseUnlessLeader(id: number): void {
    if (id !== this.leader) throw new SextantError('NOT_LEADER', 'leader=?');
  }

  isLost(): boolean {
    return this.world.random.unit() < this.loss;
  }

  async serve(token: number, type: number, body: Uint8Array): Promise<Uint8Array> {
    this.requests++;
    const service = this.#service;
    if (service === undefined) throw new SextantError('NOT_LEADER', 'no leader');
    return type === MessageType.coordWrite
      ? await service.write(token, body)
      : await service.read(token, body);
  }

  #pause(): Promise<void> {
    return this.sleep(this.world);
  }

  sleep(world: World): Promise<void> {
    return world.timers.sleep((this.jitter ? world.random.unit() : 1) * this.delayMs);
  }
}

export class FakeClient {
  readonly coordination: Coordination;
  readonly token: number;
  readonly #group: FakeGroup;
  readonly #world: World;
  readonly #lost = new AbortController();

  constructor(group: FakeGroup, world: World, token: number) {
    this.#group = group;
    this.#world = world;
    this.token = token;
    this.coordination = new Coordination({
      world,
      token,
      lost: this.#lost.signal,
      call: (_type, body, options) => this.#call(_type, body, options),
    });
  }

  get live(): boolean {
    return !this.#lost.signal.aborted;
  }

  lose(): void {
    this.#lost.abort(new SextantError('LEASE_LOST', `clerk ${this.token} expired`));
  }

  async #call(
    type: number,
    body: Uint8Array,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<Uint8Array> {
    const { timers } = this.#world;
    const late = async (): Promise<never> => {
      await timers.sleep(options.timeoutMs);
      throw new SextantError('TIMEOUT', 'no answer');
    };
    const cancel = new Promise<never>((_resolve, reject) => {
      options.signal?.addEventListener('abort', () =>
        reject(new SextantError('CANCELLED', 'call cancelled')),
      );
    });
    const answer = async (): Promise<Uint8Array> => {
      await this.#group.sleep(this.#world);
      if (this.#group.isLost()) return late();
      const bytes = await this.#group.serve(this.token, type, body);
      await this.#group.sleep(this.#world);
      return this.#group.isLost() ? late() : bytes;
    };
    return Promise.race([answer(), cancel]);
  }
}
