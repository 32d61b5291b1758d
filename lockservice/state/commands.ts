/**
 * What goes through the Raft log of the lock service: JSON, one object a command, `do` names it. Nothing per lock, and
 * no time: what runs out is decided by the leader, which then proposes that it has run out.
 *
 * | do          | proposed when                                         | does                                             |
 * |-------------|-------------------------------------------------------|--------------------------------------------------|
 * | begin       | the group is new; generation from the storage nodes   | tokens start at generation * 2^32 + 1             |
 * | open        | OPEN_CLERK                                            | live clerk, next token, slot; tables              |
 * | close       | CLOSE_CLERK                                           | floor; the clerk is forgotten, its locks are free |
 * | expire      | its lease ended                                       | expired, demon assigned; or forgotten at once     |
 * | fenced      | RECOVERY_STEP fenced                                  | fence epoch + 1; its own tasks pass on (rule 16)  |
 * | recovered   | RECOVERY_STEP recovered                               | floor; the clerk is forgotten, its locks are free |
 * | table       | OPEN_TABLE of a new name                              | next table number                                 |
 * | server-up   | SERVER_BEAT of a new server, address or incarnation   | up; a new incarnation: epoch + 1 of its groups    |
 * | server-down | its lease ended                                       | its groups are free                               |
 * | drain       | it is to leave the group of servers                   | it gets no groups                                 |
 * | forget      | it left                                               | gone                                              |
 * | begin-move  | the groups are not balanced                           | phase 1: no owner, the old one is to give up      |
 * | gave-up     | GAVE_UP                                               | phase 1 is done: the groups are free              |
 * | assign      | groups are free                                       | phase 2: owner, epoch + 1                         |
 * | coord       | COORD_WRITE                                           | the coordination tree                             |
 */
import { SextantError } from '#core/errors.js';
import type { ErrorCode } from '#core/errors.js';
import type { CoordinationCommand } from '../coordination/messages.js';
import type { OpenTableRequest } from '../protocol/messages.js';

export interface GroupEpoch {
  readonly group: number;
  readonly epoch: number;
}

export type Command =
  | { readonly do: 'begin'; readonly generation: number }
  | {
      readonly do: 'open';
      readonly name: string;
      readonly kind: string;
      readonly recovery: boolean;
      readonly leaseMs: number;
      readonly nonce: string;
      readonly tables: readonly OpenTableRequest[];
    }
  | { readonly do: 'close'; readonly token: number; readonly clock: number }
  | { readonly do: 'expire'; readonly token: number }
  | { readonly do: 'revive'; readonly token: number }
  | {
      readonly do: 'fenced' | 'recovered';
      readonly demon: number;
      readonly dead: number;
      readonly attempt: number;
      readonly clock: number;
    }
  | { readonly do: 'table'; readonly name: string }
  | {
      readonly do: 'server-up';
      readonly id: string;
      readonly address: string;
      readonly incarnation: string;
    }
  | { readonly do: 'server-down'; readonly id: string; readonly incarnation: string }
  | { readonly do: 'drain' | 'forget'; readonly id: string }
  | { readonly do: 'begin-move'; readonly groups: readonly GroupEpoch[] }
  | { readonly do: 'gave-up'; readonly id: string; readonly groups: readonly GroupEpoch[] }
  | {
      readonly do: 'assign';
      readonly groups: readonly (GroupEpoch & { readonly to: string })[];
    }
  | { readonly do: 'coord'; readonly command: CoordinationCommand };

/** What a command answers when it changed nothing: the error that its caller gets. */
export interface Refusal {
  readonly error: ErrorCode;
  readonly message: string;
}

export function refusal(error: ErrorCode, message: string): Refusal {
  return { error, message };
}

export function isRefusal(result: unknown): result is Refusal {
  return typeof result === 'object' && result !== null && 'error' in result;
}

/** Throws what the command was refused with. */
export function unlessRefused<T>(result: T | Refusal): T {
  if (isRefusal(result)) throw new SextantError(result.error, result.message);
  return result;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeCommand(command: Command): Uint8Array {
  return encoder.encode(JSON.stringify(command));
}

/** The bytes are an entry of the log, checksummed and written by a member: not checked field by field again. */
export function decodeCommand(bytes: Uint8Array): Command {
  return JSON.parse(decoder.decode(bytes)) as Command;
}
