/**
 * Who of several engines opens the volume: the one that the lock service's election says, where there is a lock service.
 *
 * ```
 * /engines/<volume>/writer/n-0000000000    { name, pid, listen, instance }      the writer
 *                          n-0000000003                                         standby
 * ```
 *
 * | lock service                         | what `take` does                                              |
 * |--------------------------------------|----------------------------------------------------------------|
 * | elects this engine                   | resolves                                                      |
 * | another engine is elected            | waits, for ever: this one is a standby                        |
 * | does not answer within about 1 s     | resolves; the engine opens as it would without a lock service |
 * | (the predecessor is known to be dead) | resolves at once: there is no writer to stand by for           |
 *
 * Afterwards the candidature goes on in the background: an engine that lost its session, or opened without one, stands in
 * line again.
 *
 * The election is a courtesy, not the safety: it keeps a second engine from fencing the first. That only one engine
 * writes is the volume's epoch (rule 10). So an engine of the same name, which is the same place started again, takes its
 * predecessor's seat without waiting for the lease of the dead one, and an engine that is not elected any more runs on
 * until it is fenced.
 */
import { SextantError } from '#core/errors.js';
import { jsonCodec, lsn, object, text } from '#core/rpc/shape.js';
import type { World } from '#core/world/world.js';
import type { Clerk, ServerAddress, elect, openClerk } from '#lockservice/clerk/index.js';

/** Of `#lockservice/clerk/index.js`: loaded only where there are lock servers. */
export interface LockClient {
  readonly openClerk: typeof openClerk;
  readonly elect: typeof elect;
}

export interface WriterSeatOptions {
  readonly cluster: string;
  readonly lockServers: readonly ServerAddress[];
  readonly volume: number;
  /** Of the place: an engine that is started again there has the same one, two that stand by for each other do not. */
  readonly name: string;
  readonly pid: number;
  /** For people: where its clients connect. */
  readonly listen: string;
  /** The engine before this one is known to be gone: the seat is taken once this one runs. */
  readonly previousWriterDead: boolean;
  /** Another engine is the writer: called at first, and again when it changes. */
  readonly onStandby: (writer: Writer | null) => void;
}

export interface Writer {
  readonly name: string;
  readonly pid: number;
  readonly listen: string;
}

interface Candidate extends Writer {
  readonly instance: string;
}

const START_MS = 1000;
/** Loading the client and opening a session takes 60 ms of CPU: not before the first queries. */
const BEHIND_MS = 1000;
const TRY_MS = 5000;
const PAUSE_MS = 1000;
const CLOSE_MS = 500;

const candidate = jsonCodec(
  'candidate',
  object<Candidate>({ name: text, pid: lsn, listen: text, instance: text }),
);

function parse(data: Uint8Array | undefined): Candidate | null {
  try {
    return data === undefined ? null : candidate.decode(data);
  } catch {
    return null;
  }
}

export class WriterSeat {
  readonly #world: World;
  readonly #load: () => Promise<LockClient>;
  readonly #options: WriterSeatOptions;
  readonly #self: Candidate;
  readonly #closing = new AbortController();
  #state: 'none' | 'standby' | 'elected' = 'none';
  #writer: Writer | null = null;
  #clerk: Clerk | undefined;
  /** It has been in the line: a node of its name that is there now is not its predecessor's. */
  #entered = false;
  /** What comes later is only told. */
  #decided = false;
  #decide: (how: { stoodBy: boolean }) => void = () => undefined;
  #refuse: (error: SextantError) => void = () => undefined;
  #running: Promise<void> | undefined;

  constructor(world: World, load: () => Promise<LockClient>, options: WriterSeatOptions) {
    this.#world = world;
    this.#load = load;
    this.#options = options;
    const { name, pid, listen } = options;
    const instance = Buffer.from(world.random.bytes(8)).toString('hex');
    this.#self = { name, pid, listen, instance };
  }

  get state(): 'none' | 'standby' | 'elected' {
    return this.#state;
  }

  /** Who is elected instead, as far as known. */
  get writer(): Writer | null {
    return this.#writer;
  }

  /**
   * Resolves when this engine may open the volume; `stoodBy`: another one was the writer until now. Rejects with
   * CANCELLED when it is closed first. To be called once.
   */
  take(): Promise<{ stoodBy: boolean }> {
    const { timers } = this.#world;
    if (this.#options.previousWriterDead) {
      this.#decided = true;
      timers.after(BEHIND_MS, () => {
        this.#running = this.#run();
      });
      return Promise.resolve({ stoodBy: false });
    }
    const decision = new Promise<{ stoodBy: boolean }>((resolve, reject) => {
      this.#decide = resolve;
      this.#refuse = reject;
    });
    timers.after(START_MS, () => this.#goOn());
    this.#running = this.#run();
    return decision;
  }

  /** Leaves the election; the next engine in the line is elected at once when the lock service can be reached. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#refuse(new SextantError('CANCELLED', 'the engine was told to stop'));
    const { timers } = this.#world;
    const left = Promise.all([this.#clerk?.close(), this.#running]);
    await Promise.race([left, timers.sleep(CLOSE_MS)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Without the election, unless another engine is known to be the writer. */
  #goOn(): void {
    if (this.#decided || this.#state === 'standby' || this.#closing.signal.aborted) return;
    this.#world.log.warn('no lock service answers: opening the volume without an election');
    this.#decided = true;
    this.#decide({ stoodBy: false });
  }

  async #run(): Promise<void> {
    const { log } = this.#world;
    const { signal } = this.#closing;
    let told = false;
    while (!signal.aborted) {
      try {
        const locks = await this.#load();
        this.#clerk = await this.#open(locks);
        await this.#candidature(locks, this.#clerk);
        told = false;
      } catch (error) {
        if (signal.aborted) break;
        // Once, not every few seconds for as long as there is no lock service.
        if (!told) log.warn('not in the line for the writer', { error: String(error) });
        told = true;
        await this.#pause();
      }
      void this.#clerk?.close().catch(() => undefined);
    }
    await this.#clerk?.close();
  }

  #open(locks: LockClient): Promise<Clerk> {
    const { cluster, lockServers, name } = this.#options;
    return locks.openClerk({
      world: this.#world,
      servers: lockServers,
      cluster,
      name: `${name}:${this.#self.pid}`,
      kind: 'engine',
      openTimeoutMs: TRY_MS,
    });
  }

  /** Ends when the seat is lost. */
  async #candidature(locks: LockClient, clerk: Clerk): Promise<void> {
    const self = this.#self;
    const elected = await locks.elect(
      clerk.coordination,
      `/engines/${this.#options.volume}/writer`,
      {
        data: candidate.encode(self),
        signal: this.#closing.signal,
        replaces: (other) => {
          const found = parse(other.data);
          if (found === null) return false;
          return this.#entered ? found.instance === self.instance : found.name === self.name;
        },
        onWait: (first) => this.#standBy(parse(first?.data)),
      },
    );
    this.#entered = true;
    const stoodBy = this.#state === 'standby';
    this.#state = 'elected';
    this.#writer = null;
    this.#world.log.info('elected as the writer', { path: elected.path, stoodBy });
    this.#decided = true;
    this.#decide({ stoodBy });
    await new Promise<void>((resolve) => {
      if (elected.lost.aborted) resolve();
      else elected.lost.addEventListener('abort', () => resolve(), { once: true });
    });
    if (this.#closing.signal.aborted) return;
    this.#state = 'none';
    const why = String(elected.lost.reason);
    this.#world.log.warn('not the elected writer any more: running until fenced', { why });
  }

  #standBy(first: Candidate | null): void {
    const writer = first && { name: first.name, pid: first.pid, listen: first.listen };
    this.#entered = true;
    this.#writer = writer;
    if (this.#decided) {
      this.#world.log.warn('another engine is the elected writer', { writer });
      return;
    }
    this.#state = 'standby';
    this.#options.onStandby(writer);
  }

  async #pause(): Promise<void> {
    try {
      await this.#world.timers.sleep(PAUSE_MS, this.#closing.signal);
    } catch {
      // Closed: the loop ends.
    }
  }
}
