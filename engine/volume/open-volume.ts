/**
 * Opens a volume over storage nodes: the driver of the opening core (opening-core.ts).
 */
import { SextantError, isSextantError } from '#core/errors.js';
import {
  members,
  registerQuorum,
  stableMembership,
  type Membership,
} from '#core/quorum/quorum-set.js';
import type { World } from '#core/world/world.js';
import {
  catchUpRequest,
  installAnswer,
  installRequest,
  sealAnswer,
  sealRequest,
  volumeState,
} from '#storage-nodes/protocol/codec-json.js';
import {
  MessageType,
  type NodeAddress,
  type VolumeState,
} from '#storage-nodes/protocol/messages.js';
import { VOLUME_MAX } from '#core/rpc/shape.js';
import { NO_FAULTS, type Faults } from './faults.js';
import { NodeLink } from './node-link.js';
import {
  OpeningCore,
  type Opened,
  type OpeningEffect,
  type OpeningEvent,
  type RegisterStep,
  type VolumeChange,
} from './opening-core.js';
import { QuorumVolume } from './quorum-volume.js';
import { RegisterClient, volumeRegisterKey } from './register-client.js';
import type { Volume } from './volume.js';

/** Both sides of rule 26: how long an engine may answer from its cache unconfirmed, and its successor waits. */
export const LEASE_MS = 1000;
export const LAL_RECORDS = 1_000_000;
/** 10 GiB of pages. */
export const PAGES_PER_PG = 1_310_720;

export interface OpenVolumeOptions {
  readonly clusterId: string;
  /** All of them, in the order in which the cluster was made: the first six hold a new volume. */
  readonly nodes: readonly NodeAddress[];
  readonly volume: number;
  /** Of a new volume; an existing one keeps its own. */
  readonly pagesPerPg?: number;
  /** LSNs in flight. */
  readonly lal?: number;
  readonly lalBytes?: number;
  readonly create?: boolean;
  /** The caller knows that no older engine can answer anything: no wait for its lease. */
  readonly previousWriterDead?: boolean;
  readonly leaseMs?: number;
  readonly openTimeoutMs?: number;
  readonly readTimeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly faults?: Faults;
}

const TICK_MS = 50;
const CALL_TIMEOUT_MS = 2000;
const REGISTER_ROUND_MS = 5000;

/**
 * Wins the next epoch of the volume and opens it, or makes it (`create`). Whoever had it open is fenced.
 * Rejects with NOT_FOUND (never made), FENCED (another opener came later), NO_QUORUM (time-out), WRONG_CLUSTER (too many
 * of the addresses belong to other nodes or clusters), CONFIG.
 */
export async function openVolume(world: World, options: OpenVolumeOptions): Promise<Volume> {
  return openQuorumVolume(world, options);
}

/** As `openVolume`, with what only tests and the simulator look at. */
export async function openQuorumVolume(
  world: World,
  options: OpenVolumeOptions,
): Promise<QuorumVolume> {
  const { nodes, clusterId, volume } = options;
  if (nodes.length < 6) throw new SextantError('CONFIG', 'a volume needs six nodes');
  if (!Number.isInteger(volume) || volume < 0 || volume > VOLUME_MAX) {
    throw new SextantError('CONFIG', `a volume's number is 0 to ${VOLUME_MAX}, not ${volume}`);
  }
  const links = nodes.map((node) => new NodeLink(world, clusterId, node, nodes));
  const register = new RegisterClient(
    world,
    new Map(links.map((link) => [link.id, link])),
    volumeRegisterKey(volume),
  );
  try {
    const opened = await new Opening(world, links, register, options).run();
    return new QuorumVolume(world, links, register, opened, {
      faults: options.faults ?? NO_FAULTS,
      ...(options.lalBytes === undefined ? {} : { lalBytes: options.lalBytes }),
      ...(options.readTimeoutMs === undefined ? {} : { readTimeoutMs: options.readTimeoutMs }),
    });
  } catch (error) {
    for (const link of links) link.rpc.close();
    throw error;
  }
}

class Opening {
  readonly #world: World;
  readonly #links: readonly NodeLink[];
  readonly #register: RegisterClient;
  readonly #options: OpenVolumeOptions;
  readonly #core: OpeningCore;
  readonly #abort = new AbortController();
  /** The acceptors: PG 0's members, as far as known. */
  #acceptors: Membership;
  #resolve: (opened: Opened) => void = () => {};
  #reject: (error: Error) => void = () => {};
  #lastError: unknown;

  constructor(
    world: World,
    links: readonly NodeLink[],
    register: RegisterClient,
    options: OpenVolumeOptions,
  ) {
    this.#world = world;
    this.#links = links;
    this.#register = register;
    this.#options = options;
    this.#acceptors = stableMembership(links.slice(0, 6).map((link) => link.id));
    this.#core = new OpeningCore({
      volume: options.volume,
      opener: Buffer.from(world.random.bytes(16)).toString('hex'),
      lal: options.lal ?? LAL_RECORDS,
      create: options.create ?? false,
      pagesPerPg: options.pagesPerPg ?? PAGES_PER_PG,
      nodes: options.nodes,
      previousWriterDead: options.previousWriterDead ?? false,
      faults: options.faults ?? NO_FAULTS,
    });
  }

  async run(): Promise<Opened> {
    const { timers } = this.#world;
    const opened = new Promise<Opened>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const deadline = timers.after(this.#options.openTimeoutMs ?? 60_000, () =>
      this.#reject(
        new SextantError('NO_QUORUM', `volume could not be opened: stuck at ${this.#core.phase}`, {
          cause: this.#lastError,
        }),
      ),
    );
    const cancelled = (): void => this.#reject(new SextantError('CANCELLED', 'opening cancelled'));
    if (this.#options.signal?.aborted === true) cancelled();
    this.#options.signal?.addEventListener('abort', cancelled, { once: true });
    const ticking = { timer: timers.after(TICK_MS, () => undefined) };
    const tick = (): void => {
      const foreign = this.#foreign();
      if (foreign !== undefined) this.#reject(foreign);
      this.#step({ type: 'tick' });
      ticking.timer = timers.after(TICK_MS, tick);
    };
    tick();
    this.#step({ type: 'start' });
    try {
      return await opened;
    } finally {
      deadline.cancel();
      ticking.timer.cancel();
      this.#options.signal?.removeEventListener('abort', cancelled);
      this.#abort.abort();
    }
  }

  /** Nodes say that they are others, and there is no quorum without them: waiting does not help. */
  #foreign(): SextantError | undefined {
    const foreign = this.#links.filter((link) =>
      isSextantError(link.rpc.lastError, 'WRONG_CLUSTER'),
    );
    if (foreign.length === 0) return undefined;
    if (registerQuorum(this.#acceptors, (id) => foreign.every((link) => link.id !== id))) {
      return undefined;
    }
    const [{ id, address, rpc }] = foreign;
    return new SextantError(
      'WRONG_CLUSTER',
      `no quorum in cluster ${this.#options.clusterId}: ${foreign.length} nodes are others; ` +
        `${id} at ${address.address} says: ${rpc.lastError?.message ?? ''}`,
      { cause: rpc.lastError },
    );
  }

  #step(event: OpeningEvent): void {
    if (this.#abort.signal.aborted) return;
    for (const effect of this.#core.step(event)) this.#act(effect);
  }

  #act(effect: OpeningEffect): void {
    switch (effect.type) {
      case 'change':
        this.#run(this.#change(effect.step, effect.change));
        return;
      case 'lease':
        this.#world.timers.after(this.#options.leaseMs ?? LEASE_MS, () =>
          this.#step({ type: 'leaseOver' }),
        );
        return;
      case 'opened':
        this.#resolve(effect.opened);
        return;
      case 'failed':
        this.#reject(effect.error);
        return;
      case 'seal':
      case 'catchUp':
      case 'install':
        this.#run(this.#ask(effect));
        return;
    }
  }

  /** What fails here is a bug: the opening ends. */
  #run(work: Promise<void>): void {
    work.catch((error: unknown) =>
      this.#reject(error instanceof Error ? error : new Error(String(error))),
    );
  }

  async #ask(
    effect: Extract<OpeningEffect, { type: 'seal' | 'catchUp' | 'install' }>,
  ): Promise<void> {
    const { pg, node } = effect;
    let event: OpeningEvent;
    try {
      event = await this.#answer(effect);
    } catch (error) {
      this.#lastError = error;
      const code = isSextantError(error) ? error.code : 'INTERNAL';
      event = { type: 'refused', pg, node, code };
    }
    this.#step(event);
  }

  async #answer(
    effect: Extract<OpeningEffect, { type: 'seal' | 'catchUp' | 'install' }>,
  ): Promise<OpeningEvent> {
    const { pg, node } = effect;
    const link = this.#links.find(({ id }) => id === node);
    if (link === undefined) throw new SextantError('CONFIG', `no address for node ${node}`);
    if (effect.type === 'seal') {
      const request = sealRequest.encode(effect.request);
      const body = await link.call(MessageType.seal, request, CALL_TIMEOUT_MS);
      return { type: 'sealed', pg, node, answer: sealAnswer.decode(body) };
    }
    if (effect.type === 'install') {
      const request = installRequest.encode(effect.request);
      const body = await link.call(MessageType.install, request, CALL_TIMEOUT_MS);
      return { type: 'installed', pg, node, answer: installAnswer.decode(body) };
    }
    await link.call(MessageType.catchUp, catchUpRequest.encode(effect.request), CALL_TIMEOUT_MS);
    return { type: 'caughtUp', pg, node };
  }

  async #change(step: RegisterStep, change: VolumeChange): Promise<void> {
    let event: OpeningEvent;
    try {
      event = { type: 'decided', step, value: await this.#decide(change) };
    } catch (error) {
      this.#lastError = error;
      event = {
        type: 'registerFailed',
        step,
        error: error instanceof Error ? error : new Error(String(error)),
      };
    }
    this.#step(event);
  }

  /** The first read may find that other nodes are the acceptors by now (rule 16): then they are asked. */
  async #decide(change: VolumeChange): Promise<VolumeState> {
    const read = await this.#round((current) => current);
    if (read !== null) {
      const current = volumeState.decode(read).pgs[0];
      if (!sameMembers(current, this.#acceptors)) {
        this.#acceptors = current;
        return this.#decide(change);
      }
      this.#acceptors = current;
    }
    const decided = await this.#round((bytes) => {
      const current = bytes === null ? null : volumeState.decode(bytes);
      const next = change(current);
      return next === current ? bytes : volumeState.encode(next);
    });
    if (decided === null) throw new SextantError('CORRUPTION', 'the register is empty');
    return volumeState.decode(decided);
  }

  #round(change: (bytes: Uint8Array | null) => Uint8Array | null): Promise<Uint8Array | null> {
    return this.#register.change(this.#acceptors, change, REGISTER_ROUND_MS, this.#abort.signal);
  }
}

function sameMembers(a: Membership, b: Membership): boolean {
  const ours = members(a);
  const theirs = members(b);
  return ours.length === theirs.length && ours.every((node) => theirs.includes(node));
}
