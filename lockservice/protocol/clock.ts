/**
 * Lamport clocks of rule 2 that a clerk may report: in RELEASE, CLAIM, CLOSE_CLERK and RECOVERY_STEP.
 *
 * ```
 *   0 ....... largest seen ....... + 2^48 ............... 2^52 ........ 2^53 - 1
 *   |   taken                          |    refused: more than any clerk can have written since anybody closed
 * ```
 *
 * A clock goes to everybody with the next grant and never goes back, so a wrong one near 2^53 would end all writing: there a
 * number has no successor. The largest seen is the server's own, or the floor in Raft, which closes and recoveries raise; at a
 * million block writes a second it takes nine years to get 2^48 ahead of it, and 142 years to 2^52.
 *
 * - LOCK-12 A clock beyond these bounds is never taken over: a lock server drops the message and asks to expel the clerk, the
 *   leader answers OUT_OF_RANGE and proposes nothing.
 */
export const CLOCK_MAX = 2 ** 52;
export const CLOCK_AHEAD_MAX = 2 ** 48;

/** May a clerk report it to who has seen `largest`? */
export function clockFits(clock: number, largest: number): boolean {
  return clock <= CLOCK_MAX && clock - largest <= CLOCK_AHEAD_MAX;
}
