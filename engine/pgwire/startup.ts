/**
 * The startup packet.
 *
 * ```
 *   i32 80877103            SSLRequest     -> 'N'
 *   i32 80877104            GSSENCRequest  -> 'N'
 *   i32 80877102, i32 pid, secret          CancelRequest: acts, closes, says nothing
 *   i32 major << 16 | minor, then pairs of strings up to an empty one
 * ```
 */
import { SqlError } from '../sql-error.js';
import { type MessageReader, protocolViolation } from './message-reader.js';
import { PROTOCOL_MAJOR, PROTOCOL_MINOR, StartupCode } from './message-types.js';

export type StartupPacket =
  | { readonly kind: 'encryption' }
  | { readonly kind: 'cancel'; readonly pid: number; readonly secret: Buffer }
  | {
      readonly kind: 'start';
      readonly minor: number;
      readonly parameters: ReadonlyMap<string, string>;
      /** Protocol options (`_pq_.`) that are not known here. */
      readonly unknownOptions: readonly string[];
    };

const PAIRS_MAX = 200;

/** The reader stands on a whole packet. Throws SqlError on one that makes no sense. */
export function readStartup(reader: MessageReader): StartupPacket {
  const code = reader.i32();
  if (code === StartupCode.sslRequest || code === StartupCode.gssEncRequest) {
    return { kind: 'encryption' };
  }
  if (code === StartupCode.cancelRequest) {
    const pid = reader.i32();
    return { kind: 'cancel', pid, secret: Buffer.from(reader.rest()) };
  }
  const major = code >>> 16;
  const minor = code & 0xffff;
  if (major !== PROTOCOL_MAJOR) {
    throw new SqlError(
      '0A000',
      `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.${PROTOCOL_MINOR}`,
    );
  }
  const parameters = new Map<string, string>();
  const unknownOptions: string[] = [];
  for (;;) {
    const name = reader.cstring();
    if (name === '') break;
    const value = reader.cstring();
    if (name.startsWith('_pq_.')) unknownOptions.push(name);
    else parameters.set(name, value);
    if (parameters.size > PAIRS_MAX) throw protocolViolation('too many startup parameters');
  }
  reader.finish();
  return { kind: 'start', minor, parameters, unknownOptions };
}

/** The settings in `options`: `-c name=value`, `--name=value`; a backslash keeps a space. */
export function readOptions(text: string): [string, string][] {
  const words = (text.match(/(?:\\.|[^\s\\])+/g) ?? []).map((word) =>
    word.replaceAll(/\\(.)/g, '$1'),
  );
  const found: [string, string][] = [];
  for (let i = 0; i < words.length; i++) {
    let word = words[i];
    if (word === '-c' && i + 1 < words.length) word = words[++i];
    else if (word.startsWith('--')) word = word.slice(2);
    else if (word.startsWith('-c')) word = word.slice(2);
    else throw new SqlError('42601', `invalid command-line argument for server process: ${word}`);
    const at = word.indexOf('=');
    if (at <= 0) throw new SqlError('42601', `-c ${word} requires a value`);
    found.push([word.slice(0, at).replaceAll('-', '_'), word.slice(at + 1)]);
  }
  return found;
}
