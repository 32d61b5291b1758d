/** Which connection each clerk is reached by, and what is to be sent to it at the end of this turn. */
import type { RpcPeer } from '#core/rpc/server.js';
import type { World } from '#core/world/world.js';
import { rebuildRequest } from '../protocol/control-codec.js';
import { VectorWriter } from '../protocol/lock-vectors.js';
import { MessageType } from '../protocol/messages.js';
import type { GrantItem, RefuseItem, RevokeItem } from '../protocol/messages.js';

/** One vector of each kind a turn. */
class ClerkMail {
  readonly token: number;
  readonly grants = new VectorWriter(MessageType.grant);
  readonly revokes = new VectorWriter(MessageType.revoke);
  readonly refusals = new VectorWriter(MessageType.refuse);
  rebuilds: { group: number; epoch: number }[] = [];
  waiting = false;

  constructor(token: number) {
    this.token = token;
  }
}

export interface MailHost {
  readonly server: string;
  /** Of every vector: rule 2. */
  clock(): number;
  fenceEpoch(): number;
  /** False: what was granted meanwhile is not sent. Whoever asked asks again. */
  mayGrant(): boolean;
}

export class ClerkLinks {
  readonly #world: World;
  readonly #host: MailHost;
  readonly #peers = new Map<number, RpcPeer>();
  readonly #mail = new Map<number, ClerkMail>();
  #outgoing: ClerkMail[] = [];

  constructor(world: World, host: MailHost) {
    this.#world = world;
    this.#host = host;
  }

  get count(): number {
    return this.#peers.size;
  }

  /**
   * From now on the clerk is reached here; its last connection wins. The one before is ended: were it alive after all, its
   * clerk would wait there for pushes that go elsewhere.
   */
  bind(token: number, peer: RpcPeer): void {
    const before = this.#peers.get(token);
    this.#peers.set(token, peer);
    if (before !== undefined && before !== peer) before.close();
  }

  /** True: it was the clerk's connection, which it now has none of. */
  unbind(token: number, peer: RpcPeer): boolean {
    if (this.#peers.get(token) !== peer) return false;
    this.forget(token);
    return true;
  }

  isBound(token: number): boolean {
    return this.#peers.has(token);
  }

  forget(token: number): void {
    this.#peers.delete(token);
    this.#mail.delete(token);
  }

  grant(token: number, item: GrantItem): void {
    const { grants } = this.#to(token);
    if (!grants.full) grants.addGrant(item);
  }

  revoke(token: number, item: RevokeItem): void {
    const { revokes } = this.#to(token);
    if (!revokes.full) revokes.addRevoke(item);
  }

  refuse(token: number, item: RefuseItem): void {
    const { refusals } = this.#to(token);
    if (!refusals.full) refusals.addRefuse(item);
  }

  rebuild(token: number, group: number, epoch: number): void {
    this.#to(token).rebuilds.push({ group, epoch });
  }

  /** Sends at once, not at the end of the turn. */
  push(token: number, type: number, body: Uint8Array): void {
    this.#peers.get(token)?.push(type, body);
  }

  #to(token: number): ClerkMail {
    let mail = this.#mail.get(token);
    if (mail === undefined) {
      mail = new ClerkMail(token);
      this.#mail.set(token, mail);
    }
    if (!mail.waiting) {
      mail.waiting = true;
      if (this.#outgoing.push(mail) === 1) this.#world.timers.turn(() => this.#flush());
    }
    return mail;
  }

  #flush(): void {
    const outgoing = this.#outgoing;
    this.#outgoing = [];
    const clock = this.#host.clock();
    const fenceEpoch = this.#host.fenceEpoch();
    for (const mail of outgoing) {
      mail.waiting = false;
      const peer = this.#peers.get(mail.token);
      if (peer === undefined) {
        // A refusal of somebody who is no clerk went to its connection already.
        this.#mail.delete(mail.token);
        continue;
      }
      const header = { token: mail.token, clock, fenceEpoch };
      if (!this.#host.mayGrant()) mail.grants.clear();
      for (const vector of [mail.grants, mail.revokes, mail.refusals]) {
        if (vector.count === 0) continue;
        // The link may keep it for a while; the writer's buffer is used again.
        peer.push(vector.type, vector.finish(header).slice());
        vector.clear();
      }
      if (mail.rebuilds.length === 0) continue;
      const body = rebuildRequest.encode({ server: this.#host.server, groups: mail.rebuilds });
      peer.push(MessageType.rebuild, body);
      mail.rebuilds = [];
    }
  }
}
