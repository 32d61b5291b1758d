/**
 * A virtual disk served by the storage nodes: cuts what is to be written and read into messages to sets of replicas, and
 * bounds what is under way.
 *
 * - DISK-1: a write settles when every register is at its write quorum; a read asks read quorums, which meet those.
 * - Writes are under way together, up to a bound of bytes; beyond it they wait in order.
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import type { ReplicaSet } from '#storage-nodes/protocol/block-geometry.js';
import {
  blockStatusAnswer,
  blockStatusRequest,
  buryRequest,
  encodeBlockRequest,
  requestBytesAt,
  RunKind,
  type Run,
} from '#storage-nodes/protocol/codec-blocks.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import {
  CHUNK_BYTES,
  registerBytes,
  type FenceResult,
  type Region,
  type RegisterContent,
  type RegisterRead,
  type RegisterWrite,
  type Tag,
  type VirtualDisk,
} from './disk.js';
import type { DiskRegisters } from './disk-registers.js';
import { Fencing } from './fencing.js';
import { ReadRound } from './read-round.js';
import type { Session } from './session.js';
import { WriteRound } from './write-round.js';

const DEADLINE_MS = 30_000;
const MESSAGE_BYTES_MAX = 512 * 1024;
const IN_FLIGHT_BYTES_MAX = 32 * 1024 * 1024;
const STATUS_CALL_MS = 2000;
/** Tombstones that all copies have are kept so long: a message of before may still be on its way. */
const BURY_AFTER_MS = 60_000;

/** A part of one write or read, within one chunk. */
interface Piece {
  readonly run: Run;
  readonly source: Uint8Array | undefined;
  readonly from: number;
  /** Of reads: which one, and where in it. */
  readonly read: number;
  readonly register: number;
}

export class DiskClient implements VirtualDisk {
  readonly #session: Session;
  readonly #registers: DiskRegisters;
  readonly #fencing: Fencing;
  /** 0: the disk itself. */
  readonly #snapshot: number;
  #inFlightBytes = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(session: Session, registers: DiskRegisters, snapshot: number) {
    this.#session = session;
    this.#registers = registers;
    this.#fencing = new Fencing(session, registers);
    this.#snapshot = snapshot;
  }

  get token(): number {
    return this.#session.token;
  }

  get name(): string {
    return this.#session.state.name;
  }

  get fenceEpoch(): number {
    return this.#session.fenceEpoch;
  }

  /** As of the last look: [id, name]. */
  get snapshots(): readonly { readonly id: number; readonly name: string }[] {
    return this.#session.state.snapshots.map(({ id, name }) => ({ id, name }));
  }

  async write(
    writes: readonly RegisterWrite[],
    options: { readonly deadlineMs?: number } = {},
  ): Promise<void> {
    this.#requireWritable();
    const pieces = new Map<number, Piece[]>();
    for (const { region, index, tag, bytes } of writes) {
      assert(tag.clock > 0 && tag.token > 0, 'a tag has a clock and a token');
      const count = bytes.length / registerBytes(region);
      this.#cut(pieces, region, index, count, tag, RunKind.data, bytes, 0);
    }
    const rounds: Promise<WriteRound>[] = [];
    for (const message of messagesOf(pieces)) {
      rounds.push(this.#send(message.set, message.pieces, options.deadlineMs ?? DEADLINE_MS));
    }
    const done = await all(rounds);
    const newer = done.flatMap((round) => round.superseded);
    if (newer.length > 0) {
      const { region, index, clock, token } = newer[0];
      const what = `register ${region}/${index} has the newer tag (${clock}, ${token})`;
      throw new SextantError('CONFLICT', what);
    }
  }

  /** Cuts adjacent registers at the ends of chunks, and sorts the pieces by set of replicas. */
  #cut(
    pieces: Map<number, Piece[]>,
    region: Region,
    index: number,
    count: number,
    tag: Tag,
    kind: RunKind,
    source: Uint8Array | undefined,
    read: number,
  ): void {
    const isRange = Number.isSafeInteger(index) && index >= 0 && Number.isInteger(count);
    assert(isRange && count >= 1, 'a register has a region and an index');
    const size = registerBytes(region);
    const perChunk = CHUNK_BYTES / size;
    for (let done = 0; done < count;) {
      const at = index + done;
      const length = Math.min(count - done, perChunk - (at % perChunk));
      const { clock, token } = tag;
      const run: Run = { region, kind, count: length, index: at, clock, token };
      const set = this.#session.geometry.setOf(region, at);
      const piece: Piece = { run, source, from: done * size, read, register: done };
      const list = pieces.get(set);
      if (list === undefined) pieces.set(set, [piece]);
      else list.push(piece);
      done += length;
    }
  }

  async #send(setNo: number, pieces: readonly Piece[], deadlineMs: number): Promise<WriteRound> {
    const runs = pieces.map((piece) => piece.run);
    const dataBytes = bytesOf(pieces);
    await this.#room(dataBytes);
    try {
      this.#requireOpen();
      const session = this.#session;
      const body = encodeBlockRequest(session.request(runs, false), dataBytes);
      let at = requestBytesAt(runs.length);
      for (const { run, source, from } of pieces) {
        const length = run.count * registerBytes(run.region);
        if (source === undefined) continue;
        body.set(source.subarray(from, from + length), at);
        at += length;
      }
      const isTombstones = runs[0].kind === RunKind.tombstone;
      const round = new WriteRound(session, session.geometry.sets[setNo], body, isTombstones);
      if (isTombstones) void round.all().then(() => this.#buryLater(setNo, runs));
      await round.run(deadlineMs);
      return round;
    } finally {
      this.#release(dataBytes);
    }
  }

  /** Resolves when so many more bytes may be under way. */
  async #room(bytes: number): Promise<void> {
    while (this.#inFlightBytes > 0 && this.#inFlightBytes + bytes > IN_FLIGHT_BYTES_MAX) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      this.#requireOpen();
    }
    this.#inFlightBytes += bytes;
  }

  #release(bytes: number): void {
    this.#inFlightBytes -= bytes;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async read(
    reads: readonly RegisterRead[],
    options: { readonly deadlineMs?: number } = {},
  ): Promise<RegisterContent[]> {
    this.#requireOpen();
    const pieces = new Map<number, Piece[]>();
    const none: Tag = { clock: 0, token: 0 };
    reads.forEach(({ region, index, count }, read) =>
      this.#cut(pieces, region, index, count, none, RunKind.data, undefined, read),
    );
    const bytes = reads.map(({ region, count }) => new Uint8Array(count * registerBytes(region)));
    const tags = reads.map(({ count }) => Array.from<Tag>({ length: count }).fill(none));
    await all(
      messagesOf(pieces).map((message) =>
        this.#fetch(message.set, message.pieces, options.deadlineMs ?? DEADLINE_MS, bytes, tags),
      ),
    );
    return reads.map((_, i) => ({ bytes: bytes[i], tags: tags[i] }));
  }

  async #fetch(
    setNo: number,
    pieces: readonly Piece[],
    deadlineMs: number,
    bytes: readonly Uint8Array[],
    tags: readonly Tag[][],
  ): Promise<void> {
    const runs = pieces.map((piece) => piece.run);
    const set: ReplicaSet = this.#session.geometry.sets[setNo];
    const round = new ReadRound(this.#session, set, runs, this.#snapshot, this.#voters(set));
    await round.run(deadlineMs);
    let at = 0;
    let register = 0;
    for (const { run, read, register: first } of pieces) {
      const size = registerBytes(run.region);
      const length = run.count * size;
      bytes[read].set(round.bytes.subarray(at, at + length), first * size);
      at += length;
      for (let i = 0; i < run.count; i++, register++) {
        tags[read][first + i] = { clock: round.clock[register], token: round.token[register] };
      }
    }
  }

  /** Of a snapshot: the nodes that could store nothing in its epochs any more when it was taken. */
  #voters(set: ReplicaSet): { nodes: string[]; quorum: number } | undefined {
    if (this.#snapshot === 0) return undefined;
    const taken = this.#session.state.snapshots.find(({ id }) => id === this.#snapshot);
    const nodes = set.nodes.filter((node) => taken?.used.includes(node) === true);
    return { nodes, quorum: set.read };
  }

  async decommit(region: Region, firstIndex: number, count: number, tag: Tag): Promise<void> {
    this.#requireWritable();
    const perChunk = CHUNK_BYTES / registerBytes(region);
    assert(firstIndex % perChunk === 0 && count % perChunk === 0, 'whole chunks are given back');
    const pieces = new Map<number, Piece[]>();
    this.#cut(pieces, region, firstIndex, count, tag, RunKind.tombstone, undefined, 0);
    const rounds = messagesOf(pieces).map((message) =>
      this.#send(message.set, message.pieces, DEADLINE_MS),
    );
    const done = await all(rounds);
    if (done.some((round) => round.superseded.length > 0)) {
      throw new SextantError('CONFLICT', 'registers that were given back have newer tags');
    }
  }

  #buryLater(setNo: number, runs: readonly Run[]): void {
    this.#session.world.timers.after(BURY_AFTER_MS, () => {
      if (this.#session.closed) return;
      const { disk } = this.#session.state;
      for (const node of this.#session.geometry.sets[setNo].nodes) {
        for (const { region, index, count, clock, token } of runs) {
          const body = buryRequest.encode({ disk, region, index, count, clock, token });
          this.#session
            .link(node)
            .call(MessageType.blockBury, body, STATUS_CALL_MS)
            .catch(() => undefined);
        }
      }
    });
  }

  reportComplete(clock: number): void {
    this.#session.complete = Math.max(this.#session.complete, clock);
  }

  fence(token: number): Promise<FenceResult> {
    this.#requireWritable();
    return this.#fencing.fence(token, DEADLINE_MS);
  }

  refreshFences(): Promise<void> {
    this.#requireOpen();
    return this.#fencing.refresh(DEADLINE_MS);
  }

  snapshot(name: string): Promise<number> {
    this.#requireWritable();
    return this.#fencing.snapshot(name, DEADLINE_MS);
  }

  /** Its space is given back in the background. */
  deleteSnapshot(id: number): Promise<void> {
    this.#requireWritable();
    return this.#fencing.deleteSnapshot(id, DEADLINE_MS);
  }

  /** Bytes of registers, each counted once; approximate, as copies differ by region. Rejects with NO_QUORUM. */
  async statistics(): Promise<{ readonly bytesUsed: number; readonly bytesFree: number }> {
    this.#requireOpen();
    const { geometry, state } = this.#session;
    const body = blockStatusRequest.encode({ disk: state.disk });
    const answers = await Promise.all(
      geometry.nodes.map((node) =>
        this.#session
          .link(node)
          .call(MessageType.blockStatus, body, STATUS_CALL_MS)
          .then(
            (bytes) => blockStatusAnswer.decode(bytes),
            () => undefined,
          ),
      ),
    );
    const found = answers.filter((answer) => answer !== undefined);
    if (found.length === 0) throw new SextantError('NO_QUORUM', 'no storage node answers');
    const nodes = geometry.nodes.length;
    const used = found.reduce((sum, answer) => sum + answer.bytesUsed, 0) / found.length;
    const free = Math.min(...found.map((answer) => answer.bytesFree));
    return {
      bytesUsed: Math.round((used * nodes) / state.dataCopies),
      bytesFree: Math.floor((free * nodes) / state.dataCopies),
    };
  }

  async close(): Promise<void> {
    if (this.#session.closed) return;
    this.#session.closed = true;
    for (const link of this.#session.links.values()) link.close();
    this.#release(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The registers behind it, for tools that list and make disks. */
  get registers(): DiskRegisters {
    return this.#registers;
  }

  #requireOpen(): void {
    if (this.#session.closed) throw new SextantError('CLOSED', 'disk is closed');
  }

  #requireWritable(): void {
    this.#requireOpen();
    if (this.#snapshot !== 0) throw new SextantError('CONFIG', 'a snapshot is read-only');
    if (this.token === 0) throw new SextantError('CONFIG', 'a disk without a token is read-only');
  }
}

function bytesOf(pieces: readonly Piece[]): number {
  let bytes = 0;
  for (const { run } of pieces) {
    if (run.kind === RunKind.data) bytes += run.count * registerBytes(run.region);
  }
  return bytes;
}

/** Pieces of one set, together up to a bound. */
function messagesOf(
  pieces: ReadonlyMap<number, readonly Piece[]>,
): { readonly set: number; readonly pieces: readonly Piece[] }[] {
  const messages: { set: number; pieces: Piece[] }[] = [];
  for (const [set, list] of pieces) {
    let open: Piece[] = [];
    let bytes = 0;
    for (const piece of list) {
      const more = piece.run.count * registerBytes(piece.run.region);
      if (open.length > 0 && bytes + more > MESSAGE_BYTES_MAX) {
        messages.push({ set, pieces: open });
        open = [];
        bytes = 0;
      }
      open.push(piece);
      bytes += more;
    }
    messages.push({ set, pieces: open });
  }
  return messages;
}

/** Waits for all of them, then rejects with the first failure: nothing of a call is under way when it has settled. */
async function all<T>(rounds: readonly Promise<T>[]): Promise<T[]> {
  if (rounds.length === 1) return [await rounds[0]];
  const settled = await Promise.allSettled(rounds);
  const values: T[] = [];
  for (const result of settled) {
    if (result.status === 'rejected') throw result.reason;
    values.push(result.value);
  }
  return values;
}
