/**
 * Background cleaning: old row versions, dropped trees. It takes a small share of the thread and yields to statements:
 * a slice ends after `SLICE_MS`, and the next one comes no sooner than `PAUSE_MS` later.
 */
import type { Timer, World } from '#core/world/world.js';
import { Suspend } from './pages/suspend.js';

const SLICE_MS = 1;
const PAUSE_MS = 10;
/** Nothing was left to do. */
const IDLE_MS = 200;

export class Purger {
  readonly #world: World;
  /** One bounded step; true: nothing to do. Throws Suspend. */
  readonly #step: () => boolean;
  readonly #isDead: () => boolean;
  #timer: Timer | undefined;
  #stopped = false;
  steps = 0;

  constructor(world: World, step: () => boolean, isDead: () => boolean) {
    this.#world = world;
    this.#step = step;
    this.#isDead = isDead;
    this.#again(IDLE_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #again(ms: number): void {
    if (this.#stopped) return;
    this.#timer = this.#world.timers.after(ms, () => this.#slice());
  }

  #slice(): void {
    if (this.#stopped || this.#isDead()) return;
    const { clock } = this.#world;
    const untilMs = clock.monotonicMs() + SLICE_MS;
    try {
      do {
        this.steps++;
        if (this.#step()) {
          this.#again(IDLE_MS);
          return;
        }
      } while (clock.monotonicMs() < untilMs);
      this.#again(PAUSE_MS);
    } catch (thrown) {
      if (!(thrown instanceof Suspend)) {
        if (!this.#isDead()) this.#world.log.error('background cleaning failed', { error: thrown });
        return;
      }
      thrown.ready.then(
        () => this.#again(PAUSE_MS),
        () => this.#again(IDLE_MS),
      );
    }
  }
}
