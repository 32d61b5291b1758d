/** How a lock server is opened. */
import { SextantError } from '#core/errors.js';
import { LEASE_MS_MAX, LEASE_MS_MIN } from '../protocol/control-codec.js';
import type { ServerAddress } from '../protocol/messages.js';
import type { ServerFaults } from './faults.js';

/** Gives the first token of a new lock service a start above every token of earlier ones (rule 1). */
export interface TokenFloor {
  /** A number above all that were ever taken, 1 at first; up to 2^21 - 1. */
  takeGeneration(): Promise<number>;
}

export interface LockServerOptions {
  readonly cluster: string;
  readonly id: string;
  /** Address grammar of `Network`. */
  readonly listen: string;
  /** How others reach it; absent: where it listens. */
  readonly address?: string;
  /** Its own, locked while in use. */
  readonly folder: string;
  /** All lock servers, this one among them; their addresses stand above those in the Raft log. */
  readonly members: readonly ServerAddress[];
  /** It is new to a group that exists already: it asks the others to be taken in. */
  readonly join?: boolean;
  readonly tokenFloor: TokenFloor;
  /** Of clerks that ask for none. */
  readonly leaseMs?: number;
  /** How long a server may serve its groups after it was last heard of. */
  readonly serverLeaseMs?: number;
  readonly heartbeatMs?: number;
  readonly electionMs?: readonly [number, number];
  /** Entries between two snapshots of the Raft log. */
  readonly snapshotEntries?: number;
  readonly revokeResendMs?: number;
  /** Default: the lease of the clerk that does not answer. */
  readonly revokeDeadlineMs?: number;
  /** Requests that may wait, of all clerks. */
  readonly waitingMax?: number;
  /** For STATUS. */
  readonly pid?: number;
  readonly faults?: ServerFaults;
}

export const LEASE_MS = 10_000;
/**
 * While a dead leader is followed nobody's lease is renewed: it must outlast a beat (a quarter of it, and a bit) and an
 * election, or servers that are well pause.
 */
export const SERVER_LEASE_MS = 2500;
/** A leader that dies is followed after 0.75 to 1.25 s, and its groups are free a server lease later. */
export const HEARTBEAT_MS = 250;
export const ELECTION_MS: readonly [number, number] = [750, 1250];
/** Below it beats would be all that a server does. */
const SERVER_LEASE_MS_MIN = 100;

/** Throws CONFIG. */
export function checkOptions(options: LockServerOptions): void {
  const { id, members, join, leaseMs = LEASE_MS, serverLeaseMs = SERVER_LEASE_MS } = options;
  const refuse = (why: string): never => {
    throw new SextantError('CONFIG', `lock server ${id}: ${why}`);
  };
  if (!(leaseMs >= LEASE_MS_MIN && leaseMs <= LEASE_MS_MAX)) {
    refuse(`a clerk's lease is ${LEASE_MS_MIN} to ${LEASE_MS_MAX} ms, not ${leaseMs}`);
  }
  if (!(serverLeaseMs >= SERVER_LEASE_MS_MIN && serverLeaseMs <= LEASE_MS_MAX)) {
    refuse(`its lease is ${SERVER_LEASE_MS_MIN} to ${LEASE_MS_MAX} ms, not ${serverLeaseMs}`);
  }
  if (join !== true && !members.some((member) => member.id === id)) {
    refuse('it is not among the members');
  }
}
