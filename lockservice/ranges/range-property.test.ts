/** Range locks against a model that keeps one mark for each byte and owner, and finds circles by walking all of them. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RangeRequest } from '../protocol/messages.js';
import { RANGE_END } from './range-list.js';
import { RangeTable } from './range-table.js';

const BYTES = 12;
const FILES = 2;
const OWNERS = ['p1', 'p2', 'o1', 'f1'].flatMap((name) => [`1/${name}`, `2/${name}`]);

interface Op {
  op: 'set' | 'test' | 'release-owner' | 'cancel';
  owner: number;
  file: number;
  type: 'read' | 'write' | 'unlock';
  start: number;
  end: number;
  wait: boolean;
  /** Of a cancel: which of those that wait. */
  which: number;
}

interface Wait extends Op {
  request: number;
}

const familyOf = (owner: number): string => OWNERS[owner]!.charAt(2);
const isFlock = (owner: number): boolean => familyOf(owner) === 'f';
const isPosix = (owner: number): boolean => familyOf(owner) === 'p';

class ByteModel {
  /** marks[file][owner][byte]: 0 free, 1 read, 2 write. */
  readonly marks = Array.from({ length: FILES }, () => OWNERS.map(() => new Uint8Array(BYTES)));
  waits: Wait[] = [];
  readonly answers: string[] = [];

  of({ file, owner }: { file: number; owner: number }): Uint8Array {
    return this.marks[file]![owner]!;
  }

  /** Owners in the way. */
  inTheWay(op: Op): number[] {
    return OWNERS.map((_, other) => other).filter((other) => {
      if (other === op.owner || isFlock(other) !== isFlock(op.owner)) return false;
      const bytes = this.of({ file: op.file, owner: other }).subarray(op.start, op.end);
      return op.type === 'write' ? bytes.some((mark) => mark > 0) : bytes.includes(2);
    });
  }

  /** Whether `op` would wait for its own owner: by closing the relation "waits for" until nothing is new. */
  circular(op: Wait): boolean {
    if (!isPosix(op.owner)) return false;
    const reached = new Set(this.inTheWay(op));
    for (let size = -1; size !== reached.size;) {
      size = reached.size;
      for (const wait of this.waits) {
        if (!reached.has(wait.owner) || !isPosix(wait.owner)) continue;
        for (const other of this.inTheWay(wait)) reached.add(other);
      }
    }
    return reached.has(op.owner);
  }

  mark(op: Op): void {
    this.of(op).fill(op.type === 'read' ? 1 : op.type === 'write' ? 2 : 0, op.start, op.end);
  }

  say(request: number, outcome: string): void {
    this.answers.push(`${request} ${outcome}`);
  }

  pump(file: number): void {
    for (let again = true; again;) {
      again = false;
      for (const wait of this.waits.filter((one) => one.file === file)) {
        if (!this.waits.includes(wait) || this.inTheWay(wait).length > 0) continue;
        this.mark(wait);
        this.waits = this.waits.filter((one) => one !== wait);
        this.say(wait.request, 'granted');
        for (const other of this.waits.filter((one) => one.owner === wait.owner)) {
          if (!this.circular(other)) continue;
          this.waits = this.waits.filter((one) => one !== other);
          this.say(other.request, 'deadlock');
        }
        again = true;
      }
    }
  }

  step(op: Wait): void {
    const { request } = op;
    if (op.op === 'test') {
      return this.say(request, this.inTheWay(op).length > 0 ? 'would-block' : 'free');
    }
    if (op.op === 'release-owner' || op.type === 'unlock') {
      if (op.op === 'release-owner') this.of(op).fill(0);
      else this.mark(op);
      this.pump(op.file);
      return this.say(request, 'granted');
    }
    const held = this.of(op)[0];
    if (isFlock(op.owner) && held === (op.type === 'read' ? 1 : 2)) {
      return this.say(request, 'granted');
    }
    if (isFlock(op.owner) && held !== 0) {
      this.of(op).fill(0);
      this.pump(op.file);
    }
    if (this.inTheWay(op).length === 0) {
      this.mark(op);
      this.pump(op.file);
      this.say(request, 'granted');
    } else if (!op.wait) this.say(request, 'would-block');
    else if (this.circular(op)) this.say(request, 'deadlock');
    else this.waits.push(op);
  }
}

const op: fc.Arbitrary<Op> = fc
  .record({
    op: fc.oneof(
      { weight: 12, arbitrary: fc.constant<Op['op']>('set') },
      { weight: 1, arbitrary: fc.constantFrom<Op['op']>('test', 'release-owner', 'cancel') },
    ),
    owner: fc.nat(OWNERS.length - 1),
    file: fc.nat(FILES - 1),
    type: fc.constantFrom<Op['type']>('read', 'write', 'write', 'unlock'),
    start: fc.nat(BYTES - 1),
    end: fc.nat(BYTES - 1),
    wait: fc.boolean(),
    which: fc.nat(),
  })
  .map((one): Op => (one.op === 'test' && one.type === 'unlock' ? { ...one, type: 'read' } : one))
  .map((one) => {
    if (isFlock(one.owner)) return { ...one, start: 0, end: BYTES };
    const [start, end] = [Math.min(one.start, one.end), Math.max(one.start, one.end) + 1];
    return { ...one, start, end };
  });

const FAMILIES: Record<string, RangeRequest['family']> = { p: 'posix', o: 'ofd', f: 'flock' };

function requestOf(
  { owner, file, start, end, type, wait, op: name }: Op,
  request: number,
): RangeRequest {
  return {
    token: Number(OWNERS[owner]!.charAt(0)),
    table: 1,
    idHigh: 0,
    idLow: file,
    epoch: 1,
    op: name,
    family: FAMILIES[familyOf(owner)]!,
    owner: OWNERS[owner]!.slice(2),
    type,
    start: String(start),
    end: end === BYTES ? RANGE_END.toString() : String(end),
    wait,
    request,
    pid: 7,
  };
}

function sameAsModel(ops: readonly Op[]): void {
  const answers: string[] = [];
  const model = new ByteModel();
  const table = new RangeTable({
    gate: () => 'open',
    outbox: {
      answer: (_token, request, { outcome }) => answers.push(`${request} ${outcome}`),
      fail: (_token, request, error) => answers.push(`${request} ${error.code}`),
    },
  });
  ops.forEach((one, number) => {
    if (one.op === 'cancel') {
      const wait = model.waits[one.which % Math.max(1, model.waits.length)];
      if (wait === undefined) return;
      model.waits = model.waits.filter((other) => other !== wait);
      model.say(wait.request, 'cancelled');
      table.request({ ...requestOf(wait, wait.request), op: 'cancel' }, 0);
    } else {
      model.step({ ...one, request: number });
      const answer = table.request(requestOf(one, number), 0);
      if (answer !== undefined) answers.push(`${number} ${answer.outcome}`);
    }
    expect(answers).toEqual(model.answers);
    expect(table.waiting).toBe(model.waits.length);
  });
  const drawn = model.marks.map((owners) => owners.map((marks) => marks.join('')));
  const held = model.marks.map(() => OWNERS.map(() => new Uint8Array(BYTES)));
  for (const file of table.files) {
    for (const { owner, range } of file.holders()) {
      const marks = held[file.idLow]![OWNERS.indexOf(`${owner.token}/${owner.name}`)]!;
      const end = range.end === RANGE_END ? BYTES : Number(range.end);
      marks.fill(range.type === 'read' ? 1 : 2, Number(range.start), end);
    }
  }
  expect(held.map((owners) => owners.map((marks) => marks.join('')))).toEqual(drawn);
  for (const token of [1, 2]) table.clerkRecovered(token, 0);
  expect(table.fileCount).toBe(0);
}

describe('range locks', () => {
  it('do what one mark for each byte would do', () => {
    fc.assert(fc.property(fc.array(op, { maxLength: 60 }), sameAsModel), { numRuns: 800 });
  });
});
