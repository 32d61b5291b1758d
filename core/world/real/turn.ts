/**
 * Gives the event loop back: `fn` runs in a callback of its own, after the I/O callbacks at hand, with all
 * microtasks settled before it. The one use of it outside the real world is the simulator's runner.
 */
export function laterTurn(fn: () => void): void {
  setImmediate(fn);
}
