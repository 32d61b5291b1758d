/** Log lines as JSON on standard error, by pino. */
import { pino, type Logger } from 'pino';
import type { Log } from '../world.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

class PinoLog implements Log {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  debug(message: string, fields?: Record<string, unknown>): void {
    this.#logger.debug(named(fields), message);
  }

  info(message: string, fields?: Record<string, unknown>): void {
    this.#logger.info(named(fields), message);
  }

  warn(message: string, fields?: Record<string, unknown>): void {
    this.#logger.warn(named(fields), message);
  }

  error(message: string, fields?: Record<string, unknown>): void {
    this.#logger.error(named(fields), message);
  }

  child(fields: Record<string, unknown>): Log {
    return new PinoLog(this.#logger.child(fields));
  }
}

/** pino writes out an error's stack and cause only under `err`. */
function named(fields: Record<string, unknown> | undefined): Record<string, unknown> {
  if (fields === undefined) return {};
  const error = fields['error'];
  if (!(error instanceof Error)) return fields;
  const { error: _, ...rest } = fields;
  return { ...rest, err: error };
}

export function pinoLog(level: LogLevel = 'info'): Log {
  const destination = pino.destination({ dest: 2, sync: true });
  return new PinoLog(pino({ level, base: { pid: process.pid } }, destination));
}
