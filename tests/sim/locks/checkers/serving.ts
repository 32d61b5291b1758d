/**
 * - LOCK-7 Two lock servers never serve the same group at one moment: whoever loses one stops before the next may begin,
 *   by the end of its own lease if it hears of nothing (rule 4).
 * - LOCK-8 A second demon begins only when the first one is fenced, or has closed (rule 16).
 */
import { Violation } from '../../violation.js';

/** A lock server as this checker sees it. */
export interface ServingView {
  readonly id: string;
  /** It would grant now, by its own clock. */
  readonly mayServe: boolean;
  /** Group -> epoch. */
  readonly serving: ReadonlyMap<number, number>;
}

export function checkServing(servers: readonly ServingView[]): void {
  const owner = new Map<number, string>();
  for (const { id, mayServe, serving } of servers) {
    if (!mayServe) continue;
    for (const group of serving.keys()) {
      const other = owner.get(group);
      if (other !== undefined) {
        throw new Violation('LOCK-7', `${other} and ${id} serve group ${group} at the same time`);
      }
      owner.set(group, id);
    }
  }
}

export class Demons {
  /** Of each dead token the demon that began last. */
  readonly #last = new Map<number, number>();
  readonly #over = new Set<number>();

  /** The clerk has closed, or is fenced: nothing of it can take effect any more. */
  ended(token: number): void {
    this.#over.add(token);
  }

  begins(demon: number, dead: number): void {
    const before = this.#last.get(dead);
    if (before !== undefined && before !== demon && !this.#over.has(before)) {
      throw new Violation('LOCK-8', `${demon} recovers ${dead} while ${before} may still do so`);
    }
    this.#last.set(dead, demon);
  }
}
