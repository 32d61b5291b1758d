/**
 * Looks at a few stored registers every second, and has unreadable ones written anew from the peers that hold them too.
 *
 * A repair is the very version that is unreadable, so that it changes nothing but the copy. Where no peer has it any more, readers
 * write the newer one back.
 */
import { registerBytes, type Region } from '../protocol/block-geometry.js';
import * as codec from '../protocol/codec-blocks.js';
import { BlockStatus, RunKind } from '../protocol/codec-blocks.js';
import { MessageType } from '../protocol/messages.js';
import type { BlockHost } from './block-host.js';
import { isSlot, PLACE_BAD, ROW_REGISTERS } from './block-index.js';
import type { HostedDisk } from './hosted-disk.js';

const EVERY_MS = 1000;
const REGISTERS_A_LOOK = 64;
const ROWS_A_LOOK = 4096;
const REPAIRS_A_LOOK = 64;
const CALL_MS = 1000;

export class Scrubber {
  readonly #host: BlockHost;
  readonly #image = new Uint8Array(4096);
  #row = 1;

  constructor(host: BlockHost) {
    this.#host = host;
  }

  start(): void {
    const { timers } = this.#host.options.world;
    timers.after(EVERY_MS, () => {
      if (this.#host.closed) return;
      void this.#look()
        .catch((error: unknown) => {
          this.#host.options.world.log.warn('scrubbing stopped', { error: String(error) });
        })
        .finally(() => this.start());
    });
  }

  async #look(): Promise<void> {
    const { blocks } = this.#host;
    this.#scrub();
    let repaired = 0;
    for (const entry of [...blocks.bad].slice(0, REPAIRS_A_LOOK)) {
      if (this.#host.closed) return;
      if (blocks.index.place[entry] !== PLACE_BAD) blocks.bad.delete(entry);
      else if (await this.#repair(entry)) repaired++;
    }
    if (repaired === 0 || this.#host.closed) return;
    await this.#host.options.durable(() => undefined).catch(() => undefined);
    this.#host.options.world.log.info('registers repaired from peers', { repaired });
  }

  #scrub(): void {
    const { blocks } = this.#host;
    const { index } = blocks;
    let looked = 0;
    for (let rows = 0; rows < ROWS_A_LOOK && looked < REGISTERS_A_LOOK; rows++, this.#row++) {
      if (this.#row >= index.rowEnd) this.#row = 1;
      if (!index.isUsed(this.#row)) continue;
      for (let i = 0; i < ROW_REGISTERS; i++) {
        const entry = this.#row * ROW_REGISTERS + i;
        if (!isSlot(index.place[entry])) continue;
        blocks.load(entry, this.#image, 0);
        looked++;
      }
    }
  }

  async #repair(entry: number): Promise<boolean> {
    const { index } = this.#host.blocks;
    const row = Math.floor(entry / ROW_REGISTERS);
    const hosted = this.#host.disks.get(index.rowDisk[row]);
    const region = index.rowRegion[row] as Region;
    const set = hosted?.geometry?.replicas(region, index.indexOf(entry));
    if (hosted === undefined || set === undefined) return false;
    for (const peer of set.nodes) {
      if (peer === this.#host.options.self) continue;
      if (await this.#from(peer, hosted, entry)) return true;
    }
    return false;
  }

  async #from(peer: string, hosted: HostedDisk, entry: number): Promise<boolean> {
    const { blocks } = this.#host;
    const { index } = blocks;
    const row = Math.floor(entry / ROW_REGISTERS);
    const region = index.rowRegion[row] as Region;
    const register = index.indexOf(entry);
    const epoch = index.rowEpoch[row];
    const { clock, token } = { clock: index.clock[entry], token: index.token[entry] };
    const { disk, fenceEpoch } = hosted;
    const body = codec.encodeBlockRequest({
      disk,
      epoch: hosted.epoch,
      token: 0,
      fenceEpoch,
      complete: 0,
      atEpoch: epoch,
      wantsData: true,
      runs: [{ region, index: register, count: 1, kind: RunKind.data, clock: 0, token: 0 }],
    });
    let bytes: Uint8Array;
    let run: codec.Run | undefined;
    try {
      bytes = await this.#host.options.callPeer(peer, MessageType.blockRead, body, CALL_MS);
      const answer = codec.decodeBlockAnswer(bytes);
      if (answer.status !== BlockStatus.ok) return false;
      run = answer.runs[0];
    } catch {
      return false;
    }
    const at = codec.answerBytesAt(1);
    if (run?.kind !== RunKind.data || bytes.length !== at + registerBytes(region)) return false;
    const isSame = run.clock === clock && run.token === token;
    const isStill =
      index.isUsed(row) &&
      index.place[entry] === PLACE_BAD &&
      index.clock[entry] === clock &&
      index.token[entry] === token;
    // Another version is no repair: whoever reads the register writes that back.
    if (!isSame || !isStill || fenceEpoch !== hosted.fenceEpoch) return false;
    blocks.force(disk, region, epoch, register, clock, token, bytes, at);
    blocks.bad.delete(entry);
    return true;
  }
}
