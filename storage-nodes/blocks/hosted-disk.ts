/**
 * What a node knows of one virtual disk beside its registers: epochs, fences, what writers reported. Kept in the journal as the
 * state key `b/<disk>`, whole.
 *
 * - BLOCK-5 A refused token is durable before the fence is acknowledged, and refused from then on.
 * - BLOCK-6 `fenceEpoch` rises only when the node is in step: its list was used, or what it held was checked (rule 12).
 */
import { SextantError } from '#core/errors.js';
import { jsonCodec, list, lsn, object, text, u32, type Check } from '#core/rpc/shape.js';
import { Geometry, type DiskState } from '../protocol/block-geometry.js';
import { diskState } from '../protocol/codec-blocks.js';

/** [token, clock] */
type Reported = readonly [number, number];
const reported: Check<Reported> = (value, path) => {
  const [token, clock] = list(lsn, 2)(value, path);
  if (clock === undefined) throw new SextantError('CORRUPTION', 'a reported clock');
  return [token, clock];
};

interface Record {
  readonly disk: number;
  readonly epoch: number;
  readonly fenceEpoch: number;
  readonly refused: readonly number[];
  readonly answered: readonly number[];
  readonly complete: readonly Reported[];
  readonly clock: number;
  readonly blind: readonly number[];
  /** JSON of the DiskState, or empty. */
  readonly state: string;
  readonly wholeGeneration: number;
}

const record = jsonCodec(
  'hosted disk',
  object<Record>({
    disk: u32,
    epoch: u32,
    fenceEpoch: lsn,
    refused: list(lsn),
    answered: list(lsn),
    complete: list(reported),
    clock: lsn,
    blind: list(u32),
    state: (value, path) => (typeof value === 'string' ? value : text(value, path)),
    wholeGeneration: u32,
  }),
);

export const DISK_KEY = 'b/';

export class HostedDisk {
  readonly disk: number;
  epoch = 1;
  /** In step with all fences up to this. */
  fenceEpoch = 0;
  readonly refused = new Set<number>();
  /** Of those: refused before anything of this folder could be asked about them. Being used counts for nothing else. */
  readonly answered = new Set<number>();
  /** Token -> everything that its owner reported complete. */
  readonly complete = new Map<number, number>();
  /** Largest clock of registers that were forgotten here. */
  clock = 0;
  state: DiskState | undefined;
  geometry: Geometry | undefined;
  /** Snapshots on which it has no vote: it was rebuilt without those that have. */
  readonly blind = new Set<number>();
  /** Generation of the folder in which the disk was whole. */
  wholeGeneration = 0;
  /** Now: it may vote and answer fences. */
  whole = false;
  /** Getting in step with fences. */
  learning: Promise<void> | undefined;

  constructor(disk: number) {
    this.disk = disk;
  }

  get key(): string {
    return `${DISK_KEY}${this.disk}`;
  }

  report(token: number, clock: number): void {
    if (token === 0 || clock === 0) return;
    if (clock > (this.complete.get(token) ?? 0)) this.complete.set(token, clock);
  }

  /** False: this state is not newer than the one known. */
  adopt(state: DiskState): boolean {
    if (this.state !== undefined && state.version <= this.state.version) return false;
    this.state = state;
    this.geometry = new Geometry(state);
    this.epoch = Math.max(this.epoch, state.epoch);
    for (const fence of state.fences) this.refused.add(fence.token);
    return true;
  }

  encode(): Uint8Array {
    const decoder = new TextDecoder();
    return record.encode({
      disk: this.disk,
      epoch: this.epoch,
      fenceEpoch: this.fenceEpoch,
      refused: [...this.refused],
      answered: [...this.answered],
      complete: [...this.complete],
      clock: this.clock,
      blind: [...this.blind],
      state: this.state === undefined ? '' : decoder.decode(diskState.encode(this.state)),
      wholeGeneration: this.wholeGeneration,
    });
  }

  /** Throws PROTOCOL, CORRUPTION. */
  static decode(bytes: Uint8Array): HostedDisk {
    const found = record.decode(bytes);
    const hosted = new HostedDisk(found.disk);
    if (found.state !== '') hosted.adopt(diskState.decode(new TextEncoder().encode(found.state)));
    hosted.epoch = Math.max(hosted.epoch, found.epoch);
    hosted.fenceEpoch = found.fenceEpoch;
    for (const token of found.refused) hosted.refused.add(token);
    for (const [token, clock] of found.complete) hosted.complete.set(token, clock);
    for (const token of found.answered) hosted.answered.add(token);
    hosted.clock = found.clock;
    for (const id of found.blind) hosted.blind.add(id);
    hosted.wholeGeneration = found.wholeGeneration;
    return hosted;
  }
}
