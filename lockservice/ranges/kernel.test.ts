/**
 * The same calls to Linux, on a local file, and to the range table: three processes (posix), two open file descriptions (ofd)
 * and two flocks, none of which waits. Needs python3 and a kernel with OFD locks; without them it says so and is skipped.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import type { RangeRequest } from '../protocol/messages.js';
import { RANGE_END } from './range-list.js';
import { RangeTable } from './range-table.js';

/** Reads one list of calls, [owner, op, type, start, length] each, and prints the outcomes. */
const PYTHON = `
import fcntl, json, os, struct, sys
path, calls = sys.argv[1], json.load(sys.stdin)
TYPES = {'read': fcntl.F_RDLCK, 'write': fcntl.F_WRLCK, 'unlock': fcntl.F_UNLCK}
SET, GET = 37, 36
def lock(fd, op, kind, start, length, ofd):
    flock = struct.pack('hhqqi4x', TYPES[kind], 0, start, length, 0)
    try:
        if op == 'test':
            got = fcntl.fcntl(fd, GET if ofd else fcntl.F_GETLK, flock)
            return 'free' if struct.unpack('hhqqi4x', got)[0] == fcntl.F_UNLCK else 'would-block'
        fcntl.fcntl(fd, SET if ofd else fcntl.F_SETLK, flock)
        return 'granted'
    except BlockingIOError:
        return 'would-block'
    except PermissionError:
        return 'would-block'
class Process:
    def __init__(self):
        ask, self.ask = os.pipe()
        self.answer, answer = os.pipe()
        if os.fork() == 0:
            os.close(self.ask)
            fd = os.open(path, os.O_RDWR)
            for line in os.fdopen(ask):
                op, kind, start, length = json.loads(line)
                if op == 'release-owner':
                    os.close(os.open(path, os.O_RDWR))
                    out = 'granted'
                else:
                    out = lock(fd, op, kind, start, length, False)
                os.write(answer, (out + '\\n').encode())
            os._exit(0)
        os.close(ask)
        os.close(answer)
        self.answers = os.fdopen(self.answer)
    def call(self, *call):
        os.write(self.ask, (json.dumps(call) + '\\n').encode())
        return self.answers.readline().strip()
class OpenFile:
    def __init__(self): self.fd = os.open(path, os.O_RDWR)
    def call(self, op, kind, start, length):
        if op == 'release-owner':
            op, kind, start, length = 'set', 'unlock', 0, 0
        return lock(self.fd, op, kind, start, length, True)
class Flock:
    def __init__(self): self.fd = os.open(path, os.O_RDWR)
    def call(self, op, kind, start, length):
        if op == 'release-owner': kind = 'unlock'
        how = {'read': fcntl.LOCK_SH, 'write': fcntl.LOCK_EX, 'unlock': fcntl.LOCK_UN}[kind]
        try:
            fcntl.flock(self.fd, how | fcntl.LOCK_NB)
            return 'granted'
        except BlockingIOError:
            return 'would-block'
owners = {}
makers = {'p': Process, 'o': OpenFile, 'f': Flock}
for name in ['p1', 'p2', 'p3', 'o1', 'o2', 'f1', 'f2']: owners[name] = makers[name[0]]()
print(json.dumps([owners[name].call(*call) for name, *call in calls]))
`;
const FAMILIES = { p: 'posix', o: 'ofd', f: 'flock' } as const;
type Call = [
  owner: string,
  op: 'set' | 'test' | 'release-owner',
  type: RangeRequest['type'],
  start: number,
  length: number,
];

function asked(folder: string, calls: readonly Call[]): string[] | undefined {
  const path = join(folder, 'file');
  const make = `open(${JSON.stringify(path)}, 'w').close()\n`;
  const args = ['-c', PYTHON.replace('TYPES =', `${make}TYPES =`), path];
  const { status, stdout } = spawnSync('python3', args, { input: JSON.stringify(calls) });
  return status === 0 ? (JSON.parse(stdout.toString()) as string[]) : undefined;
}

function answered(calls: readonly Call[]): string[] {
  const outbox = { answer: () => undefined, fail: () => undefined };
  const table = new RangeTable({ gate: () => 'open', outbox });
  return calls.map(([owner, op, type, start, length], request) => {
    const end = length === 0 ? RANGE_END : BigInt(start + length);
    const family = FAMILIES[owner.charAt(0) as keyof typeof FAMILIES];
    const name = { token: 1, table: 1, idHigh: 0, idLow: 1, epoch: 1, family, owner };
    const span = { start: String(start), end: end.toString() };
    const call: RangeRequest = { ...name, ...span, op, type, wait: false, request, pid: 1 };
    return table.request(call, 0)?.outcome ?? 'waits';
  });
}

const call: fc.Arbitrary<Call> = fc
  .tuple(
    fc.constantFrom('p1', 'p2', 'p3', 'o1', 'o2', 'f1', 'f2'),
    fc.oneof(
      { weight: 6, arbitrary: fc.constant('set' as const) },
      { weight: 2, arbitrary: fc.constant('test' as const) },
      { weight: 1, arbitrary: fc.constant('release-owner' as const) },
    ),
    fc.constantFrom('read' as const, 'write' as const, 'unlock' as const),
    fc.nat(15),
    fc.nat(6),
  )
  .map(([owner, op, type, start, length]): Call => {
    if (owner.startsWith('f')) return [owner, op === 'test' ? 'set' : op, type, 0, 0];
    return [owner, op, op === 'test' && type === 'unlock' ? 'write' : type, start, length];
  });

it('range locks are those of Linux', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'sextant-ranges-'));
  try {
    if (asked(folder, [['o1', 'set', 'write', 0, 1]])?.[0] !== 'granted') {
      console.log('skipped: no python3, or a kernel without OFD locks');
      context.skip();
    }
    const schedules = fc.sample(fc.array(call, { minLength: 400, maxLength: 400 }), {
      numRuns: 8,
      seed: 7,
    });
    for (const calls of schedules) expect(answered(calls)).toEqual(asked(folder, calls));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
