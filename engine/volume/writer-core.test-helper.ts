/** A writer core with a port that writes down what it was asked; scripts read as sequence diagrams. */
import type { NodeId } from '#core/ids.js';
import { stableMembership, type Membership } from '#core/quorum/quorum-set.js';
import { decodeBoxcar } from '#core/redo/boxcar.js';
import { FLAG_CPL } from '#core/redo/record.js';
import { SclStatus, type SclReport } from '#storage-nodes/protocol/messages.js';
import { WriterCore, type WriterPort, type WriterStart } from './writer-core.js';

export const NODES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] as NodeId[];
export const SIX: Membership = stableMembership(NODES.slice(0, 6));

export class Script implements WriterPort {
  readonly core: WriterCore;
  /** What happened, since `take`. */
  log: string[] = [];
  nowMs = 0;
  /** Nodes whose connection takes nothing. */
  readonly down = new Set<number>();
  wantsFlush = false;
  readonly pushes: { node: number; bytes: Uint8Array }[] = [];

  constructor(start: Partial<WriterStart> = {}) {
    this.core = new WriterCore(
      {
        volume: 1,
        epoch: 2,
        pagesPerPg: 10,
        lal: 1000,
        vdl: 100,
        pgs: [{ membership: SIX, tail: 7 }],
        nodes: NODES,
        ...start,
      },
      this,
    );
    this.core.pgs.forEach((pg) => {
      for (const member of pg.members) this.core.knows(member.node, pg.pg, pg.tail, 1);
    });
    this.core.onVdl = (vdl) => this.log.push(`vdl ${vdl}`);
    this.core.onFailure = (error) => this.log.push(`failed: ${error.message}`);
  }

  push(node: number, bytes: Uint8Array, _crc: number): boolean {
    if (this.down.has(node)) return false;
    const { pg, firstLsn, lastLsn, backLink } = decodeBoxcar(bytes);
    const range = firstLsn === lastLsn ? `${firstLsn}` : `${firstLsn}-${lastLsn}`;
    this.log.push(`${NODES[node]} <- pg ${pg}: ${backLink} <- ${range}`);
    this.pushes.push({ node, bytes });
    return true;
  }

  flushSoon(): void {
    this.wantsFlush = true;
  }

  points(node: number, pg: number, vdl: number, pgmrpl: number): void {
    this.log.push(`${NODES[node]} <- pg ${pg} points ${vdl} ${pgmrpl}`);
  }

  install(node: number, pg: number): void {
    this.log.push(`${NODES[node]} <- pg ${pg} install`);
  }

  strike(node: number, pg: number, generation: number, pgcl: number): void {
    this.log.push(`${NODES[node]} <- pg ${pg} strike ${generation} up to ${pgcl}`);
  }

  suspect(node: number, pg: number, theirEpoch: number): void {
    this.log.push(`${NODES[node]} pg ${pg} knows epoch ${theirEpoch}`);
  }

  committed(): void {}

  /** One record on a page; `cpl` ends the MTR. */
  append(pageNo = 0, cpl = true, bytes = 8): number {
    const edits = new Uint8Array(bytes);
    return this.core.append(pageNo, cpl ? FLAG_CPL : 0, 0, edits, 0, bytes);
  }

  wait(lsn: number): void {
    this.core.wait(lsn, this.nowMs, (error) => {
      this.log.push(error === undefined ? `done ${lsn}` : `lost ${lsn}`);
    });
  }

  /** The end of a turn. */
  turn(): void {
    if (!this.wantsFlush) return;
    this.wantsFlush = false;
    this.core.flush(this.nowMs);
  }

  ack(nodes: string, scl: number, more: Partial<SclReport> = {}): void {
    for (const node of nodes) {
      this.core.onReport(
        NODES.indexOf(node as NodeId),
        {
          volume: 1,
          pg: 0,
          volumeEpoch: 2,
          membershipEpoch: 1,
          status: SclStatus.ok,
          generation: 1,
          scl,
          held: scl,
          resendAfter: 0,
          ...more,
        },
        this.nowMs,
      );
    }
  }

  /** What happened since the last call; `only` filters by its beginning. */
  take(only = ''): string[] {
    const taken = this.log.filter((line) => line.startsWith(only));
    this.log = [];
    return taken;
  }
}
