/**
 * Statements whose work has several steps that may have to wait.
 *
 * Their bodies are generators: `yield* attempt(step)` runs a step again after each Suspend, so what came before it is not
 * done twice. For statements that run rarely; COPY and the planned statements keep their state by hand.
 */
import { Suspend } from '../pages/suspend.js';
import type { Execution } from '../sql/statement.js';
import type { Value } from '../types/value.js';

/** A body yields what it waits for. */
export type Steps<Result> = Generator<Suspend, Result, undefined>;

/** Runs a step until it does not throw Suspend. The step must be repeatable. */
export function* attempt<Result>(step: () => Result): Steps<Result> {
  for (;;) {
    try {
      return step();
    } catch (thrown) {
      if (!(thrown instanceof Suspend)) throw thrown;
      yield thrown;
    }
  }
}

export function runSteps<Result>(steps: Steps<Result>): Promise<Result> {
  const go = async (): Promise<Result> => {
    for (;;) {
      const next = steps.next();
      if (next.done === true) return next.value;
      await next.value.ready;
    }
  };
  return go();
}

/** A statement without rows; its body returns the command tag. */
export class StepExecution implements Execution {
  readonly row: Value[] = [];
  readonly rowCount = 0;
  tag = '';
  readonly #body: Steps<string>;
  #done = false;

  constructor(body: Steps<string>) {
    this.#body = body;
  }

  step(): 'row' | 'done' {
    if (this.#done) return 'done';
    const next = this.#body.next();
    if (next.done !== true) throw next.value;
    this.tag = next.value;
    this.#done = true;
    return 'done';
  }

  close(): void {
    if (!this.#done) this.#body.return('');
    this.#done = true;
  }
}
