/** reg* types, whose names the catalog knows; records; pseudo-types, which have no values of their own. */
import { SqlError } from '../sql-error.js';
import * as b from './bytes.js';
import { oidCodec } from './numbers.js';
import { expectBytes, type RegKind, type TypeCodec } from './sql-type.js';

/** Text is a name or an oid; `-` is 0. */
export function regCodec(kind: RegKind): TypeCodec {
  const base = oidCodec(kind);
  return {
    ...base,
    fromText(text, context) {
      const word = text.trim();
      if (word === '-') return 0;
      if (/^\d+$/.test(word)) return base.fromText(word, context);
      if (context.lookUp === undefined) {
        throw new SqlError('0A000', `${kind} values need a catalog`);
      }
      return context.lookUp(kind, word);
    },
    toText(value: number, context) {
      if (value === 0) return '-';
      return context.nameOf?.(kind, value) ?? String(value);
    },
    fromBinary(bytes, start, end) {
      expectBytes(start, end, 4);
      return b.readInt4BE(bytes, start) >>> 0;
    },
  };
}

/** A pseudo-type that is only a name: functions are declared with it, values never have it. */
export function pseudoCodec(name: string): TypeCodec {
  const refuse = (): never => {
    throw new SqlError('0A000', `cannot accept a value of type ${name}`);
  };
  return {
    storage: 'generic',
    ordered: false,
    fromText: refuse,
    toText: refuse,
    fromBinary: refuse,
    toBinary: refuse,
    compare: refuse,
    hashKey: refuse,
  };
}

/** void: what functions without a result return; sent as an empty text. */
export const voidCodec: TypeCodec = {
  storage: 'text',
  ordered: false,
  fromText: () => '',
  toText: () => '',
  fromBinary: () => '',
  toBinary: () => new Uint8Array(0),
  compare: () => 0,
  hashKey: () => '',
};
