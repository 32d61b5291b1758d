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
  /** `standby`: another engine is the elected writer. */
  readonly state: 'opening' | 'standby' | 'open' | 'fenced' | 'closing';
  /** Of the writer's election; `none`: there is no lock service, or it does not answer. */
  readonly seat: 'none' | 'standby' | 'elected';
  /** Who is elected instead. */
  readonly writer: { readonly name: string; readonly pid: number; readonly listen: string } | null;
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
