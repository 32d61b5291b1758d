/**
 * COPY between the statement and whoever carries its bytes (wire protocol, embedded API).
 *
 * ```
 *   copy-in    open -> write(chunk)* -> finish() -> step() 'done'      chunks end anywhere, also within a row
 *   copy-out   open -> step() 'row': `chunk` holds whole rows -> ... -> step() 'done'
 * ```
 *
 * A statement of kind `copy-in` opens as a CopyInExecution, one of kind `copy-out` as a CopyOutExecution. When the client
 * gives up (CopyFail), nothing more is called but `close()`, and the statement fails with 57014.
 */
import type { Execution } from './statement.js';

export type CopyFormat = 'text' | 'csv' | 'binary';

interface CopyExecution extends Execution {
  readonly format: CopyFormat;
  /** For the CopyInResponse and CopyOutResponse messages: their per-column format codes are all that of `format`. */
  readonly columnCount: number;
}

export interface CopyInExecution extends CopyExecution {
  /** The bytes are the caller's again once it returned. After a Suspend: call it again with the same chunk. */
  write(chunk: Uint8Array): void;
  /** No more bytes. After a Suspend: call it again. */
  finish(): void;
}

export interface CopyOutExecution extends CopyExecution {
  /** After step() said 'row': whole rows of the format, several at once; valid until the next step. */
  readonly chunk: Uint8Array;
}
