/**
 * The CASPaxos registers of virtual disks on the storage nodes.
 *
 * ```
 *   disks          {"disks": [{"name", "disk"}]}     every disk that was ever made
 *   disk/<name>    DiskState                         one disk: groups, epoch, snapshots, fences
 * ```
 *
 * Acceptors are the nodes of the first group. A change may run more than once: what it makes bears the
 * random `maker` of its call, by which it knows its own effect again.
 */
import { SextantError } from '#core/errors.js';
import { toNodeId, type NodeId } from '#core/ids.js';
import { registerQuorum, stableMembership, type Membership } from '#core/quorum/quorum-set.js';
import {
  decodeRegisterReply,
  encodeRegisterMessage,
  type RegisterMessage,
  type RegisterValue,
} from '#core/registers/messages.js';
import { Proposer, type ProposerEvent, type RegisterChange } from '#core/registers/proposer.js';
import type { World } from '#core/world/world.js';
import type { DiskState } from '#storage-nodes/protocol/block-geometry.js';
import { diskList, diskState } from '#storage-nodes/protocol/codec-blocks.js';
import { MessageType, type NodeAddress } from '#storage-nodes/protocol/messages.js';
import type { NodeLink } from './node-link.js';

const CALL_MS = 1000;
const NAME = /^[a-z0-9-]{1,32}$/;

export class DiskRegisters {
  readonly #world: World;
  readonly #links: ReadonlyMap<string, NodeLink>;
  readonly #acceptors: Membership;
  readonly #ids: readonly NodeId[];

  constructor(world: World, links: ReadonlyMap<string, NodeLink>, nodes: readonly NodeAddress[]) {
    this.#world = world;
    this.#links = links;
    this.#ids = groupsOf(nodes)[0].map((id) => toNodeId(id));
    this.#acceptors = stableMembership(this.#ids);
  }

  /** Random, for `maker`. */
  maker(): string {
    return Buffer.from(this.#world.random.bytes(8)).toString('hex');
  }

  /** Throws NOT_FOUND, NO_QUORUM. */
  read(name: string, deadlineMs: number): Promise<DiskState> {
    return this.change(name, (current) => current, deadlineMs);
  }

  /** `change` is pure, and knows its own effect again. Rejects with what it throws, NOT_FOUND, NO_QUORUM. */
  async change(
    name: string,
    change: (current: DiskState) => DiskState,
    deadlineMs: number,
  ): Promise<DiskState> {
    if (!NAME.test(name)) throw new SextantError('CONFIG', `disk name: ${name}`);
    const value = await this.#change(
      `disk/${name}`,
      (current) => {
        if (current === null) throw new SextantError('NOT_FOUND', `no disk ${name}`);
        const before = diskState.decode(current);
        const after = change(before);
        return after === before ? current : diskState.encode(after);
      },
      deadlineMs,
    );
    if (value === null) throw new SextantError('NOT_FOUND', `no disk ${name}`);
    return diskState.decode(value);
  }

  /** Makes a disk, or finds it made. Throws CONFIG, NO_QUORUM. */
  async create(
    name: string,
    first: Pick<DiskState, 'groups' | 'dataCopies'>,
    deadlineMs: number,
  ): Promise<DiskState> {
    if (!NAME.test(name)) throw new SextantError('CONFIG', `disk name: ${name}`);
    const listed = await this.#change(
      'disks',
      (current) => {
        const disks = current === null ? [] : diskList.decode(current).disks;
        if (disks.some((known) => known.name === name)) return current;
        const disk = disks.reduce((last, known) => Math.max(last, known.disk), 0) + 1;
        return diskList.encode({ disks: [...disks, { name, disk }] });
      },
      deadlineMs,
    );
    const found = listed === null ? [] : diskList.decode(listed).disks;
    const disk = found.find((known) => known.name === name)?.disk ?? 0;
    const state: DiskState = {
      format: 1,
      name,
      disk,
      ...first,
      epoch: 1,
      snapshots: [],
      fenceEpoch: 0,
      fences: [],
      version: 1,
    };
    const value = await this.#change(
      `disk/${name}`,
      (current) => current ?? diskState.encode(state),
      deadlineMs,
    );
    if (value === null) throw new SextantError('INTERNAL', `register of disk ${name} is empty`);
    return diskState.decode(value);
  }

  #change(key: string, change: RegisterChange, deadlineMs: number): Promise<RegisterValue> {
    const { random, timers } = this.#world;
    const proposer = new Proposer({
      key,
      id: random.below(2 ** 48 - 1) + 1,
      acceptors: this.#ids,
      isQuorum: (has) => registerQuorum(this.#acceptors, has),
    });
    return new Promise((resolve, reject) => {
      const deadline = timers.after(deadlineMs, () => {
        proposer.step({ kind: 'abandon' });
        reject(new SextantError('NO_QUORUM', `no quorum for register ${key}`));
      });
      const step = (event: ProposerEvent): void => {
        for (const effect of proposer.step(event)) {
          if (effect.kind === 'send') {
            void this.#send(effect.to, effect.message).then(step);
          } else if (effect.kind === 'backoff') {
            timers.after(effect.delayMs, () => step({ kind: 'retry' }));
          } else {
            deadline.cancel();
            if (effect.kind === 'decided') resolve(effect.value);
            else reject(effect.error instanceof Error ? effect.error : new Error('register'));
          }
        }
      };
      step({ kind: 'start', change });
    });
  }

  async #send(from: NodeId, message: RegisterMessage): Promise<ProposerEvent> {
    const type =
      message.kind === 'prepare' ? MessageType.registerPrepare : MessageType.registerAccept;
    const random = this.#world.random.unit();
    try {
      const link = this.#links.get(from);
      if (link === undefined) throw new SextantError('CONFIG', `no address for ${from}`);
      const bytes = await link.call(type, encodeRegisterMessage(message), CALL_MS);
      return { kind: 'reply', from, reply: decodeRegisterReply(bytes), random };
    } catch {
      return { kind: 'lost', from, ballot: message.ballot, random };
    }
  }
}

/**
 * Groups of six for the nodes of a cluster, two of each of three zones: one group for six nodes, and one for each pair of
 * neighbours in a larger cluster. Throws CONFIG.
 */
export function groupsOf(nodes: readonly NodeAddress[]): string[][] {
  const zones = new Map<string, string[]>();
  for (const { id, zone } of nodes) zones.set(zone, [...(zones.get(zone) ?? []), id]);
  const lists = [...zones.values()];
  const count = Math.min(...lists.map((list) => list.length));
  if (lists.length !== 3 || count < 2) {
    throw new SextantError('CONFIG', 'a disk needs three zones with two nodes each');
  }
  const groups: string[][] = [];
  for (let i = 0; i < (count === 2 ? 1 : count); i++) {
    groups.push(lists.flatMap((list) => [list[i], list[(i + 1) % count]]));
  }
  return groups;
}
