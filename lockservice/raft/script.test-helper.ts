/**
 * Golden scripts: text in, text out, one behaviour each (golden/*.txt). A line that begins with `> ` is a command, `#` a comment, the
 * rest is what the servers did, in order: a script reads as a sequence diagram.
 *
 * | command                     | does                                                                                   |
 * |-----------------------------|----------------------------------------------------------------------------------------|
 * | group a b c [joins d]       | founders, each with its own disk; d starts with nothing                                 |
 * | elect a                     | a's timeout, and everything delivered twice over, without a word                            |
 * | keep a 1000                 | a beats and everything is delivered for so long, without a word but a's own                 |
 * | timeout a                   | time goes on to a's election timeout; only a notices                                     |
 * | beat a                      | time goes on to a's next heartbeat; only a notices                                       |
 * | wait 500                    | time goes on; nobody notices yet                                                        |
 * | one                         | appends carry one entry at most                                                        |
 * | step a>b ...                | the first message on its way in each of these directions, one after the other            |
 * | deliver [a>b ...]           | what is on its way, and what follows from it, until all is quiet; only in these directions |
 * | drop [a>b ...]              | what is on its way there is lost                                                         |
 * | hold a>b / pass             | deliver skips this direction, until `pass`                                                |
 * | propose a x / read a 1 2    |                                                                                        |
 * | add a d / remove a d        | a is asked to change the members                                                         |
 * | compact a [trailing]        | a takes a snapshot of what it has applied                                                |
 * | hand a                      | a hands over                                                                           |
 * | crash a / restart a         |                                                                                        |
 * | show                        | everybody's term, role, commit index and log                                             |
 *
 * An entry is written index.term:kind; a log from its base on. Every step is watched by the checker.
 */
import { unreachable } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import { EntryKind, makeSnapshot, NO_BYTES, type Entry } from './entry.js';
import type { RaftFaults } from './faults.js';
import type { RaftMessage } from './messages.js';
import { RaftChecker } from './raft-checker.test-helper.js';
import { RaftCore, type HardState, type RaftReady } from './raft-core.js';
import { carried, memberOf } from './schedule.test-helper.js';

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

interface Disk {
  hardState: HardState;
  snapshot: ReturnType<typeof makeSnapshot>;
  entries: Entry[];
}
interface Packet {
  readonly way: string;
  readonly from: string;
  readonly to: string;
  readonly message: RaftMessage;
}

function entryText({ index, term, kind, data }: Entry): string {
  const what = kind === EntryKind.noop ? 'noop' : fromUtf8.decode(data);
  const members = (): string =>
    `{${(JSON.parse(what) as { id: string }[]).map(({ id }) => id).join(' ')}}`;
  return `${index}.${term}:${kind === EntryKind.config ? members() : what}`;
}

function messageText(message: RaftMessage): string {
  const { type, term } = message;
  const head = `${type} t${term}`;
  switch (message.type) {
    case 'preVote':
    case 'vote':
      return `${head} last ${message.lastIndex}.${message.lastTerm}${type === 'vote' && message.told ? ' told' : ''}`;
    case 'preVoteAnswer':
    case 'voteAnswer':
      return `${head} ${message.granted ? 'yes' : 'no'}`;
    case 'append': {
      const entries = message.entries.map(entryText).join(' ');
      const { previousIndex, previousTerm, commit } = message;
      return `${head} after ${previousIndex}.${previousTerm} commit ${commit} round ${message.round} [${entries}]`;
    }
    case 'appendAnswer': {
      const { ok, index, hintIndex, hintTerm } = message;
      const hint = ok ? '' : ` try ${hintIndex}.${hintTerm}`;
      return `${head} ${ok ? 'ok' : 'not'} ${index}${hint} round ${message.round}`;
    }
    case 'snapshot':
      return `${head} as of ${message.index}.${message.lastTerm} bytes ${message.offset}+${message.data.length} of ${message.totalBytes}`;
    case 'snapshotAnswer':
      return `${head} as of ${message.index} has ${message.offset}`;
    case 'standNow':
      return head;
    default:
      return unreachable(message);
  }
}

export class RaftScript {
  readonly checker = new RaftChecker();
  readonly lines: string[] = [];
  readonly #faults: RaftFaults;
  readonly #cores = new Map<string, RaftCore>();
  readonly #disks = new Map<string, Disk>();
  readonly #told = new Map<string, string>();
  #held = new Set<string>();
  #packets: Packet[] = [];
  #nowMs = 0;
  #entriesMax = 2;

  constructor(faults: RaftFaults = {}) {
    this.#faults = faults;
  }

  /** Runs the commands of a golden text; gives it with what happened now. */
  static replay(text: string, faults: RaftFaults = {}): string {
    const script = new RaftScript(faults);
    for (const line of text.split('\n')) {
      if (line.startsWith('#') || (line === '' && script.lines.at(-1) !== '')) {
        script.lines.push(line);
      } else if (line.startsWith('> ')) {
        script.lines.push(line);
        script.run(line.slice(2));
      }
    }
    return script.lines.join('\n');
  }

  run(command: string): void {
    const [verb = '', ...words] = command.split(' ');
    const [id = '', what = ''] = words;
    switch (verb) {
      case 'group':
        this.#group(words);
        break;
      case 'keep':
        this.#keep(id, this.#nowMs + Number(what));
        break;
      case 'elect':
        this.#elect(id);
        break;
      case 'timeout':
      case 'beat':
        this.#nowMs = Math.max(this.#nowMs, this.#core(id).deadlineMs);
        this.#act(id, (core) => core.tick(this.#nowMs));
        break;
      case 'wait':
        this.#nowMs += Number(id);
        break;
      case 'deliver':
        this.#deliver(words);
        break;
      case 'one':
        this.#entriesMax = 1;
        break;
      case 'step':
        for (const way of words) this.#stepOne(way);
        break;
      case 'drop':
        this.#packets = this.#packets.filter(({ way }) => words.length > 0 && !words.includes(way));
        break;
      case 'hold':
        for (const way of words) this.#held.add(way);
        break;
      case 'pass':
        this.#held.clear();
        break;
      case 'compact':
        this.#compact(id, Number(what));
        break;
      case 'crash':
        this.#cores.delete(id);
        break;
      case 'restart':
        this.#start(id);
        break;
      case 'show':
        this.#show();
        break;
      default:
        this.#ask(verb, words);
    }
  }

  /** What is asked of a server. */
  #ask(verb: string, words: string[]): void {
    const [id = '', what = ''] = words;
    switch (verb) {
      case 'propose':
        this.#act(id, (core) => core.propose(utf8.encode(what)));
        break;
      case 'read':
        this.#act(id, (core) => {
          for (const read of words.slice(1)) core.read(Number(read));
        });
        break;
      case 'add':
        this.#act(id, (core) => core.changeMembers({ add: memberOf(what) }, this.#nowMs));
        break;
      case 'remove':
        this.#act(id, (core) => core.changeMembers({ remove: what }, this.#nowMs));
        break;
      case 'hand':
        this.#act(id, (core) => core.handOver());
        break;
      default:
        throw new Error(`no such command: ${verb}`);
    }
  }

  #core(id: string): RaftCore {
    const core = this.#cores.get(id);
    if (core === undefined) throw new Error(`${id} is down`);
    return core;
  }

  #group(words: string[]): void {
    const joins = words.indexOf('joins');
    const founders = (joins < 0 ? words : words.slice(0, joins)).map(memberOf);
    for (const id of words.filter((word) => word !== 'joins')) {
      const members = founders.some((member) => member.id === id) ? founders : [];
      const snapshot = makeSnapshot(0, 0, members, NO_BYTES);
      this.#disks.set(id, { hardState: { term: 0, vote: '' }, snapshot, entries: [] });
      this.#start(id);
    }
  }

  #elect(id: string): void {
    const before = this.lines.length;
    for (const command of [`timeout ${id}`, 'deliver', `beat ${id}`, 'deliver']) this.run(command);
    this.lines.length = before;
    const { role, term } = this.#core(id);
    this.lines.push(`${id} ${role} t${term}`);
  }

  #keep(id: string, untilMs: number): void {
    const before = this.lines.length;
    while (this.#nowMs < untilMs)
      for (const command of [`beat ${id}`, 'deliver']) this.run(command);
    this.lines.push(...this.lines.splice(before).filter((line) => line.startsWith(`${id} `)));
  }

  #start(id: string): void {
    const disk = this.#disks.get(id);
    if (disk === undefined) throw new Error(`no disk of ${id}`);
    const entries = disk.entries.map((entry) => ({ ...entry }));
    const limits = { chunkBytes: 8, entriesMax: this.#entriesMax };
    const options = { id, seed: id.charCodeAt(0), limits, faults: this.#faults };
    this.checker.restarted(id);
    this.#cores.set(id, new RaftCore(options, { ...disk, entries }, this.#nowMs));
    this.#told.set(id, 'follower t0');
  }

  #act(id: string, event: (core: RaftCore) => unknown): void {
    const core = this.#core(id);
    try {
      event(core);
    } catch (error) {
      if (!(error instanceof SextantError)) throw error;
      this.lines.push(`${id} refuses: ${error.code}: ${error.message}`);
    }
    this.checker.observe(core);
    this.#tell(core);
    for (let ready = core.take(); ready !== undefined; ready = core.take()) {
      for (const { to, message } of ready.early) this.#send(id, to, message);
      this.#persist(id, ready);
      core.persisted(this.#nowMs);
      for (const { to, message } of ready.messages) this.#send(id, to, message);
      this.#apply(id, ready);
      this.checker.observe(core);
      this.#tell(core);
    }
  }

  #tell(core: RaftCore): void {
    const text = `${core.role} t${core.term}`;
    if (this.#told.get(core.id) !== text) this.lines.push(`${core.id} ${text}`);
    this.#told.set(core.id, text);
  }

  #send(from: string, to: string, message: RaftMessage): void {
    this.lines.push(`  ${from}>${to} ${messageText(message)}`);
    this.#packets.push({ way: `${from}>${to}`, from, to, message });
  }

  #persist(id: string, ready: RaftReady): void {
    const disk = this.#disks.get(id);
    if (disk === undefined) return;
    if (ready.hardState !== undefined) {
      const { term, vote } = ready.hardState;
      disk.hardState = { term, vote: this.#faults.forgetVote === true ? '' : vote };
    }
    if (ready.snapshot !== undefined) {
      disk.snapshot = ready.snapshot;
      disk.entries = [];
    }
    for (const entry of ready.entries) {
      disk.entries.length = entry.index - disk.snapshot.index - 1;
      disk.entries.push(entry);
    }
  }

  #apply(id: string, ready: RaftReady): void {
    if (ready.snapshot !== undefined)
      this.lines.push(`${id} installs as of ${ready.snapshot.index}`);
    const applied = ready.committed.map(entryText).join(' ');
    if (applied !== '') this.lines.push(`${id} applies ${applied}`);
    for (const { read, index } of ready.reads) this.lines.push(`${id} reads ${read} at ${index}`);
    if (ready.change !== undefined) {
      this.lines.push(`${id} change: ${ready.change.error?.message ?? 'done'}`);
    }
  }

  #deliver(ways: string[]): void {
    const goes = ({ way, to }: Packet): boolean =>
      !this.#held.has(way) && this.#cores.has(to) && (ways.length === 0 || ways.includes(way));
    for (;;) {
      const at = this.#packets.findIndex(goes);
      if (at < 0) return;
      this.#carry(at);
    }
  }

  #stepOne(way: string): void {
    const at = this.#packets.findIndex((packet) => packet.way === way);
    if (at < 0) throw new Error(`nothing is on its way ${way}`);
    this.#carry(at);
  }

  #carry(at: number): void {
    const [packet] = this.#packets.splice(at, 1);
    if (packet === undefined) return;
    this.#act(packet.to, (core) => core.receive(packet.from, carried(packet.message), this.#nowMs));
  }

  #compact(id: string, trailing: number): void {
    const core = this.#core(id);
    const disk = this.#disks.get(id);
    if (disk === undefined) return;
    const data = utf8.encode(`state as of ${core.appliedIndex}`);
    disk.snapshot = core.compacted(core.appliedIndex, data, trailing);
    disk.entries = disk.entries.filter(({ index }) => index > disk.snapshot.index);
    this.checker.observe(core);
  }

  #show(): void {
    for (const [id, core] of this.#cores) {
      const { log, role, term, commitIndex, members } = core;
      const entries: string[] = [];
      for (let i = log.baseIndex + 1; i <= log.lastIndex; i++) {
        const entry = log.entryAt(i);
        if (entry !== undefined) entries.push(entryText(entry));
      }
      const base = log.baseIndex > 0 ? `${log.baseIndex}.${log.baseTerm}.. ` : '';
      const group = members.map((member) => member.id).join(' ');
      this.lines.push(
        `${id}: ${role} t${term} commit ${commitIndex} {${group}} log ${base}${entries.join(' ')}`,
      );
    }
  }
}
