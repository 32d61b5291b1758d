/**
 * Plays a script of range locks. Lines at the margin are calls, indented ones what is answered, at once or later.
 *
 * ```
 *   A/p1 locks read 0-10 [wait] [in FILE]     clerk A; owner p1 (p: posix, o: ofd, f: flock, then 0-end is meant)
 *   A/p1 unlocks 0-10 | A/p1 tests write 0-end | A/p1 closes | A/p1 claims read 0-10 | A repeats r3 | A cancels r3
 *   A expires | A recovers | group open | group rebuilding | group shut | group lost | shows
 * ```
 */
import type { RangeAnswer, RangeRequest } from '../protocol/messages.js';
import { rangeGroupOf } from '../protocol/lock-vectors.js';
import { RANGE_END } from './range-list.js';
import { RangeTable } from './range-table.js';
import type { Gate, RangeTableOptions } from './range-table.js';

const FAMILIES = { p: 'posix', o: 'ofd', f: 'flock' } as const;
const GROUP = rangeGroupOf(1);

const tokenOf = (name: string): number => name.charCodeAt(0) - 64;
const nameOf = (token: number): string => String.fromCharCode(64 + token);
const offsetOf = (text: string): string => (text === 'end' ? RANGE_END.toString() : text);
const spanText = (start: bigint | string, end: bigint | string): string =>
  `${start}-${BigInt(end) === RANGE_END ? 'end' : end}`;

function answerText(request: number, answer: RangeAnswer): string {
  const { outcome, blocker } = answer;
  if (blocker === undefined) return `    r${request} ${outcome}`;
  const { token, owner, type, start, end } = blocker;
  const who = `${nameOf(token)}/${owner} ${type} ${spanText(start, end)}`;
  return `    r${request} ${outcome}: ${who}`;
}

export class RangeScript {
  readonly table: RangeTable;
  readonly #lines: string[] = [];
  readonly #requests = new Map<number, RangeRequest>();
  #gate: Gate = 'open';
  #request = 0;

  constructor(options: Partial<RangeTableOptions> = {}) {
    this.table = new RangeTable({
      gate: () => this.#gate,
      outbox: {
        answer: (_token, request, answer) => this.#lines.push(answerText(request, answer)),
        fail: (_token, request, error) => this.#lines.push(`    r${request} fails: ${error.code}`),
      },
      ...options,
    });
  }

  play(script: string): string {
    const margin = /^ */.exec(script.replace(/^\n/, ''))?.[0].length ?? 0;
    for (const raw of script.split('\n')) {
      const line = raw.slice(margin);
      if (line.trim() === '' || line.startsWith(' ')) continue;
      this.#lines.push(line);
      this.#step(line.split(' '));
    }
    const body = this.#lines.map((line) => ' '.repeat(margin) + line).join('\n');
    return `\n${body}\n${' '.repeat(Math.max(0, margin - 2))}`;
  }

  #step(words: string[]): void {
    const [who = '', what = '', third = ''] = words;
    const token = tokenOf(who);
    if (who === 'shows') return this.#show();
    if (who === 'group' && what === 'lost') return this.table.loseGroup(GROUP);
    if (who === 'group') {
      this.#gate = what as Gate;
      return this.table.groupOpened(GROUP, 0);
    }
    if (what === 'expires') return this.table.clerkExpired(token);
    if (what === 'recovers') return this.table.clerkRecovered(token, 0);
    const known = this.#requests.get(Number(third.slice(1)));
    if (known !== undefined && what === 'repeats') return this.#call(known);
    if (known !== undefined && what === 'cancels') return this.#call({ ...known, op: 'cancel' });
    const locks = what === 'locks' || what === 'claims' || what === 'tests';
    const [start = '0', end = 'end'] = (words[locks ? 3 : 2] ?? '0-end').split('-');
    const owner = who.slice(2);
    const ops = { closes: 'release-owner', tests: 'test', claims: 'claim' } as const;
    this.#call({
      token,
      table: 1,
      idHigh: 0,
      idLow: Number(words.includes('in') ? words.at(-1) : 1),
      epoch: 1,
      op: ops[what as keyof typeof ops] ?? 'set',
      family: FAMILIES[owner.charAt(0) as keyof typeof FAMILIES],
      owner,
      type: locks ? (third as 'read' | 'write') : 'unlock',
      start,
      end: offsetOf(end),
      wait: words.includes('wait'),
      request: ++this.#request,
      pid: 0,
    });
  }

  #call(request: RangeRequest): void {
    this.#requests.set(request.request, request);
    try {
      const answer = this.table.request(request, 0);
      const text = answerText(request.request, answer ?? { outcome: 'granted' });
      this.#lines.push(answer === undefined ? `    r${request.request} waits` : text);
    } catch (error) {
      this.#lines.push(`    r${request.request} fails: ${(error as { code: string }).code}`);
    }
  }

  #show(): void {
    for (const file of this.table.files) {
      for (const { owner, range } of file.holders()) {
        const where = `${range.type} ${spanText(range.start, range.end)} in ${file.idLow}`;
        this.#lines.push(`    ${nameOf(owner.token)}/${owner.name} ${where}`);
      }
    }
    this.#lines.push(`    ${this.table.waiting} wait`);
  }
}
