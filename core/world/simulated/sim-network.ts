/**
 * The simulated network. Links behave like TCP's by default: whole frames, in order, some delay. Faults
 * are set per direction of a pair of processes, `*` standing for any:
 *
 *     network.faults('node-1', 'node-2', { drop: 0.01, reorder: 0.1 })
 *     network.partition(['node-1'], ['node-2', 'node-3'])            // both ways, until heal()
 *     network.partition(['engine'], ['node-4'], { oneWay: true })    // engine's frames do not arrive
 *
 * A frame is copied when sent, so it is what the bytes were then; the receiver's copy is scribbled over
 * when its handler returns, so that keeping a view of it shows at once.
 */
import { SextantError } from '../../errors.js';
import type { Link, LinkHandler, Listener, Network } from '../world.js';
import type { SimRandom } from './random.js';
import type { EventOwner, SimScheduler } from './scheduler.js';

export interface LinkFaults {
  /** One-way delay: `delayMs` plus an exponentially distributed part with mean `jitterMs`. */
  delayMs: number;
  jitterMs: number;
  /** Probabilities, per frame. */
  drop: number;
  duplicate: number;
  /** The frame may be overtaken by later ones, by up to ten delays. */
  reorder: number;
  flipBit: number;
  /** The link breaks instead of carrying the frame. */
  breakLink: number;
}

/** The process at one end of a link. */
export interface NetworkUser extends EventOwner {
  /** Time as the process sees it: later than the scheduler's while it is busy with its disk. */
  readonly localNowMs: number;
}

const HIGH_WATER_BYTES = 4 * 1024 * 1024;
const HARD_BYTES = 128 * 1024 * 1024;
const FIRST_FREE_PORT = 40_000;

interface Listening {
  readonly owner: NetworkUser;
  readonly accept: (link: Link) => LinkHandler;
}

export class SimNetwork {
  readonly scheduler: SimScheduler;
  readonly random: SimRandom;
  readonly listeners = new Map<string, Listening>();
  /** Frames handed to the network, and of those: lost to faults or partitions. */
  sentCount = 0;
  lostCount = 0;
  readonly #faults = new Map<string, LinkFaults>();
  readonly #blocked = new Set<string>();
  readonly #links = new Set<SimLink>();
  #nextPort = FIRST_FREE_PORT;

  constructor(scheduler: SimScheduler, random: SimRandom, faults: Partial<LinkFaults> = {}) {
    this.scheduler = scheduler;
    this.random = random;
    this.#faults.set('*>*', {
      delayMs: 0.05,
      jitterMs: 0.05,
      drop: 0,
      duplicate: 0,
      reorder: 0,
      flipBit: 0,
      breakLink: 0,
      ...faults,
    });
  }

  /** Changes what is named of one direction; the rest is as for `*>*` at this moment. */
  faults(from: string, to: string, change: Partial<LinkFaults>): void {
    this.#faults.set(`${from}>${to}`, { ...this.faultsOf(from, to), ...change });
  }

  faultsOf(from: string, to: string): LinkFaults {
    const found =
      this.#faults.get(`${from}>${to}`) ??
      this.#faults.get(`${from}>*`) ??
      this.#faults.get(`*>${to}`) ??
      this.#faults.get('*>*');
    if (found === undefined) throw new Error('no default faults');
    return found;
  }

  /** Ends every fault set by `faults`, except the defaults of `*>*`. */
  clearFaults(): void {
    for (const key of this.#faults.keys()) if (key !== '*>*') this.#faults.delete(key);
  }

  partition(
    from: readonly string[],
    to: readonly string[],
    options?: { readonly oneWay?: boolean },
  ): void {
    for (const a of from) {
      for (const b of to) {
        this.#blocked.add(`${a}>${b}`);
        if (options?.oneWay !== true) this.#blocked.add(`${b}>${a}`);
      }
    }
  }

  /** Ends all partitions. */
  heal(): void {
    this.#blocked.clear();
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(`${from}>${to}`);
  }

  /** Breaks every link between two processes, `*` being any. */
  breakLinks(a: string, b: string): void {
    const fits = (link: SimLink): boolean =>
      (a === '*' || link.owner.name === a) && (b === '*' || link.peerName === b);
    for (const link of this.#links) {
      if (fits(link)) link.break(new SextantError('DISCONNECTED', 'link broken'));
    }
  }

  delayMs(from: string, to: string): number {
    const { delayMs, jitterMs } = this.faultsOf(from, to);
    return delayMs - jitterMs * Math.log(1 - this.random.unit());
  }

  endpoint(owner: NetworkUser): Network {
    return {
      listen: (address, accept) => this.#listen(owner, address, accept),
      connect: (address, handler) => this.#connect(owner, address, handler),
    };
  }

  /**
   * A process ended: nothing of it listens or is linked any more. Its peers learn it at once when its
   * kernel lives on (`tell`), else by silence.
   */
  forget(owner: NetworkUser, tell: boolean): void {
    for (const [address, listening] of this.listeners) {
      if (listening.owner === owner) this.listeners.delete(address);
    }
    for (const link of this.#links) if (link.owner === owner) link.abandon(tell);
  }

  hasListener(name: string): boolean {
    for (const listening of this.listeners.values()) if (listening.owner.name === name) return true;
    return false;
  }

  add(link: SimLink): void {
    this.#links.add(link);
  }

  drop(link: SimLink): void {
    this.#links.delete(link);
  }

  #listen(
    owner: NetworkUser,
    address: string,
    accept: (link: Link) => LinkHandler,
  ): Promise<Listener> {
    const real = address.endsWith(':0') ? address.slice(0, -1) + String(this.#nextPort++) : address;
    if (this.listeners.has(real)) {
      return Promise.reject(new SextantError('CONFIG', `${real} is taken`));
    }
    if (!owner.alive) return Promise.reject(new SextantError('CLOSED', 'this process is dead'));
    const listening = { owner, accept };
    this.listeners.set(real, listening);
    return Promise.resolve({
      address: real,
      close: () => {
        if (this.listeners.get(real) === listening) this.listeners.delete(real);
        for (const link of this.#links) {
          if (link.owner === owner && link.local === real) link.close();
        }
        return Promise.resolve();
      },
    });
  }

  #connect(owner: NetworkUser, address: string, handler: LinkHandler): Link {
    const near = new SimLink(this, owner, '', address);
    near.handler = handler;
    if (!owner.alive) return near;
    this.add(near);
    const guess = this.listeners.get(address)?.owner.name ?? '*';
    this.scheduler.at(owner.localNowMs + this.delayMs(owner.name, guess), 'arrive', undefined, () =>
      this.#arrive(near, address),
    );
    return near;
  }

  /** A request to connect has come to where the address is, or is not, listened on. */
  #arrive(near: SimLink, address: string): void {
    if (near.closed) return;
    const { owner } = near;
    const listening = this.listeners.get(address);
    if (listening === undefined) {
      const error = new SextantError('DISCONNECTED', `nobody listens on ${address}`);
      near.later(this.delayMs(owner.name, '*'), 'refused', () => near.end(error));
      return;
    }
    const { owner: other, accept } = listening;
    near.peerName = other.name;
    // Blocked: the connection hangs, as with lost packets; the caller's deadline ends it.
    if (this.isBlocked(owner.name, other.name)) return;
    this.scheduler.at(this.scheduler.nowMs, 'connect', other, () => {
      if (near.closed) return;
      const far = new SimLink(this, other, owner.name, `${owner.name} (client)`);
      far.local = address;
      this.add(far);
      far.peer = near;
      near.peer = far;
      far.handler = accept(far);
      far.handler.onOpen?.();
      const back = this.delayMs(other.name, owner.name);
      this.scheduler.at(other.localNowMs + back, 'open', owner, () => {
        if (!this.isBlocked(other.name, owner.name)) near.open();
      });
    });
  }
}

export class SimLink implements Link {
  readonly network: SimNetwork;
  readonly owner: NetworkUser;
  readonly remote: string;
  peerName: string;
  /** The address that accepted it; '' at the side that connected. */
  local = '';
  handler: LinkHandler | undefined;
  peer: SimLink | undefined;
  closed = false;
  queuedBytes = 0;
  #opened: boolean;
  #waiting: Uint8Array[] = [];
  #lastArrivalMs = 0;
  #full = false;

  constructor(network: SimNetwork, owner: NetworkUser, peerName: string, remote: string) {
    this.network = network;
    this.owner = owner;
    this.peerName = peerName;
    this.remote = remote;
    this.#opened = peerName !== '';
  }

  send(head: Uint8Array, body?: Uint8Array): boolean {
    if (this.closed || !this.owner.alive) return false;
    const frame = new Uint8Array(head.length + (body?.length ?? 0));
    frame.set(head, 0);
    if (body !== undefined) frame.set(body, head.length);
    this.queuedBytes += frame.length;
    if (this.queuedBytes > HARD_BYTES) {
      this.break(new SextantError('OVERLOADED', `${this.queuedBytes} bytes queued`));
      return false;
    }
    if (this.queuedBytes > HIGH_WATER_BYTES) this.#full = true;
    if (this.#opened) this.#carry(frame);
    else this.#waiting.push(frame);
    return !this.#full;
  }

  close(): void {
    if (this.closed) return;
    this.#closeFar();
    this.end(undefined, true);
  }

  open(): void {
    if (this.closed || this.#opened) return;
    this.#opened = true;
    this.handler?.onOpen?.();
    for (const frame of this.#waiting.splice(0)) this.#carry(frame);
  }

  /** Both sides learn it, each after its delay. */
  break(error: Error): void {
    if (this.closed) return;
    this.#closeFar();
    this.later(0, 'broken', () => this.end(error));
  }

  /** This side's process is gone. */
  abandon(tell: boolean): void {
    if (tell) this.#closeFar();
    this.closed = true;
    this.handler = undefined;
    this.network.drop(this);
  }

  /** Ends this side. `later`: the handler hears of it in a later event. */
  end(error: Error | undefined, later = false): void {
    if (this.closed) return;
    this.closed = true;
    this.network.drop(this);
    const { handler } = this;
    this.handler = undefined;
    this.#waiting = [];
    this.queuedBytes = 0;
    if (later) this.later(0, 'closed', () => handler?.onClose(error));
    else handler?.onClose(error);
  }

  later(ms: number, label: string, fn: () => void): void {
    this.network.scheduler.at(this.owner.localNowMs + ms, label, this.owner, fn);
  }

  #closeFar(): void {
    const { peer, network, owner } = this;
    if (peer === undefined) return;
    // It follows the frames that were sent before.
    const at = Math.max(
      owner.localNowMs + network.delayMs(owner.name, this.peerName),
      this.#lastArrivalMs,
    );
    network.scheduler.at(at, 'end', peer.owner, () => {
      if (network.isBlocked(owner.name, peer.owner.name)) return;
      peer.end(new SextantError('DISCONNECTED', `link to ${peer.remote} ended`));
    });
  }

  #carry(frame: Uint8Array): void {
    const { network, owner, peer } = this;
    if (peer === undefined) return;
    network.sentCount++;
    if (!peer.owner.alive) {
      // A process that came up again answers what is meant for its earlier life with a reset.
      this.later(2 * network.delayMs(owner.name, this.peerName), 'reset', () => {
        if (!network.hasListener(this.peerName)) return;
        this.end(new SextantError('DISCONNECTED', `link to ${this.remote} was reset`));
      });
      return;
    }
    const faults = network.faultsOf(owner.name, this.peerName);
    const { random } = network;
    if (random.chance(faults.breakLink)) {
      this.break(new SextantError('DISCONNECTED', 'link broken'));
      return;
    }
    const dropped = random.chance(faults.drop);
    const copies = random.chance(faults.duplicate) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const bytes = copy === 0 ? frame : frame.slice();
      let at = owner.localNowMs + network.delayMs(owner.name, this.peerName);
      if (random.chance(faults.reorder)) {
        at += random.unit() * 10 * (faults.delayMs + faults.jitterMs);
      } else {
        at = Math.max(at, this.#lastArrivalMs);
        this.#lastArrivalMs = at;
      }
      if (random.chance(faults.flipBit)) {
        const bit = random.below(bytes.length * 8);
        bytes[bit >> 3] ^= 1 << (bit & 7);
      }
      const first = copy === 0;
      network.scheduler.at(at, 'frame', peer.owner, () => {
        if (first) this.#arrived(frame.length);
        if (dropped || network.isBlocked(owner.name, peer.owner.name)) network.lostCount++;
        else peer.deliver(bytes);
      });
    }
  }

  deliver(frame: Uint8Array): void {
    if (this.closed) return;
    this.handler?.onFrame(frame);
    frame.fill(0xdd);
  }

  #arrived(bytes: number): void {
    this.queuedBytes = Math.max(0, this.queuedBytes - bytes);
    if (!this.#full || this.queuedBytes > HIGH_WATER_BYTES / 4) return;
    this.#full = false;
    this.later(0, 'drain', () => {
      if (!this.closed) this.handler?.onDrain?.();
    });
  }
}
