import type { Checker } from './checker.js';
import {
  acknowledgedIsDurable,
  acknowledgedIsKept,
  annulledIsHidden,
  chainIsWhole,
  listIsInstalled,
  pointsOnlyGrow,
  staleChangesNothing,
} from './log.js';
import { predecessorsFit, readsAreComplete, versionsAreKept } from './page.js';
import { staleIsSilent } from './stale.js';

/** One of each, for one run. Those that watch a cause stand before those that see its effect. */
export function allCheckers(): Checker[] {
  return [
    staleChangesNothing(),
    acknowledgedIsKept,
    pointsOnlyGrow(),
    acknowledgedIsDurable(),
    chainIsWhole,
    annulledIsHidden,
    listIsInstalled,
    predecessorsFit,
    readsAreComplete,
    versionsAreKept,
    staleIsSilent(),
  ];
}
