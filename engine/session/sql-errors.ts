/** Whatever a statement throws, as an error that a client may see. */
import { isSextantError, type ErrorCode } from '#core/errors.js';
import { SqlError } from '../sql-error.js';

/** 57P01: this engine's time is over; the connection ends with it. */
export function engineGone(error: Error): SqlError {
  const why = isSextantError(error, 'FENCED')
    ? 'another engine has taken over this database'
    : 'the engine is shutting down';
  return new SqlError('57P01', `terminating connection: ${why}`, { cause: error });
}

export const isSqlError = (error: unknown): error is SqlError => error instanceof SqlError;

/** Errors that end the connection. */
export const isFatal = (error: SqlError): boolean =>
  error.code === '57P01' || error.code === '25P03' || error.code === '57P05';

const SQLSTATES: Partial<Record<ErrorCode, string>> = {
  DISK_FULL: '53100',
  NO_QUORUM: '58030',
  TIMEOUT: '58030',
  DISCONNECTED: '58030',
  CORRUPTION: 'XX001',
};

export function toSqlError(error: unknown): SqlError {
  if (error instanceof SqlError) return error;
  if (isSextantError(error)) {
    if (error.code === 'FENCED' || error.code === 'CLOSED') return engineGone(error);
    const code = SQLSTATES[error.code];
    const message =
      code === '58030' ? `storage cannot be reached: ${error.message}` : error.message;
    return new SqlError(code ?? 'XX000', message, { cause: error });
  }
  if (error instanceof RangeError && /call stack/.test(error.message)) {
    return new SqlError('54001', 'stack depth limit exceeded', { cause: error });
  }
  return new SqlError('XX000', error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}

/** A bug, not something that a client or the storage did. */
export const isInternal = (error: SqlError): boolean => error.code === 'XX000';
