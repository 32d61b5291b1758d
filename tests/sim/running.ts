/** A simulated cluster that runs until something is so, or until a checker objects. */
import { isSextantError } from '#core/errors.js';
import type { Simulation } from '#core/world/simulated/simulation.js';
import { Violation } from './violation.js';

export abstract class Running {
  abstract readonly sim: Simulation;
  /** The first thing that was wrong; it ends the run. */
  violation: Error | undefined;

  get nowMs(): number {
    return this.sim.nowMs;
  }

  fail(error: unknown): void {
    this.violation ??= error instanceof Error ? error : new Error(String(error));
  }

  /** Runs until `condition` holds; throws the first violation, or TIMEOUT as a violation of progress. */
  async until(condition: () => boolean, limitMs: number, what: string): Promise<void> {
    try {
      await this.sim.runUntil(() => this.violation !== undefined || condition(), limitMs, what);
    } catch (error) {
      if (this.violation !== undefined) throw this.violation;
      if (isSextantError(error, 'TIMEOUT')) throw new Violation('LIVE', error.message);
      throw error;
    }
    if (this.violation !== undefined) throw this.violation;
  }

  async runFor(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    try {
      await this.sim.runUntil(() => this.violation !== undefined, ms, 'violation');
    } catch (error) {
      if (this.violation === undefined && !isSextantError(error, 'TIMEOUT')) throw error;
    }
    if (this.violation !== undefined) throw this.violation;
    await this.sim.runFor(Math.max(0, end - this.nowMs));
    if (this.violation !== undefined) throw this.violation;
  }
}
