/**
 * Reads a data folder back: states first, then the journal's boxcars in order (see StoreVisitor). Segments
 * decide about each boxcar, and the store carries it out at once.
 */
import { SextantError } from '#core/errors.js';
import { DISK_KEY } from '../blocks/hosted-disk.js';
import { decodeSegmentPoints, parseSegmentKey, segmentEpochs } from '../segment/segment-state.js';
import type { SegmentEpochs, SegmentPoints } from '../segment/segment-state.js';
import type { RecoveredBoxcar, SegmentKey, StoreVisitor } from '../store/store.js';
import type { Faults } from './faults.js';
import { RegisterHost } from './register-host.js';
import { SegmentHost, segmentKey } from './segment-host.js';
import type { UnreadStore } from './unread-store.js';

export class Recovery implements StoreVisitor {
  readonly hosts = new Map<SegmentKey, SegmentHost>();
  readonly registers = new RegisterHost();
  /** Generations of folders: the peers' as they told, and this node's own as the journal has it. */
  readonly generations = new Map<string, number>();
  /** States of virtual disks, for the block host. */
  readonly disks = new Map<string, Uint8Array>();
  /** What was found broken; empty when nothing was. */
  readonly damages: string[] = [];
  #isLoss = false;
  readonly #faults: Faults;
  readonly #epochs = new Map<SegmentKey, SegmentEpochs>();
  readonly #points = new Map<SegmentKey, SegmentPoints>();
  readonly #names = new Map<SegmentKey, { volume: number; pg: number }>();
  readonly #broken = new Set<SegmentKey>();
  readonly #store: UnreadStore;

  constructor(store: UnreadStore, faults: Faults) {
    this.#store = store;
    this.#faults = faults;
  }

  state(key: string, value: Uint8Array): void {
    try {
      this.#state(key, value);
    } catch (error) {
      this.damage(`state ${key}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  boxcar(found: RecoveredBoxcar): void {
    const { segment: key, location } = found;
    const host = this.#host(key);
    if (host === undefined || this.#broken.has(key)) {
      this.#store.discard(key, location);
      return;
    }
    const { verdict, lsn } = this.#recover(host, found);
    if (verdict === 'broken') {
      const { volume, pg, scl } = host.segment;
      this.#broken.add(key);
      this.damage(`segment ${volume}/${pg}: log missing above ${scl}`);
    }
    if (verdict === 'admit' || verdict === 'cut') this.#store.admit(key, location, found.bytes);
    else this.#store.discard(key, location);
    if (verdict === 'cut') this.#store.truncate(key, lsn);
  }

  damage(description: string, isLoss = false): void {
    this.damages.push(description);
    if (isLoss) this.#isLoss = true;
  }

  /** After the last boxcar. */
  finish(): void {
    for (const key of this.#names.keys()) this.#host(key);
    for (const host of this.hosts.values()) {
      const { segment } = host;
      if (!segment.endRecovery()) {
        this.damage(`segment ${segment.volume}/${segment.pg}: log missing above ${segment.scl}`);
        host.saved = segment.points();
        host.savePoints = true;
      }
      // A page whose folded version was lost reads as an older one, or as zeros, and nothing else would show it.
      if (this.#isLoss) host.doubt();
      host.admittedScl = segment.scl;
    }
  }

  #state(key: string, value: Uint8Array): void {
    if (this.registers.restore(key, value)) return;
    if (key.startsWith(DISK_KEY)) {
      this.disks.set(key, value);
      return;
    }
    if (key.startsWith('g/')) {
      const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
      if (value.length !== 4) throw new SextantError('CORRUPTION', 'generation: length');
      this.generations.set(key.slice(2), view.getUint32(0, true));
      return;
    }
    const name = parseSegmentKey(key);
    if (name === undefined) throw new SextantError('CORRUPTION', 'unknown state key');
    const segment = segmentKey(name.volume, name.pg);
    this.#names.set(segment, name);
    if (name.kind === 'e') this.#epochs.set(segment, segmentEpochs.decode(value));
    else this.#points.set(segment, decodeSegmentPoints(value));
  }

  #host(key: SegmentKey): SegmentHost | undefined {
    const known = this.hosts.get(key);
    if (known !== undefined) return known;
    const name = this.#names.get(key);
    const epochs = this.#epochs.get(key);
    // Epochs are saved before the first boxcar: without them there is nothing to believe.
    if (name === undefined || epochs === undefined) return undefined;
    const host = new SegmentHost(name.volume, name.pg, epochs.whole, this.#faults);
    const points = this.#points.get(key);
    host.segment.restore(epochs, points, this.#store.floor(key));
    if (points !== undefined) host.saved = points;
    this.hosts.set(key, host);
    return host;
  }

  #recover(
    host: SegmentHost,
    found: RecoveredBoxcar,
  ): ReturnType<SegmentHost['segment']['recover']> {
    try {
      return host.segment.recover(found.bytes);
    } catch (error) {
      this.damage(error instanceof Error ? error.message : String(error));
      return { verdict: 'broken', lsn: 0 };
    }
  }
}
