/**
 * What an engine tells `sextant status`: one call over core/rpc on its status address.
 *
 * | type | name          | kind | body                    |
 * |------|---------------|------|-------------------------|
 * | 100  | ENGINE_STATUS | call | {} -> JSON EngineStatus |
 */
import type { VolumeStatus } from './volume/volume.js';

export const EngineMessageType = { status: 100 } as const;

export interface EngineStatus {
  readonly pid: number;
  readonly state: 'opening' | 'open' | 'fenced' | 'closing';
  /** Where PostgreSQL clients connect: `host:port`; empty until it takes queries. */
  readonly listen: string;
  readonly version: string;
  readonly uptimeMs: number;
  readonly sessions: number;
  readonly activeTransactions: number;
  readonly bufferBytes: number;
  readonly bufferUsedBytes: number;
  readonly rssBytes: number;
  readonly volume: VolumeStatus | null;
}
