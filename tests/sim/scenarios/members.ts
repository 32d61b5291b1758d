/** Rules 16 and 17: a node takes the place of another in the first group, and with it among the acceptors. */
import { toLsn, type NodeId } from '#core/ids.js';
import {
  beginReplace,
  finishReplace,
  joinReplace,
  members,
  quorumPoint,
  revertReplace,
  type Membership,
} from '#core/quorum/quorum-set.js';
import { NodeLink } from '#engine/volume/node-link.js';
import { RegisterClient, volumeRegisterKey } from '#engine/volume/register-client.js';
import { volumeState } from '#storage-nodes/protocol/codec-json.js';
import { ADDRESSES, SPARE, type NodeSlot } from '../cluster.js';
import type { Scenario, Stage, Writer } from './stage.js';

const SEVEN = [...ADDRESSES, SPARE];
const LAST = 'node-6' as NodeId;
const INTO = SPARE.id as NodeId;
const ROUND_MS = 10_000;

/** Changes the first group's membership in the register, and has the engine look there. */
class Operator {
  readonly #stage: Stage;
  readonly #writer: Writer;
  readonly #register: RegisterClient;

  constructor(stage: Stage, writer: Writer) {
    this.#stage = stage;
    this.#writer = writer;
    const world = stage.sim.process('operator').start();
    const links = SEVEN.map((address) => new NodeLink(world, 'sim', address, SEVEN));
    this.#register = new RegisterClient(
      world,
      new Map(links.map((link) => [link.id, link])),
      volumeRegisterKey(1),
    );
  }

  get membership(): Membership {
    return this.#writer.volume.core.pgs[0].membership;
  }

  /** Decided by the acceptors of the membership so far; then by those of the new one too, which copies it there. */
  async change(step: (current: Membership) => Membership): Promise<void> {
    const before = this.membership;
    await this.#round(before, step);
    const next = step(before);
    await this.#round(next, (current) => current);
    for (let tries = 0; this.membership.epoch < next.epoch; tries++) {
      this.#stage.expect(tries < 10, 'the engine learns of it');
      this.#writer.volume.suspect(0, 0, 0);
      await this.#stage.for(200);
    }
  }

  async #round(acceptors: Membership, step: (current: Membership) => Membership): Promise<void> {
    const change = this.#register.change(
      acceptors,
      (bytes) => {
        if (bytes === null) throw new Error('the register is empty');
        const state = volumeState.decode(bytes);
        const [current, ...rest] = state.pgs;
        if (current.epoch > acceptors.epoch) return bytes;
        return volumeState.encode({ ...state, pgs: [step(current), ...rest] });
      },
      ROUND_MS,
    );
    await this.#stage.run(change);
  }

  /** Every set has reached what was given out when both were known. */
  async join(): Promise<void> {
    const { core } = this.#writer.volume;
    const barrier = core.pgs[0].tail;
    await this.#stage.until(
      () => quorumPoint(this.membership, core.pgs[0].sclOf) >= barrier,
      'both sets have reached the barrier',
    );
    await this.change((current) => joinReplace(current, toLsn(barrier)));
  }
}

const sclOf = (slot: NodeSlot): number =>
  [...(slot.node?.hosts.values() ?? [])].find(({ segment }) => segment.pg === 0)?.segment.scl ?? 0;

async function begun(
  stage: Stage,
): Promise<{ spare: NodeSlot; writer: Writer; operator: Operator }> {
  const writer = await stage.opened([0, 1, 2, 3], { nodes: SEVEN });
  const spare = stage.cluster.addSpare();
  await stage.until(() => spare.node?.state === 'up', 'the new node');
  const operator = new Operator(stage, writer);
  await operator.change((current) => beginReplace(current, LAST, INTO));
  return { spare, writer, operator };
}

export const MEMBERS: readonly Scenario[] = [
  {
    rule: 16,
    name: 'the acceptors move with the first group: the register is there when the old node never comes back',
    async run(stage) {
      const { spare, writer, operator } = await begun(stage);
      for (let i = 0; i < 10; i++) await stage.commit(writer, [i % 4]);
      await operator.join();
      await operator.change((current) => finishReplace(current));
      stage.expect(!members(operator.membership).includes(LAST), 'the old node has left');
      const last = await stage.commit(writer, [0]);
      await stage.until(() => sclOf(spare) === last, 'the new node has it all');
      stage.stop(5);
      writer.process.crash();
      // One that only knows of the old acceptors asks them, and by them the new ones.
      const second = await stage.open({ nodes: SEVEN });
      const { pgs } = second.volume.state;
      stage.expect(members(pgs[0]).includes(INTO), 'it has found the new membership');
      await stage.commit(second, [1]);
      second.process.crash();
      // Of the old set three are left: only with the new node it is four.
      stage.stop(3, 4);
      const moved = [...ADDRESSES.slice(0, 5), SPARE, ...ADDRESSES.slice(5)];
      const third = await stage.open({ nodes: moved });
      const durable = await stage.commit(third, [2]);
      stage.expect(sclOf(spare) >= durable, 'nothing is durable without the new node');
      await stage.readAll(third);
      third.process.crash();
    },
  },
  {
    rule: 17,
    name: 'while both sets count, writes need four of each, and the way back loses nothing',
    async run(stage) {
      const { spare, writer, operator } = await begun(stage);
      await stage.commit(writer, [0]);
      // Four of the new set are not enough: of the old one there are three.
      stage.isolate(writer, 0, 1, 2);
      const waiting = writer.send([1]);
      await stage.for(500);
      stage.expect(sclOf(spare) >= waiting, 'the new node has it');
      stage.expect(writer.volume.vdl < waiting, 'four of the new set make nothing durable');
      stage.heal();
      await stage.until(() => writer.volume.vdl >= waiting, 'four of both do');
      await operator.change((current) => revertReplace(current));
      spare.process.crash();
      const last = await stage.commit(writer, [2]);
      stage.expect(last > waiting, 'it goes on without the new node');
      await stage.finish(writer);
    },
  },
  {
    rule: 17,
    name: 'the engine dies while both sets count: the next one repairs both, and ends the change',
    async run(stage) {
      const { spare, writer } = await begun(stage);
      // What only the old set has, and of the new one three: nobody was told of it.
      stage.isolate(writer, 2, 3, 5);
      stage.sim.network.partition([writer.name], [SPARE.id]);
      writer.send([0]);
      await stage.for(20);
      writer.process.crash();
      stage.heal();
      const next = await stage.open({ nodes: SEVEN });
      const last = await stage.commit(next, [1]);
      await stage.until(() => sclOf(spare) === last, 'the new node is repaired too');
      const stale = await stage.stale(spare, next);
      stage.expect(stale === 'STALE_EPOCH', `the membership before is refused, not ${stale}`);
      next.process.crash();
    },
  },
];
