/**
 * What a clerk has to tell the lock servers at the end of this turn: for each server one vector of releases, one of
 * cancels, one of requests, in this order, so that a lock that goes back and is asked for again does so in this order.
 */
import { LockItem, VectorWriter } from '../protocol/lock-vectors.js';
import { MessageType } from '../protocol/messages.js';
import type { Level, LockName } from '../protocol/messages.js';
import type { CachedLock } from './cached-lock.js';
import type { GroupView } from './group-view.js';

/** Carries one message to a server; false when it went nowhere. */
export type SendVector = (server: string, type: number, body: Uint8Array) => boolean;

class ServerQueue {
  releases: LockItem[] = [];
  cancels: LockItem[] = [];
  requests: CachedLock[] = [];
}

export class Outgoing {
  readonly #groups: GroupView;
  readonly #queues = new Map<string, ServerQueue>();
  readonly #releaseWriter = new VectorWriter(MessageType.release);
  readonly #cancelWriter = new VectorWriter(MessageType.cancel);
  readonly #requestWriter = new VectorWriter(MessageType.request);
  readonly #item = new LockItem();

  constructor(groups: GroupView) {
    this.#groups = groups;
  }

  /** The lock's pending request; not sent while its group has no owner. */
  request(lock: CachedLock): void {
    const queue = this.#queue(lock.group);
    if (queue === undefined || lock.pending === undefined || lock.pending.queued) return;
    lock.pending.queued = true;
    queue.requests.push(lock);
  }

  release(name: LockName, group: number, grant: number, level: Level, keeps: boolean): void {
    const queue = this.#queue(group);
    if (queue === undefined) return;
    const item = copyName(name, this.#groups.epoch(group));
    item.grant = grant;
    item.level = level;
    item.keeps = keeps;
    queue.releases.push(item);
  }

  cancel(lock: CachedLock, request: number): void {
    const queue = this.#queue(lock.group);
    if (queue === undefined) return;
    const item = copyName(lock, this.#groups.epoch(lock.group));
    item.request = request;
    queue.cancels.push(item);
  }

  clear(): void {
    this.#queues.clear();
  }

  get waiting(): boolean {
    for (const { releases, cancels, requests } of this.#queues.values()) {
      if (releases.length + cancels.length + requests.length > 0) return true;
    }
    return false;
  }

  /** Encodes and sends all; what a server does not get is asked for again by whoever misses it. */
  flush(token: number, releaseClock: number, clock: number, send: SendVector): void {
    for (const [server, queue] of this.#queues) {
      const { releases, cancels, requests } = queue;
      if (releases.length + cancels.length + requests.length === 0) continue;
      queue.releases = [];
      queue.cancels = [];
      queue.requests = [];
      for (let i = 0; i < releases.length; i++) {
        this.#releaseWriter.addRelease(releases[i] as LockItem);
        if (this.#releaseWriter.full)
          this.#send(this.#releaseWriter, server, token, releaseClock, send);
      }
      this.#send(this.#releaseWriter, server, token, releaseClock, send);
      for (let i = 0; i < cancels.length; i++) {
        this.#cancelWriter.addCancel(cancels[i] as LockItem);
        if (this.#cancelWriter.full) this.#send(this.#cancelWriter, server, token, clock, send);
      }
      this.#send(this.#cancelWriter, server, token, clock, send);
      this.#sendRequests(server, requests, token, clock, send);
    }
  }

  #sendRequests(
    server: string,
    requests: CachedLock[],
    token: number,
    clock: number,
    send: SendVector,
  ): void {
    const item = this.#item;
    for (let i = 0; i < requests.length; i++) {
      const lock = requests[i] as CachedLock;
      const { pending } = lock;
      if (pending === undefined || !pending.queued) continue;
      pending.queued = false;
      pending.sent = true;
      item.table = lock.home.number;
      item.idHigh = lock.idHigh;
      item.idLow = lock.idLow;
      item.aspect = lock.aspect;
      item.level = pending.level;
      item.noWait = pending.noWait;
      item.epoch = this.#groups.epoch(lock.group);
      item.request = pending.request;
      this.#requestWriter.addRequest(item);
      if (this.#requestWriter.full) this.#send(this.#requestWriter, server, token, clock, send);
    }
    this.#send(this.#requestWriter, server, token, clock, send);
  }

  #send(
    writer: VectorWriter,
    server: string,
    token: number,
    clock: number,
    send: SendVector,
  ): void {
    if (writer.count === 0) return;
    // A copy: the writer is used again before the link has sent it.
    send(server, writer.type, writer.finish({ token, clock, fenceEpoch: 0 }).slice());
    writer.clear();
  }

  #queue(group: number): ServerQueue | undefined {
    const server = this.#groups.owner(group);
    if (server === null) return undefined;
    let queue = this.#queues.get(server);
    if (queue === undefined) {
      queue = new ServerQueue();
      this.#queues.set(server, queue);
    }
    return queue;
  }
}

function copyName(name: LockName, epoch: number): LockItem {
  const item = new LockItem();
  item.table = name.table;
  item.idHigh = name.idHigh;
  item.idLow = name.idLow;
  item.aspect = name.aspect;
  item.epoch = epoch;
  return item;
}
