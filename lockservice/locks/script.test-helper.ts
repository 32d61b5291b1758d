/**
 * Plays a script of the lock protocol. Lines at the margin are what happens; indented ones are what the server sends. `play`
 * answers the script with what was really sent, so a test compares a text with itself.
 *
 * ```
 *   A requests 5 exclusive [nowait] [in E] [again] | A releases 5 [to shared] [of #E.N] [in E] | A keeps 5
 *   A cancels 5 | A claims 5 exclusive #E.N, ... [part P] [attempt N] [more] | A connects | A expires | A recovers
 *   group gained E [awaiting A B] [dead C] | group lost | time MS | server pauses | server resumes | floor N | clock
 * ```
 */
import { groupOf, LockItem } from '../protocol/lock-vectors.js';
import { RefuseCode } from '../protocol/messages.js';
import type { Level } from '../protocol/messages.js';
import { LockServerCore } from './lock-server-core.js';
import type { LockServerCoreOptions } from './lock-server-core.js';

const TWO_32 = 0x1_0000_0000;
const LEVELS = ['none', 'shared', 'exclusive'];
const REASONS = Object.fromEntries(Object.entries(RefuseCode).map(([name, code]) => [code, name]));

/** Ids 1.. of scripts are these: all of the same group. */
export const SCRIPT_GROUP = groupOf(1, 0, 1);
const IDS = Array.from({ length: 5000 }, (_, id) => id).filter(
  (id) => groupOf(1, 0, id) === SCRIPT_GROUP,
);

const at = (words: readonly string[], index: number): string => words[index] ?? '';
const tokenOf = (name: string): number => name.charCodeAt(0) - 64;
const nameOf = (token: number): string => String.fromCharCode(64 + token);
const levelOf = (text: string): Level => LEVELS.indexOf(text) as Level;
const numberOf = (text: string): number => {
  const [epoch, counter] = text.slice(1).split('.').map(Number) as [number, number];
  return epoch * TWO_32 + counter;
};
const textOf = (grant: number): string => `#${Math.floor(grant / TWO_32)}.${grant % TWO_32}`;
const idOf = (item: LockItem): number => IDS.indexOf(item.idLow);

export class Script {
  readonly core: LockServerCore;
  readonly #lines: string[] = [];
  readonly #requests = new Map<string, number>();
  readonly #grants = new Map<string, { grant: number; level: Level }>();
  #request = 0;
  #epoch = 0;
  #nowMs = 0;

  constructor(options: Partial<LockServerCoreOptions> = {}) {
    const tell = (line: string): void => void this.#lines.push(`    ${line}`);
    this.core = new LockServerCore({
      server: 's1',
      outbox: {
        grant: (token, item) => {
          const { level, grant } = item;
          this.#grants.set(`${nameOf(token)}${idOf(item as LockItem)}`, { grant, level });
          tell(`${nameOf(token)}: grant ${this.#describe(item as LockItem)} r${item.request}`);
        },
        revoke: (token, item) =>
          tell(`${nameOf(token)}: revoke ${this.#describe(item as LockItem)}`),
        refuse: (token, item) =>
          tell(`${nameOf(token)}: refuse r${item.request} ${REASONS[item.why]}`),
        rebuild: (token, _group, epoch) => tell(`${nameOf(token)}: rebuild ${epoch}`),
        expel: (token, why) => tell(`expel ${nameOf(token)}: ${why}`),
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
      this.#step(line.split(/[ ,]+/));
      this.core.check(true);
    }
    return `\n${this.#lines.map((line) => ' '.repeat(margin) + line).join('\n')}\n${' '.repeat(Math.max(0, margin - 2))}`;
  }

  #describe(item: LockItem): string {
    return `${idOf(item)} ${LEVELS[item.level]} ${textOf(item.grant)}`;
  }

  #item(id: string, level: Level, epoch = this.#epoch): LockItem {
    const idLow = IDS[Number(id)] ?? 0;
    return Object.assign(new LockItem(), { table: 1, idLow, level, epoch });
  }

  #step(words: string[]): void {
    const [who, what] = words as [string, string];
    const after = (word: string): string | undefined =>
      words.includes(word) ? words[words.indexOf(word) + 1] : undefined;
    if (who === 'group' || who === 'time' || who === 'server' || who === 'floor') {
      return this.#service(words);
    }
    if (who === 'clock') return void this.#lines.push(`    ${this.core.clock}`);
    const token = tokenOf(who);
    const key = `${who}${words[2] ?? ''}`;
    const epoch = Number(after('in') ?? this.#epoch);
    if (what === 'opens') this.core.clerkLive(token);
    if (what === 'expires') this.core.clerkExpired(token, this.#nowMs);
    if (what === 'recovers') this.core.clerkRecovered(token, this.#nowMs);
    if (what === 'connects') this.core.clerkConnected(token, this.#nowMs);
    if (what === 'requests') {
      const item = this.#item(at(words, 2), levelOf(at(words, 3)), epoch);
      item.noWait = words.includes('nowait');
      const number = words.includes('again') ? (this.#requests.get(key) ?? 0) : ++this.#request;
      item.request = Number(after('as') ?? number);
      this.#requests.set(key, item.request);
      this.core.request(token, item, this.#nowMs);
    }
    if (what === 'cancels') {
      const item = this.#item(at(words, 2), 0);
      item.request = this.#requests.get(key) ?? 0;
      this.core.cancel(token, item, this.#nowMs);
    }
    if (what === 'releases' || what === 'keeps') {
      const held = this.#grants.get(key) ?? { grant: 0, level: 0 as Level };
      const to = levelOf(after('to') ?? (what === 'keeps' ? at(LEVELS, held.level) : 'none'));
      const item = this.#item(at(words, 2), to, epoch);
      const named = after('of');
      item.grant = named === undefined ? held.grant : numberOf(named);
      item.keeps = what === 'keeps' || words.includes('keeping');
      if (item.grant === held.grant) this.#grants.set(key, { grant: held.grant, level: to });
      this.core.release(token, Number(after('clock') ?? 0), item, this.#nowMs);
    }
    if (what === 'claims') this.#claim(token, words, after);
  }

  #claim(token: number, words: string[], after: (word: string) => string | undefined): void {
    const items: LockItem[] = [];
    for (let i = 2; i + 2 < words.length && at(words, i + 2).startsWith('#'); i += 3) {
      const item = this.#item(at(words, i), levelOf(at(words, i + 1)));
      item.grant = numberOf(at(words, i + 2));
      this.#grants.set(`${nameOf(token)}${at(words, i)}`, { grant: item.grant, level: item.level });
      items.push(item);
    }
    let next = -1;
    const open = this.core.claim(
      {
        token,
        group: SCRIPT_GROUP,
        epoch: Number(after('in') ?? this.#epoch),
        clock: Number(after('clock') ?? 0),
        attempt: Number(after('attempt') ?? 1),
        part: Number(after('part') ?? 0),
        last: !words.includes('more'),
        next: () => ++next < items.length,
        get item() {
          return items[next] ?? new LockItem();
        },
      },
      this.#nowMs,
    );
    if (open) this.#lines.push('    open');
  }

  #service(words: string[]): void {
    const [who, what, value] = words as [string, string, string];
    if (who === 'time') this.core.tick((this.#nowMs = Number(what)));
    if (who === 'floor') this.core.raiseFloor(Number(what));
    if (who === 'server' && what === 'pauses') this.core.pause();
    if (who === 'server' && what === 'resumes') this.core.resume(this.#nowMs);
    if (who === 'group' && what === 'lost') this.core.loseGroup(SCRIPT_GROUP);
    if (who === 'group' && what === 'gained') {
      this.#epoch = Number(value);
      const dead = words.indexOf('dead');
      const live = words.slice(4, dead < 0 ? undefined : dead).map(tokenOf);
      const gone = dead < 0 ? [] : words.slice(dead + 1).map(tokenOf);
      const awaiting = words[3] === 'awaiting' ? live : [];
      this.core.gainGroup(SCRIPT_GROUP, this.#epoch, awaiting, gone, this.#nowMs);
    }
  }
}
