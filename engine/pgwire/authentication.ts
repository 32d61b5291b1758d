/** Who may connect: everybody from this machine when no users are configured, else users with their passwords. */
import type { Random } from '#core/world/world.js';
import { SqlError } from '../sql-error.js';
import { makeVerifier, ScramServer, type ScramVerifier } from './scram.js';

export type UserPasswords = Readonly<Record<string, { readonly password: string }>>;

export class Authentication {
  readonly #random: Random;
  readonly #verifiers = new Map<string, ScramVerifier>();
  /** Stands in for users that do not exist, so that asking tells nothing. */
  readonly #nobody: ScramVerifier;
  readonly #isTrust: boolean;

  constructor(random: Random, users?: UserPasswords) {
    this.#random = random;
    this.#isTrust = users === undefined || Object.keys(users).length === 0;
    const bytes = (count: number): Uint8Array => random.bytes(count);
    for (const [name, { password }] of Object.entries(users ?? {})) {
      this.#verifiers.set(name, makeVerifier(password, bytes));
    }
    this.#nobody = makeVerifier(Buffer.from(random.bytes(24)).toString('hex'), bytes);
  }

  /** null: no password is asked. 28000 when it could not be asked for and is needed. */
  begin(user: string, isLoopback: boolean): ScramServer | null {
    if (this.#isTrust) {
      if (isLoopback) return null;
      throw new SqlError('28000', 'connections from other machines need a password', {
        hint: 'Configure engine.users in sextant.json.',
      });
    }
    const verifier = this.#verifiers.get(user);
    return new ScramServer(user, verifier ?? this.#nobody, verifier !== undefined, (count) =>
      this.#random.bytes(count),
    );
  }
}
