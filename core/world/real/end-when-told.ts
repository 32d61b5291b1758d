/**
 * A server process lives until SIGTERM, SIGINT or, supervised, the end of its standard input; then it closes and ends.
 *
 * This file is a driver: it may use process and timers.
 */

/** `close` is called once; what it rejects with goes to `fail`, which ends the process. */
export function endWhenTold(
  withStdin: boolean,
  close: () => Promise<void>,
  fail: (error: unknown) => never,
): void {
  // Nothing else keeps the process alive while it has no connections.
  const alive = setInterval(() => undefined, 0x7fff_ffff);
  let closing = false;
  const end = (): void => {
    if (closing) return;
    closing = true;
    close().then(() => {
      clearInterval(alive);
      process.exit(0);
    }, fail);
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  if (!withStdin) return;
  process.stdin.on('end', end);
  process.stdin.on('error', end);
  process.stdin.resume();
}
