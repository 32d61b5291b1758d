/** `import { openClerk } from 'sextant/locks'`: locks, byte ranges and coordination for programs of their own. */
export { openClerk } from './open-clerk.js';
export type { Clerk, ClerkStats, TableAcquireOptions } from './clerk.js';
export type { ClerkOptions } from './options.js';
export type { LockHandle, Upgraded } from './lock-handle.js';
export type { LockTable, LockWanted, OnRevoke, RevokedLock } from './lock-table.js';
export type { AcquireOptions } from './pending-acquire.js';
export type { RevokeCause } from './cached-lock.js';
export type { OnRecovery, RecoverySteps } from './recovery-tasks.js';
export {
  Coordination,
  WriteRefused,
  type CreateOptions,
  type CreatedNode,
  type MultiOperation,
  type NodeData,
  type Snapshot,
  type VersionOptions,
} from './coordination/coordination.js';
export type { ChildrenView, ExistenceView, NodeView, WaitOptions } from './coordination/views.js';
export { RANGE_END } from './range-client.js';
export type {
  RangeBlocker,
  RangeClient,
  RangeOutcome,
  RangeSet,
  RangeTarget,
  RangeWait,
} from './range-client.js';
export type { RangeFamily } from './held-ranges.js';
export type { FenceList, LockMode, RecoveryTask, ServerAddress } from '../protocol/messages.js';
export type { NodeEvent } from './coordination/watch-registry.js';
export { candidates, elect, type Elected, type ElectOptions } from './coordination/election.js';
export { lockPath, type HeldPath, type LockPathOptions } from './coordination/shared-lock.js';
export { Barrier, DoubleBarrier } from './coordination/barriers.js';
export { Configuration, type ConfigurationView } from './coordination/configuration.js';
export type { NodeStat } from '../coordination/messages.js';
export { SextantError, isSextantError, type ErrorCode } from '#core/errors.js';
