/** An error that a SQL client sees: SQLSTATE and the fields of PostgreSQL's ErrorResponse. */
export interface SqlErrorFields {
  readonly detail?: string;
  readonly hint?: string;
  /** 1-based character position in the statement's text. */
  readonly position?: number;
  /** Where in the data or in nested work: `COPY t, line 3`. */
  readonly where?: string;
  readonly schema?: string;
  readonly table?: string;
  readonly column?: string;
  readonly constraint?: string;
  readonly cause?: unknown;
}

export class SqlError extends Error {
  /** SQLSTATE, five characters. */
  readonly code: string;
  readonly fields: SqlErrorFields;

  constructor(code: string, message: string, fields: SqlErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.name = 'SqlError';
    this.code = code;
    this.fields = fields;
  }
}

/** What is not there yet is refused, never accepted in silence. */
export function notSupported(what: string, position?: number): SqlError {
  return new SqlError(
    '0A000',
    `${what} is not supported`,
    position === undefined ? {} : { position },
  );
}
