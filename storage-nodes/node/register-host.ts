/**
 * The register acceptors of this node (rule 15). State goes to the journal; the caller answers after
 * the commit. Key `r/<register key>`.
 */
import { EMPTY_ACCEPTOR, acceptorStep } from '#core/registers/acceptor.js';
import type { AcceptorState } from '#core/registers/acceptor.js';
import { compareBallots } from '#core/registers/ballot.js';
import {
  decodeAcceptorState,
  decodeRegisterMessage,
  encodeAcceptorState,
  encodeRegisterReply,
} from '#core/registers/messages.js';
import { SextantError } from '#core/errors.js';
import type { Store } from '../store/store.js';

const PREFIX = 'r/';
/** Keys of the journal have at most 128 bytes. */
const KEY_MAX = 128 - PREFIX.length;

export class RegisterHost {
  readonly #states = new Map<string, AcceptorState>();

  /** At start; false when the key is not a register's. */
  restore(key: string, value: Uint8Array): boolean {
    if (!key.startsWith(PREFIX)) return false;
    const found = decodeAcceptorState(value);
    this.#states.set(found.key, found.state);
    return true;
  }

  /** The answer, to be sent after the store's next commit. Throws CORRUPTION, PROTOCOL. */
  handle(store: Store, body: Uint8Array): Uint8Array {
    const message = decodeRegisterMessage(body);
    if (message.key.length > KEY_MAX) throw new SextantError('PROTOCOL', 'register key too long');
    const before = this.#states.get(message.key) ?? EMPTY_ACCEPTOR;
    const { state, reply } = acceptorStep(before, message);
    if (state !== before) this.#save(store, message.key, state);
    return encodeRegisterReply(reply);
  }

  /** Every register, for a peer that starts. */
  encodedStates(): Uint8Array[] {
    return [...this.#states].map(([key, state]) => encodeAcceptorState(key, state));
  }

  /** Accepted values of the registers whose key begins so. */
  values(prefix: string): Uint8Array[] {
    const found: Uint8Array[] = [];
    for (const [key, { value }] of this.#states) {
      if (key.startsWith(prefix) && value !== null) found.push(value);
    }
    return found;
  }

  /** Takes over a peer's state where it is the newer one (rule 19, after a full round). */
  adopt(store: Store, bytes: Uint8Array): void {
    const { key, state } = decodeAcceptorState(bytes);
    const own = this.#states.get(key) ?? EMPTY_ACCEPTOR;
    if (compareBallots(state.accepted, own.accepted) > 0) this.#save(store, key, state);
  }

  #save(store: Store, key: string, state: AcceptorState): void {
    this.#states.set(key, state);
    store.appendState(PREFIX + key, encodeAcceptorState(key, state));
  }
}
