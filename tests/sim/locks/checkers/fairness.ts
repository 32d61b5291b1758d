/**
 * - LOCK-5 Whoever waits for a lock is not overtaken: a grant never goes to a request that came later, or is nowhere in the
 *   queue, while one waits that it conflicts with.
 *
 * One of these watches one life of one lock server. What is no overtaking: a newer request of the same clerk keeps the place of
 * its older one; who was refused, cancelled, lost its lease, or asked a server that has lost the group waits no more.
 */
import type { LockName } from '#lockservice/protocol/messages.js';
import { Level } from '#lockservice/protocol/messages.js';
import { Violation } from '../../violation.js';

interface Waiting {
  readonly token: number;
  request: number;
  level: Level;
}

const keyOf = ({ table, idHigh, idLow, aspect }: LockName): string =>
  `${table}/${idHigh}/${idLow}/${aspect}`;

export class Fairness {
  /** In the order in which they came. */
  readonly #queues = new Map<string, Waiting[]>();
  /** Of each lock the number of its last grant. */
  readonly #newest = new Map<string, number>();
  count = 0;

  /** True: it was not among those that wait. */
  requested(name: LockName, token: number, request: number, level: Level): boolean {
    const queue = this.#queues.get(keyOf(name)) ?? [];
    const known = queue.find((one) => one.token === token);
    if (known !== undefined) {
      if (request >= known.request) Object.assign(known, { request, level });
      return false;
    }
    queue.push({ token, request, level });
    this.#queues.set(keyOf(name), queue);
    this.count++;
    return true;
  }

  granted(name: LockName, token: number, request: number, grant: number): void {
    const queue = this.#queues.get(keyOf(name)) ?? [];
    const at = queue.findIndex((one) => one.token === token && one.request === request);
    if (at < 0) return;
    // A request that came again is told its grant again.
    const isOld = grant <= (this.#newest.get(keyOf(name)) ?? 0);
    if (isOld) return this.gone(name, token);
    this.#newest.set(keyOf(name), grant);
    const granted = queue[at] as Waiting;
    const passed = queue.slice(0, at).find((one) => conflict(one.level, granted.level));
    this.gone(name, token);
    if (passed === undefined) return;
    throw new Violation(
      'LOCK-5',
      `lock ${keyOf(name)} went to clerk ${token} at level ${granted.level} while clerk ${passed.token} waited for ${passed.level} since before`,
    );
  }

  /** Refused, cancelled, or not taken in. `request`: only this one. */
  gone(name: LockName, token: number, request?: number): void {
    const queue = this.#queues.get(keyOf(name)) ?? [];
    const at = queue.findIndex((one) => one.token === token);
    if (at < 0 || (request !== undefined && queue[at]?.request !== request)) return;
    queue.splice(at, 1);
    this.count--;
  }

  clerkGone(token: number): void {
    for (const queue of this.#queues.values()) {
      const at = queue.findIndex((one) => one.token === token);
      if (at < 0) continue;
      queue.splice(at, 1);
      this.count--;
    }
  }
}

function conflict(a: Level, b: Level): boolean {
  return a === Level.exclusive || b === Level.exclusive;
}
