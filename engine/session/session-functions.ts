/** SQL functions that act on sessions: advisory locks, NOTIFY, cancelling, sleeping. */
import { assert } from '#core/assert.js';
import { fn, registerFunctions, setFn, type FunctionDef } from '../functions/function.js';
import { Suspend } from '../pages/suspend.js';
import { SqlError } from '../sql-error.js';
import type { SessionView } from '../sql/statement.js';
import {
  type AdvisoryKey,
  type AdvisoryLockState,
  advisoryKey,
  advisoryKeyPair,
} from '../txn/advisory-locks.js';
import { OID } from '../types/oids.js';
import { notify } from './commands.js';
import { Session } from './session.js';

const { bool, int4, int8, float8, text } = OID;
const acts = { session: true, volatility: 'volatile' } as const;

function sessionOf(view: SessionView): Session {
  assert(view instanceof Session, 'functions run in sessions');
  return view;
}

/** What a function remembers between a Suspend and its repetition, for one statement. */
function stateOf<State extends object>(session: Session, name: string, make: () => State): State {
  const known = session.memory.get(name) as
    | { readonly statement: bigint; readonly state: State }
    | undefined;
  if (known !== undefined && known.statement === session.statementTime) return known.state;
  const state = make();
  session.memory.set(name, { statement: session.statementTime, state });
  return state;
}

interface AdvisoryForm {
  readonly name: string;
  readonly inTransaction: boolean;
  readonly shared: boolean;
  readonly wait: boolean;
}

const FORMS: readonly AdvisoryForm[] = [false, true].flatMap((inTransaction) =>
  [false, true].flatMap((shared) =>
    [true, false].map((wait) => ({
      name: `pg_${wait ? '' : 'try_'}advisory${inTransaction ? '_xact' : ''}_lock${shared ? '_shared' : ''}`,
      inTransaction,
      shared,
      wait,
    })),
  ),
);

function take(view: SessionView, form: AdvisoryForm, key: AdvisoryKey): boolean {
  const session = sessionOf(view);
  const locks = session.services.advisory;
  if (form.inTransaction) {
    return locks.lockInTransaction(session.transaction.locks, key, form.shared, form.wait);
  }
  const name = `advisory ${key}`;
  const state = stateOf<AdvisoryLockState>(session, name, () => ({ queued: false }));
  const held = locks.lockInSession(session.locks, key, form.shared, form.wait, state);
  session.memory.delete(name);
  return held;
}

function lockFunctions(): FunctionDef[] {
  return FORMS.flatMap((form) => {
    const result = form.wait ? OID.void : bool;
    const given = (held: boolean): boolean | string => (form.wait ? '' : held);
    return [
      fn(
        form.name,
        [int8],
        result,
        (view: SessionView, key: bigint) => given(take(view, form, advisoryKey(key))),
        acts,
      ),
      fn(
        form.name,
        [int4, int4],
        result,
        (view: SessionView, high: number, low: number) =>
          given(take(view, form, advisoryKeyPair(high, low))),
        acts,
      ),
    ];
  });
}

function release(view: SessionView, key: AdvisoryKey, shared: boolean): boolean {
  const session = sessionOf(view);
  const released = session.services.advisory.unlock(session.locks, key, shared);
  if (!released) {
    const mode = shared ? 'ShareLock' : 'ExclusiveLock';
    session.notice('WARNING', '01000', `you don't own a lock of type ${mode}`);
  }
  return released;
}

function unlockFunctions(): FunctionDef[] {
  const functions = [false, true].flatMap((shared) => {
    const name = `pg_advisory_unlock${shared ? '_shared' : ''}`;
    return [
      fn(
        name,
        [int8],
        bool,
        (view: SessionView, key: bigint) => release(view, advisoryKey(key), shared),
        acts,
      ),
      fn(
        name,
        [int4, int4],
        bool,
        (view: SessionView, high: number, low: number) =>
          release(view, advisoryKeyPair(high, low), shared),
        acts,
      ),
    ];
  });
  const all = (view: SessionView): string => {
    const session = sessionOf(view);
    session.services.advisory.unlockAll(session.locks);
    return '';
  };
  return [...functions, fn('pg_advisory_unlock_all', [], OID.void, all, acts)];
}

/** Nobody looks at a thing again after it is done, so a sleep is one wait. */
function sleep(view: SessionView, seconds: number): string {
  const session = sessionOf(view);
  const { clock, timers } = session.services.world;
  const ms = Math.max(0, seconds) * 1000;
  const state = stateOf(session, 'pg_sleep', () => ({ untilMs: clock.monotonicMs() + ms }));
  const leftMs = state.untilMs - clock.monotonicMs();
  if (leftMs > 0) throw new Suspend('turn', timers.sleep(Math.min(leftMs, 0x7fff_ffff)));
  session.memory.delete('pg_sleep');
  return '';
}

function otherSession(view: SessionView, pid: number): Session | undefined {
  const session = sessionOf(view);
  const other = session.services.directory.find(pid);
  if (other === undefined) {
    session.notice('WARNING', '01000', `PID ${pid} is not a PostgreSQL backend process`);
  }
  return other;
}

function cancelBackend(view: SessionView, pid: number): boolean {
  const other = otherSession(view, pid);
  other?.cancel();
  return other !== undefined;
}

function terminateBackend(view: SessionView, pid: number): boolean {
  const other = otherSession(view, pid);
  if (other === undefined) return false;
  const error = new SqlError('57P01', 'terminating connection due to administrator command');
  // One that ends itself ends by its statement's error.
  if (other === view) throw error;
  other.onTerminate(error);
  return true;
}

let registered = false;

/** Makes them known to the function registry; once per process. */
export function registerSessionFunctions(): void {
  if (registered) return;
  registered = true;
  registerFunctions([
    ...lockFunctions(),
    ...unlockFunctions(),
    fn('pg_sleep', [float8], OID.void, sleep, acts),
    fn('pg_cancel_backend', [int4], bool, cancelBackend, acts),
    fn('pg_terminate_backend', [int4], bool, terminateBackend, acts),
    fn(
      'pg_notify',
      [text, text],
      OID.void,
      (view: SessionView, channel: string | null, payload: string | null) => {
        notify(sessionOf(view), channel ?? '', payload ?? '');
        return '';
      },
      { ...acts, strict: false },
    ),
    setFn(
      'pg_listening_channels',
      [],
      text,
      (view: SessionView) => [...sessionOf(view).channels.channels],
      acts,
    ),
  ]);
}
