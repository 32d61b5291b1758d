/**
 * Is a history linearizable? Could each operation have taken effect at one moment between its call and its end, one after
 * the other, as on an object that only one client uses?
 *
 * The search is Wing and Gong's (1993) with Lowe's memory (2017): take as the next operation one that began before the
 * first end of those still to come; when the object, in its present state, answers as the history says, go on from
 * there; else, or when that leads nowhere, try another. A pair (operations taken, state) that was met before leads nowhere.
 *
 * ```
 *   calls and ends in order of time     c1 c2 e2 c3 e1 e3
 *   may come first                      1, 2     (both began before e2)
 *   2 taken                             c1 c3 e1 e3: 1 or 3 may be next
 * ```
 *
 * - LIN-1 'linearizable' comes with an order that the object explains; 'violation' means that all orders were tried.
 * - LIN-2 An operation without an answer may be taken once at any point after its call, or never.
 * - LIN-3 With `fifo`, operations of one client take effect in the order of their calls even where they overlap: those of
 *   which `fifo` says that they come before everything later of their client.
 * - LIN-4 After `stepsMax` steps the answer is 'undecided': never a guess.
 */
import type { Operation } from './history.js';

/** The object that the history is compared with. States are values: `step` makes new ones. */
export interface Model<State, Input, Output> {
  readonly initial: State;
  /**
   * The state after the operation, or undefined when it cannot answer so in this state. An output of undefined stands for
   * any answer; where the operation would change nothing, undefined saves the search from trying it.
   */
  step(state: State, input: Input, output: Output | undefined, client: string): State | undefined;
  /** Equal for equal states, different for different ones. */
  keyOf(state: State): string;
}

export interface CheckOptions<Input> {
  /** Calls of the same moment are in the order of the history. */
  readonly fifo?: (earlier: Input) => boolean;
  /** Of one object; 1,000,000 unless told: some seconds. */
  readonly stepsMax?: number;
}

export interface Verdict<Input, Output> {
  readonly verdict: 'linearizable' | 'violation' | 'undecided';
  /** The object that is not linearizable, or was not decided. */
  readonly key?: string;
  readonly steps: number;
  /** An order that explains it; of a violation the longest one that was found. */
  readonly order: readonly Operation<Input, Output>[];
  /** Of a violation: answered operations that could not be placed behind that order. */
  readonly stuck: readonly Operation<Input, Output>[];
}

const STEPS_MAX = 1_000_000;

/** Checks each object of the history by itself; the first that is not linearizable, else one that is undecided. */
export function checkLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  options: CheckOptions<Input> = {},
): Verdict<Input, Output> {
  const byKey = new Map<string, Operation<Input, Output>[]>();
  for (const operation of operations) {
    const list = byKey.get(operation.key);
    if (list === undefined) byKey.set(operation.key, [operation]);
    else list.push(operation);
  }
  let steps = 0;
  let undecided: Verdict<Input, Output> | undefined;
  const order: Operation<Input, Output>[] = [];
  for (const [key, list] of byKey) {
    const search = new Search(model, list, options);
    const verdict = search.run();
    steps += search.steps;
    if (verdict === 'violation') return { verdict, key, steps, ...search.longest() };
    if (verdict === 'undecided') undecided ??= { verdict, key, steps, ...search.longest() };
    else order.push(...search.taken());
  }
  if (undecided !== undefined) return { ...undecided, steps };
  return { verdict: 'linearizable', steps, order, stuck: [] };
}

/** For people: what `order` explains and what it does not. */
export function explain<Input, Output>(verdict: Verdict<Input, Output>): string {
  const line = (one: Operation<Input, Output>): string =>
    `  ${one.callMs.toFixed(1)}..${one.endMs.toFixed(1)} ${one.client} ${JSON.stringify(one.input)} -> ${JSON.stringify(one.output) ?? '?'}`;
  const tail = verdict.order.slice(-12).map(line);
  const stuck = verdict.stuck.slice(0, 8).map(line);
  return [
    `${verdict.verdict} ${verdict.key ?? ''} after ${verdict.steps} steps; explained so far:`,
    ...tail,
    'not explained:',
    ...stuck,
  ].join('\n');
}

/** A call or an end in the list of what is still to come. */
interface Entry {
  readonly index: number;
  readonly isCall: boolean;
  before: Entry | undefined;
  after: Entry | undefined;
  end: Entry | undefined;
}

interface Taken<State> {
  readonly entry: Entry;
  readonly stateBefore: State;
}

class Search<State, Input, Output> {
  steps = 0;
  readonly #model: Model<State, Input, Output>;
  /** Answered ones in order of their calls, then the others. */
  readonly #operations: readonly Operation<Input, Output>[];
  readonly #answered: number;
  readonly #stepsMax: number;
  readonly #fifo: ((earlier: Input) => boolean) | undefined;
  /** For `fifo`: operations of the same client, in order of their calls. */
  readonly #ofClient = new Map<string, number[]>();
  readonly #head: Entry = entryOf(-1, false);
  readonly #isTaken: Uint8Array;
  readonly #seen = new Set<string>();
  readonly #stack: Taken<State>[] = [];
  #state: State;
  #answeredLeft: number;
  /** All answered operations below it are taken. */
  #low = 0;
  #longest: readonly number[] = [];

  constructor(
    model: Model<State, Input, Output>,
    operations: readonly Operation<Input, Output>[],
    options: CheckOptions<Input>,
  ) {
    const byCall = operations.toSorted((a, b) => a.callMs - b.callMs);
    const answered = byCall.filter(({ output }) => output !== undefined);
    this.#model = model;
    this.#operations = [...answered, ...byCall.filter(({ output }) => output === undefined)];
    this.#answered = answered.length;
    this.#answeredLeft = answered.length;
    this.#stepsMax = options.stepsMax ?? STEPS_MAX;
    this.#fifo = options.fifo;
    this.#state = model.initial;
    this.#isTaken = new Uint8Array(this.#operations.length);
    for (const operation of byCall) {
      const list = this.#ofClient.get(operation.client);
      const index = this.#operations.indexOf(operation);
      if (list === undefined) this.#ofClient.set(operation.client, [index]);
      else list.push(index);
    }
    this.#link();
  }

  run(): 'linearizable' | 'violation' | 'undecided' {
    let entry = this.#head.after;
    while (this.#answeredLeft > 0) {
      if (this.steps >= this.#stepsMax) return 'undecided';
      if (entry?.isCall === true) {
        entry = this.#take(entry) ? this.#head.after : entry.after;
        continue;
      }
      // An end whose operation was not taken, or the end of the list: somewhere it went wrong before.
      this.#noteLongest();
      const last = this.#giveBack();
      if (last === undefined) return 'violation';
      entry = last.after;
    }
    return 'linearizable';
  }

  taken(): Operation<Input, Output>[] {
    return this.#stack.map(
      ({ entry }) => this.#operations[entry.index] as Operation<Input, Output>,
    );
  }

  #noteLongest(): void {
    if (this.#stack.length <= this.#longest.length) return;
    this.#longest = this.#stack.map((taken) => taken.entry.index);
  }

  longest(): Pick<Verdict<Input, Output>, 'order' | 'stuck'> {
    this.#noteLongest();
    const placed = new Set(this.#longest);
    const at = (index: number): Operation<Input, Output> =>
      this.#operations[index] as Operation<Input, Output>;
    const stuck = [...this.#operations.keys()].filter(
      (index) => index < this.#answered && !placed.has(index),
    );
    return { order: this.#longest.map(at), stuck: stuck.map(at) };
  }

  /** Links calls and ends in order of time; at one moment calls come first, so that such operations overlap. */
  #link(): void {
    const entries: { atMs: number; entry: Entry }[] = [];
    for (const [index, { callMs, endMs }] of this.#operations.entries()) {
      const call = entryOf(index, true);
      entries.push({ atMs: callMs, entry: call });
      if (index >= this.#answered) continue;
      call.end = entryOf(index, false);
      entries.push({ atMs: endMs, entry: call.end });
    }
    entries.sort((a, b) => a.atMs - b.atMs || Number(b.entry.isCall) - Number(a.entry.isCall));
    let last = this.#head;
    for (const { entry } of entries) {
      last.after = entry;
      entry.before = last;
      last = entry;
    }
  }

  /** Takes the operation as the next one, if the object agrees and this is new. */
  #take(entry: Entry): boolean {
    this.steps++;
    const { index } = entry;
    const { input, output, client } = this.#operations[index] as Operation<Input, Output>;
    if (this.#fifo !== undefined && !this.#isTurnOf(index, client, this.#fifo)) return false;
    const next = this.#model.step(this.#state, input, output, client);
    if (next === undefined) return false;
    this.#stack.push({ entry, stateBefore: this.#state });
    this.#isTaken[index] = 1;
    if (index < this.#answered) this.#answeredLeft--;
    while (this.#low < this.#answered && this.#isTaken[this.#low] === 1) this.#low++;
    unlink(entry);
    this.#state = next;
    const key = this.#keyOf(next);
    if (this.#seen.has(key)) {
      this.#giveBack();
      return false;
    }
    this.#seen.add(key);
    return true;
  }

  /** Undoes the last `take`; undefined when there is none. */
  #giveBack(): Entry | undefined {
    const last = this.#stack.pop();
    if (last === undefined) return undefined;
    const { entry, stateBefore } = last;
    const { index } = entry;
    this.#state = stateBefore;
    this.#isTaken[index] = 0;
    if (index < this.#answered) {
      this.#answeredLeft++;
      this.#low = Math.min(this.#low, index);
    }
    relink(entry);
    return entry;
  }

  /** No earlier one of the client that should be taken before is still to come, and no later one is taken too soon. */
  #isTurnOf(index: number, client: string, before: (earlier: Input) => boolean): boolean {
    const inputOf = (at: number): Input => (this.#operations[at] as Operation<Input, Output>).input;
    const leads = before(inputOf(index));
    let isLater = false;
    for (const other of this.#ofClient.get(client) ?? []) {
      const isTaken = this.#isTaken[other] === 1;
      if (other === index) isLater = true;
      else if (isLater && isTaken && leads) return false;
      else if (!isLater && !isTaken && other < this.#answered && before(inputOf(other)))
        return false;
    }
    return true;
  }

  /**
   * What was taken, written short, and the state: all answered ones below `low`, some beyond, some without an answer.
   * Few are beyond, as few overlap.
   */
  #keyOf(state: State): string {
    let key = `${this.#low}`;
    let beyond = this.#answered - this.#answeredLeft - this.#low;
    for (let i = this.#low; beyond > 0; i++) {
      if (this.#isTaken[i] === 0) continue;
      key += `,${i}`;
      beyond--;
    }
    let unanswered = this.#stack.length - (this.#answered - this.#answeredLeft);
    for (let i = this.#answered; unanswered > 0; i++) {
      if (this.#isTaken[i] === 0) continue;
      key += `,${i}`;
      unanswered--;
    }
    return `${key}|${this.#model.keyOf(state)}`;
  }
}

function entryOf(index: number, isCall: boolean): Entry {
  return { index, isCall, before: undefined, after: undefined, end: undefined };
}

function unlink(entry: Entry): void {
  for (const one of [entry, entry.end]) {
    if (one === undefined) continue;
    if (one.before !== undefined) one.before.after = one.after;
    if (one.after !== undefined) one.after.before = one.before;
  }
}

/** Undoes the last `unlink`; entries must come back in the reverse order. */
function relink(entry: Entry): void {
  for (const one of [entry.end, entry]) {
    if (one === undefined) continue;
    if (one.before !== undefined) one.before.after = one;
    if (one.after !== undefined) one.after.before = one;
  }
}
