/**
 * The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding, as PostgreSQL speaks it.
 *
 *     client-first   n,,n=user,r=<client nonce>
 *     server-first   r=<client nonce><server nonce>,s=<salt>,i=<iterations>
 *     client-final   c=biws,r=<nonces>,p=<proof>
 *     server-final   v=<signature>
 *
 * The user is the startup packet's; the one in the message is ignored, as in PostgreSQL.
 */
import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from 'node:crypto';
import { SqlError } from '../sql-error.js';

export const SCRAM_MECHANISM = 'SCRAM-SHA-256';
const ITERATIONS = 4096;
const SALT_BYTES = 16;
const NONCE_BYTES = 18;

export interface ScramVerifier {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

export function makeVerifier(
  password: string,
  randomBytes: (count: number) => Uint8Array,
): ScramVerifier {
  const salt = Buffer.from(randomBytes(SALT_BYTES));
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, ITERATIONS, 32, 'sha256');
  const clientKey = hmac(salted, 'Client Key');
  return {
    salt,
    iterations: ITERATIONS,
    storedKey: createHash('sha256').update(clientKey).digest(),
    serverKey: hmac(salted, 'Server Key'),
  };
}

export class ScramServer {
  readonly #verifier: ScramVerifier;
  /** False for a user that does not exist: the exchange is played to its end all the same. */
  readonly #known: boolean;
  readonly #user: string;
  readonly #serverNonce: string;
  #header = '';
  #clientFirstBare = '';
  #serverFirst = '';
  #nonce = '';

  constructor(
    user: string,
    verifier: ScramVerifier,
    known: boolean,
    randomBytes: (count: number) => Uint8Array,
  ) {
    this.#user = user;
    this.#verifier = verifier;
    this.#known = known;
    this.#serverNonce = Buffer.from(randomBytes(NONCE_BYTES)).toString('base64');
  }

  /** Takes client-first and gives server-first. */
  first(message: string): string {
    const match = /^([ny]|p=[^,]*),([^,]*),(.*)$/.exec(message);
    if (match === null) throw malformed();
    const [, binding, , bare] = match;
    if (binding.startsWith('p')) {
      throw new SqlError('08P01', 'malformed SCRAM message', {
        detail: 'The client selected SCRAM-SHA-256 without channel binding, but asks for it.',
      });
    }
    const nonce = /^n=[^,]*,r=([!-+\--~]+)/.exec(bare);
    if (nonce === null) throw malformed();
    this.#header = message.slice(0, message.length - bare.length);
    this.#clientFirstBare = bare;
    this.#nonce = nonce[1] + this.#serverNonce;
    const { salt, iterations } = this.#verifier;
    this.#serverFirst = `r=${this.#nonce},s=${salt.toString('base64')},i=${iterations}`;
    return this.#serverFirst;
  }

  /** Takes client-final and gives server-final; 28P01 when the password is wrong. */
  final(message: string): string {
    const match = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,[^p][^,]*)*),p=([A-Za-z0-9+/=]+)$/.exec(
      message,
    );
    if (match === null) throw malformed();
    const [, withoutProof, binding, nonce, proofText] = match;
    if (binding !== Buffer.from(this.#header).toString('base64') || nonce !== this.#nonce) {
      throw malformed();
    }
    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},${withoutProof}`;
    const signature = hmac(this.#verifier.storedKey, authMessage);
    const proof = Buffer.from(proofText, 'base64');
    if (proof.length !== signature.length) throw malformed();
    const clientKey = Buffer.from(proof.map((byte, i) => byte ^ signature[i]));
    const storedKey = createHash('sha256').update(clientKey).digest();
    if (!timingSafeEqual(storedKey, this.#verifier.storedKey) || !this.#known) {
      throw wrongPassword(this.#user);
    }
    return `v=${hmac(this.#verifier.serverKey, authMessage).toString('base64')}`;
  }
}

export function wrongPassword(user: string): SqlError {
  return new SqlError('28P01', `password authentication failed for user "${user}"`);
}

function malformed(): SqlError {
  return new SqlError('08P01', 'malformed SCRAM message');
}
