/** TXN-3: once an engine has opened, no engine of an earlier epoch answers from its cache (rule 26). */
import { Violation } from '../violation.js';
import type { Checker } from './checker.js';

export function staleIsSilent(): Checker {
  let newest = 0;
  return {
    id: 'TXN-3',
    opened(engine) {
      newest = Math.max(newest, engine.epoch);
    },
    answered(engine) {
      if (engine.epoch >= newest) return;
      throw new Violation(
        'TXN-3',
        `${engine.name} of epoch ${engine.epoch} answers, ${newest} is open`,
      );
    },
  };
}
