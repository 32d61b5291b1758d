/**
 * Dead clerks that this one is to recover (rules 4, 16): the service names them with every renewal, and names another demon
 * when this one dies too. A task that fails is begun again when it is named again.
 */
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import { recoveryStepAnswer, recoveryStepRequest } from '../protocol/control-codec.js';
import { MessageType } from '../protocol/messages.js';
import type { RecoveryTask } from '../protocol/messages.js';
import type { ClerkCore } from './clerk-core.js';
import type { LeaderCalls } from './leader-calls.js';

export interface RecoverySteps {
  /**
   * The dead clerk's token is fenced at a write quorum of every storage group. `clock` is the largest that was met there.
   * Resolves with the epoch of the fences from now on. Rejects with FENCED when another demon has the task now.
   */
  readonly fenced: (clock: number) => Promise<number>;
  /** Its log is replayed: its locks are free. `clock` is the largest in that log. Once only, and last. */
  readonly recovered: (clock: number) => Promise<void>;
  /** Aborted when this clerk's own lease is lost: stop at once. */
  readonly signal: AbortSignal;
}

export type OnRecovery = (task: RecoveryTask, steps: RecoverySteps) => Promise<void>;

const STEP_MS = 60_000;
const TRY_MS = 3000;

export class RecoveryTasks {
  readonly #world: World;
  readonly #core: ClerkCore;
  readonly #leader: LeaderCalls;
  readonly #signal: AbortSignal;
  readonly #onRecovery: OnRecovery;
  readonly #running = new Set<string>();

  constructor(
    world: World,
    core: ClerkCore,
    leader: LeaderCalls,
    signal: AbortSignal,
    onRecovery: OnRecovery,
  ) {
    this.#world = world;
    this.#core = core;
    this.#leader = leader;
    this.#signal = signal;
    this.#onRecovery = onRecovery;
  }

  take(tasks: readonly RecoveryTask[]): void {
    for (const task of tasks) {
      const key = `${task.dead}/${task.attempt}`;
      if (this.#running.has(key) || this.#signal.aborted) continue;
      this.#running.add(key);
      void this.#run(task).finally(() => this.#running.delete(key));
    }
  }

  async #run(task: RecoveryTask): Promise<void> {
    const steps: RecoverySteps = {
      signal: this.#signal,
      fenced: (clock) => this.#step(task, 'fenced', clock),
      recovered: async (clock) => {
        await this.#step(task, 'recovered', clock);
      },
    };
    try {
      await this.#onRecovery(task, steps);
    } catch (error) {
      if (this.#signal.aborted) return;
      const { dead, attempt } = task;
      this.#world.log.warn('recovery failed', { dead, attempt, error: String(error) });
    }
  }

  async #step(task: RecoveryTask, step: 'fenced' | 'recovered', clock: number): Promise<number> {
    if (!Number.isSafeInteger(clock) || clock < 0) {
      throw new SextantError('OUT_OF_RANGE', `a clock is 0 to 2^53 - 1, not ${clock}`);
    }
    const { dead, attempt } = task;
    const request = { demon: this.#core.token, dead, attempt, step, clock };
    const { body } = await this.#leader.call(
      MessageType.recoveryStep,
      recoveryStepRequest.encode(request),
      { deadlineMs: STEP_MS, tryMs: TRY_MS, signal: this.#signal },
    );
    const { fenceEpoch } = recoveryStepAnswer.decode(body);
    this.#core.fenceEpoch = Math.max(this.#core.fenceEpoch, fenceEpoch);
    return fenceEpoch;
  }
}
