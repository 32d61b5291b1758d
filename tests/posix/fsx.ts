/**
 * The data exerciser, after fsx: random calls on one file against an array of bytes. A failure is answered with the shortest
 * list of calls found that still fails (calls are taken out as long as it does).
 */
import { type Capability, FALLOC, type File, O, type PosixFs } from './posix-fs.js';
import { Random } from './random.js';

export interface FsxOptions {
  readonly seed: number;
  readonly steps: number;
  /** Instances over the same files; every open goes to one of them by lot. */
  readonly instances: readonly PosixFs[];
  readonly sizeMax?: number;
}

const KINDS = [
  'read',
  'write',
  'truncate',
  'punch',
  'zero',
  'allocate',
  'copy',
  'mapRead',
  'mapWrite',
  'reopen',
  'sync',
] as const;
type Kind = (typeof KINDS)[number];
const NEEDS: Partial<Record<Kind, Capability>> = {
  punch: 'fallocate',
  zero: 'fallocate',
  allocate: 'fallocate',
  copy: 'copyRange',
  mapRead: 'mmap',
  mapWrite: 'mmap',
};

interface Call {
  readonly kind: Kind;
  readonly offset: number;
  readonly length: number;
  readonly target: number;
  readonly fill: number;
}

function callsOf(options: FsxOptions, sizeMax: number): Call[] {
  const random = new Random(options.seed);
  const kinds = KINDS.filter((kind) => {
    const need = NEEDS[kind];
    return need === undefined || options.instances.every((fs) => fs.can.has(need));
  });
  const place = (): number => {
    const at = random.below(sizeMax);
    // Often at or beside the border of a block.
    return random.below(3) === 0 ? Math.max(0, (at & ~4095) + random.below(3) - 1) : at;
  };
  return Array.from({ length: options.steps }, () => ({
    kind: random.pick(kinds),
    offset: place(),
    length: 1 + random.below(random.below(4) === 0 ? 40_000 : 6000),
    target: place(),
    fill: 1 + random.below(255),
  }));
}

class Exerciser {
  readonly #instances: readonly PosixFs[];
  readonly #sizeMax: number;
  readonly #name = 'fsx-file';
  #good = Buffer.alloc(0);
  #file: File | undefined;

  constructor(instances: readonly PosixFs[], sizeMax: number) {
    this.#instances = instances;
    this.#sizeMax = sizeMax;
  }

  async #open(which: number): Promise<void> {
    await this.#file?.close();
    const fs = this.#instances[which % this.#instances.length] as PosixFs;
    this.#file = await fs.open(this.#name, O.RDWR | O.CREAT, 0o644);
  }

  #grow(size: number): void {
    if (size <= this.#good.length) return;
    this.#good = Buffer.concat([this.#good, Buffer.alloc(size - this.#good.length)]);
  }

  async #check(offset: number, found: Buffer, length: number): Promise<string | undefined> {
    const wanted = this.#good.subarray(offset, offset + length);
    if (found.equals(wanted)) return undefined;
    if (found.length !== wanted.length) return `${found.length} bytes instead of ${wanted.length}`;
    const at = found.findIndex((byte, index) => byte !== wanted[index]);
    return `byte ${offset + at} is ${found[at]} instead of ${wanted[at]}`;
  }

  /** Answers what is wrong. */
  async #one(call: Call): Promise<string | undefined> {
    const file = this.#file as File;
    const { offset, fill, target } = call;
    const length = Math.min(call.length, this.#sizeMax - offset);
    const inside = Math.min(length, this.#good.length - offset);
    const data = Buffer.alloc(length, fill);
    switch (call.kind) {
      case 'read':
        return this.#check(offset, await file.read(offset, length), length);
      case 'write':
        await file.write(offset, data);
        this.#grow(offset + length);
        data.copy(this.#good, offset);
        return undefined;
      case 'truncate':
        await file.truncate(offset);
        this.#grow(offset);
        this.#good = Buffer.from(this.#good.subarray(0, offset));
        return undefined;
      case 'punch':
        await file.allocate(FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, offset, length);
        if (inside > 0) this.#good.fill(0, offset, offset + inside);
        return undefined;
      case 'zero':
        await file.allocate(FALLOC.ZERO_RANGE, offset, length);
        this.#grow(offset + length);
        this.#good.fill(0, offset, offset + length);
        return undefined;
      case 'allocate':
        await file.allocate(0, offset, length);
        this.#grow(offset + length);
        return undefined;
      case 'copy': {
        const count = Math.min(inside, this.#sizeMax - target);
        if (count <= 0 || Math.abs(target - offset) < count) return undefined;
        const done = await file.copyTo(offset, file, target, count);
        this.#grow(target + done);
        this.#good.copy(this.#good, target, offset, offset + done);
        return done > 0 ? undefined : 'nothing was copied';
      }
      case 'mapRead':
        return inside <= 0
          ? undefined
          : this.#check(offset, await file.mapRead(offset, inside), inside);
      case 'mapWrite':
        if (inside <= 0) return undefined;
        await file.mapWrite(offset, data.subarray(0, inside));
        data.copy(this.#good, offset, 0, inside);
        return undefined;
      case 'reopen':
        await this.#open(fill);
        return undefined;
      case 'sync':
        await file.sync(fill % 2 === 0);
        return undefined;
    }
  }

  async run(calls: readonly Call[]): Promise<{ step: number; what: string } | undefined> {
    this.#good = Buffer.alloc(0);
    await this.#open(0);
    try {
      for (const [step, call] of calls.entries()) {
        let what = await this.#one(call);
        const size = (await (this.#file as File).stat()).size;
        if (what === undefined && size !== this.#good.length)
          what = `size ${size} instead of ${this.#good.length}`;
        if (what === undefined && (step % 50 === 49 || step === calls.length - 1)) {
          what = await this.#check(
            0,
            await (this.#file as File).read(0, this.#sizeMax + 1),
            this.#sizeMax + 1,
          );
        }
        if (what !== undefined) return { step, what };
      }
      return undefined;
    } catch (error) {
      return { step: -1, what: String(error) };
    } finally {
      await this.#file?.close();
      this.#file = undefined;
      await this.#instances[0]?.unlink(this.#name);
    }
  }
}

/** Undefined when all was right; otherwise what was wrong and the calls that lead there. */
export async function runFsx(options: FsxOptions): Promise<string | undefined> {
  const sizeMax = options.sizeMax ?? 262_144;
  const exerciser = new Exerciser(options.instances, sizeMax);
  let calls = callsOf(options, sizeMax);
  let failure = await exerciser.run(calls);
  if (failure === undefined) return undefined;
  const first = failure;
  if (failure.step >= 0) calls = calls.slice(0, failure.step + 1);
  for (let piece = calls.length >> 1; piece >= 1; piece >>= 1) {
    for (let at = 0; at < calls.length;) {
      const fewer = [...calls.slice(0, at), ...calls.slice(at + piece)];
      const again = fewer.length === 0 ? undefined : await exerciser.run(fewer);
      if (again === undefined) at += piece;
      else {
        calls = fewer;
        failure = again;
      }
    }
  }
  const lines = calls.map(
    (call) =>
      `${call.kind} ${call.length} at ${call.offset} (to ${call.target}, fill ${call.fill})`,
  );
  return `seed ${options.seed}: ${first.what}; shortest: ${failure.what}\n  ${lines.join('\n  ')}`;
}
