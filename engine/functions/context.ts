/** What text conversion needs, taken from a session. The catalog adds its names through `setNameResolver`. */
import type { SessionView } from '../sql/statement.js';
import type { RegKind, TextContext } from '../types/sql-type.js';

export interface NameResolver {
  lookUp(session: SessionView, kind: RegKind, name: string): number;
  nameOf(session: SessionView, kind: RegKind, oid: number): string | undefined;
  hasSchema(session: SessionView, name: string): boolean;
}

let resolver: NameResolver | null = null;

/** Called once by the catalog. */
export function setNameResolver(names: NameResolver): void {
  resolver = names;
}

/** The schemas of the search path that exist, each once. */
export function schemasOf(session: SessionView): string[] {
  const names = new Set(session.searchPath);
  return [...names].filter((name) => resolver === null || resolver.hasSchema(session, name));
}

class SessionTextContext implements TextContext {
  readonly #session: SessionView;

  constructor(session: SessionView) {
    this.#session = session;
  }

  get timeZone(): string {
    return this.#session.getSetting('TimeZone') ?? 'UTC';
  }

  get now(): bigint {
    return this.#session.transactionTime;
  }

  lookUp = (kind: RegKind, name: string): number => {
    if (resolver === null) throw new TypeError('no name resolver');
    return resolver.lookUp(this.#session, kind, name);
  };

  nameOf = (kind: RegKind, oid: number): string | undefined =>
    resolver?.nameOf(this.#session, kind, oid);
}

const contexts = new WeakMap<SessionView, TextContext>();

/** The same object for the same session. */
export function textContextOf(session: SessionView): TextContext {
  let context = contexts.get(session);
  if (context === undefined) {
    context = new SessionTextContext(session);
    contexts.set(session, context);
  }
  return context;
}
