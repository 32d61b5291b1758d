/**
 * Codec of the messages that carry many locks: REQUEST, RELEASE, CANCEL, GRANT, REVOKE, REFUSE, CLAIM.
 * Fixed size, little-endian; the message type stands in the frame around it.
 *
 * ```
 * header       0 u64 token       8 u64 clock      16 u64 fenceEpoch          24 u32 count  28 u32 0             32 bytes
 * of CLAIM     0 u64 token       8 u64 clock      16 u16 group  18 u16 part  20 u32 epoch  24 u32 count
 *             28 u16 attempt  30 u8 last  31 u8 0
 *
 * item         0 u32 table       4 u32 idHigh      8 u32 idLow     12 u8 aspect    13 u8 level     14 u8 extra     15 u8 0
 *             16 u32 epoch      20 u64 number    [28 u64 grant]                                        28 bytes, GRANT 36
 * ```
 *
 * | message | level              | extra     | epoch | number  |
 * |---------|--------------------|-----------|-------|---------|
 * | REQUEST | shared, exclusive  | 1: noWait | yes   | request |
 * | CANCEL  | 0                  | 0         | yes   | request |
 * | RELEASE | what is still held | 1: keeps  | yes   | grant   |
 * | GRANT   | shared, exclusive  | 0         | yes   | request |
 * | REVOKE  | none, shared       | 0         | yes   | grant   |
 * | REFUSE  | 0                  | why       | yes   | request |
 * | CLAIM   | shared, exclusive  | 0         | 0     | grant   |
 *
 * A u64 above 2^53, another length, a field outside its range or more than VECTOR_ITEMS_MAX items: PROTOCOL, found
 * when the reader opens the vector, so that nothing of a malformed one takes effect.
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import { Level, LOCK_GROUPS, MessageType, RANGE_GROUP_SALT, RefuseCode } from './messages.js';
import type {
  Aspect,
  CancelItem,
  ClaimHeader,
  ClaimItem,
  GrantItem,
  LockName,
  RefuseItem,
  ReleaseItem,
  RequestItem,
  RevokeItem,
  VectorHeader,
} from './messages.js';

export const VECTOR_ITEMS_MAX = 65_536;
export const VECTOR_HEADER_BYTES = 32;

const ITEM_BYTES = 28;
const GRANT_ITEM_BYTES = 36;
const TWO_32 = 0x1_0000_0000;
/** Upper half of the largest safe integer. */
const HIGH_MAX = 0x1f_ffff;
const U16_MAX = 0xffff;
const REFUSE_MAX = Math.max(...Object.values(RefuseCode));

export type VectorType =
  | typeof MessageType.request
  | typeof MessageType.release
  | typeof MessageType.cancel
  | typeof MessageType.claim
  | typeof MessageType.grant
  | typeof MessageType.revoke
  | typeof MessageType.refuse;

/** A mixed u32 of a lock's table and id (the finalizer of MurmurHash3 over each word). */
export function hashLock(table: number, idHigh: number, idLow: number): number {
  let hash = Math.imul(table ^ 0x9e37_79b9, 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 15) ^ idHigh, 0xc2b2_ae35);
  hash = Math.imul(hash ^ (hash >>> 13) ^ idLow, 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0xc2b2_ae35);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** The lock group, 0..LOCK_GROUPS-1, of both aspects of an id. */
export function groupOf(table: number, idHigh: number, idLow: number): number {
  return hashLock(table, idHigh, idLow) % LOCK_GROUPS;
}

/** The lock group whose server has the range locks of a table. */
export function rangeGroupOf(table: number): number {
  return hashLock(table, RANGE_GROUP_SALT, RANGE_GROUP_SALT) % LOCK_GROUPS;
}

/**
 * One shape for the items of every vector, so that hot code stays monomorphic: it is a RequestItem, a ReleaseItem and so
 * on, as its vector says; fields that the vector lacks are 0 or false.
 */
export class LockItem
  implements RequestItem, ReleaseItem, CancelItem, GrantItem, RevokeItem, RefuseItem, ClaimItem
{
  table = 0;
  idHigh = 0;
  idLow = 0;
  aspect: Aspect = 0;
  level: Level = 0;
  noWait = false;
  keeps = false;
  why: RefuseCode = RefuseCode.wrongGroup;
  epoch = 0;
  request = 0;
  grant = 0;
}

function itemBytesOf(type: VectorType): number {
  return type === MessageType.grant ? GRANT_ITEM_BYTES : ITEM_BYTES;
}

function putNumber(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, (value / TWO_32) >>> 0, true);
}

/** Checked when the vector was opened. */
function takeNumber(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * TWO_32 + view.getUint32(offset, true);
}

function malformed(what: string): never {
  throw new SextantError('PROTOCOL', `lock vector: ${what}`);
}

/**
 * Collects the items of one message; used again and again. The caller sees to it that no more than VECTOR_ITEMS_MAX
 * are added (`full`) and that numbers are safe integers.
 */
export class VectorWriter {
  readonly type: VectorType;
  readonly #itemBytes: number;
  #bytes: Uint8Array;
  #view: DataView;
  #count = 0;
  #end = VECTOR_HEADER_BYTES;

  constructor(type: VectorType) {
    this.type = type;
    this.#itemBytes = itemBytesOf(type);
    this.#bytes = new Uint8Array(VECTOR_HEADER_BYTES + 16 * this.#itemBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count === VECTOR_ITEMS_MAX;
  }

  addRequest(item: RequestItem): void {
    this.#put(item, item.level, item.noWait ? 1 : 0, item.epoch, item.request);
  }

  addRelease(item: ReleaseItem): void {
    this.#put(item, item.level, item.keeps ? 1 : 0, item.epoch, item.grant);
  }

  addCancel(item: CancelItem): void {
    this.#put(item, 0, 0, item.epoch, item.request);
  }

  addGrant(item: GrantItem): void {
    this.#put(item, item.level, 0, item.epoch, item.request);
    putNumber(this.#view, this.#end - 8, item.grant);
  }

  addRevoke(item: RevokeItem): void {
    this.#put(item, item.level, 0, item.epoch, item.grant);
  }

  addRefuse(item: RefuseItem): void {
    this.#put(item, 0, item.why, item.epoch, item.request);
  }

  addClaim(item: ClaimItem): void {
    this.#put(item, item.level, 0, 0, item.grant);
  }

  /** The message so far: a view of the writer's buffer, which the next item or `clear` may overwrite. */
  finish(header: VectorHeader): Uint8Array {
    assert(this.type !== MessageType.claim, 'a claim has a header of its own');
    putNumber(this.#view, 16, header.fenceEpoch);
    this.#view.setUint32(28, 0, true);
    return this.#finish(header.token, header.clock);
  }

  /** As `finish`, of a CLAIM. */
  finishClaim(header: ClaimHeader): Uint8Array {
    assert(this.type === MessageType.claim, 'only a claim has this header');
    assert(header.part <= U16_MAX && header.attempt <= U16_MAX, 'parts and attempts are u16');
    this.#view.setUint16(16, header.group, true);
    this.#view.setUint16(18, header.part, true);
    this.#view.setUint32(20, header.epoch, true);
    this.#view.setUint16(28, header.attempt, true);
    this.#view.setUint16(30, header.last ? 1 : 0, true);
    return this.#finish(header.token, header.clock);
  }

  clear(): void {
    this.#count = 0;
    this.#end = VECTOR_HEADER_BYTES;
  }

  #finish(token: number, clock: number): Uint8Array {
    putNumber(this.#view, 0, token);
    putNumber(this.#view, 8, clock);
    this.#view.setUint32(24, this.#count, true);
    return this.#bytes.subarray(0, this.#end);
  }

  #put(name: LockName, level: number, extra: number, epoch: number, number: number): void {
    assert(this.#count < VECTOR_ITEMS_MAX, 'a vector is not overfilled');
    const at = this.#end;
    if (at + this.#itemBytes > this.#bytes.length) this.#grow();
    const view = this.#view;
    view.setUint32(at, name.table, true);
    view.setUint32(at + 4, name.idHigh, true);
    view.setUint32(at + 8, name.idLow, true);
    view.setUint32(at + 12, name.aspect | (level << 8) | (extra << 16), true);
    view.setUint32(at + 16, epoch, true);
    putNumber(view, at + 20, number);
    this.#count++;
    this.#end = at + this.#itemBytes;
  }

  #grow(): void {
    const bytes = new Uint8Array(2 * this.#bytes.length);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/**
 * Walks over one received vector without an object per item; used again and again.
 *
 * ```
 *   reader.open(MessageType.request, body);      // PROTOCOL when it is malformed
 *   while (reader.next()) core.request(reader.token, reader.item, nowMs);
 * ```
 */
export class VectorReader {
  token = 0;
  clock = 0;
  /** Not of CLAIM. */
  fenceEpoch = 0;
  /** These five of CLAIM alone. */
  group = 0;
  epoch = 0;
  attempt = 0;
  part = 0;
  last = false;
  count = 0;
  /** The item that `next` came to; the next one overwrites it. */
  readonly item = new LockItem();
  #type: VectorType = MessageType.request;
  #view: DataView = new DataView(new ArrayBuffer(0));
  #itemBytes = ITEM_BYTES;
  #at = 0;
  #end = 0;

  /** Reads the header and checks every item. `bytes` must stay as they are until the last `next`. */
  open(type: VectorType, bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const itemBytes = itemBytesOf(type);
    if (bytes.length < VECTOR_HEADER_BYTES) malformed(`${bytes.length} bytes`);
    const count = view.getUint32(24, true);
    if (count > VECTOR_ITEMS_MAX) malformed(`${count} items`);
    if (bytes.length !== VECTOR_HEADER_BYTES + count * itemBytes) {
      malformed(`${bytes.length} bytes for ${count} items`);
    }
    checkNumber(view, 0);
    checkNumber(view, 8);
    if (type === MessageType.claim) checkClaimHeader(view);
    else checkHeader(view);
    for (let at = VECTOR_HEADER_BYTES; at < bytes.length; at += itemBytes) {
      checkItem(type, view, at);
    }
    this.#type = type;
    this.#view = view;
    this.#itemBytes = itemBytes;
    this.#at = VECTOR_HEADER_BYTES;
    this.#end = bytes.length;
    this.count = count;
    this.#readHeader();
  }

  /** Puts the next item into `item`; false at the end. */
  next(): boolean {
    const at = this.#at;
    if (at === this.#end) return false;
    this.#at = at + this.#itemBytes;
    const view = this.#view;
    const item = this.item;
    const flags = view.getUint32(at + 12, true);
    const extra = flags >>> 16;
    const number = takeNumber(view, at + 20);
    const type = this.#type;
    item.table = view.getUint32(at, true);
    item.idHigh = view.getUint32(at + 4, true);
    item.idLow = view.getUint32(at + 8, true);
    item.aspect = (flags & 0xff) as Aspect;
    item.level = ((flags >>> 8) & 0xff) as Level;
    item.epoch = view.getUint32(at + 16, true);
    item.noWait = type === MessageType.request && extra === 1;
    item.keeps = type === MessageType.release && extra === 1;
    item.why = type === MessageType.refuse ? (extra as RefuseCode) : RefuseCode.wrongGroup;
    if (type === MessageType.grant) {
      item.request = number;
      item.grant = takeNumber(view, at + 28);
    } else if (namesGrant(type)) {
      item.request = 0;
      item.grant = number;
    } else {
      item.request = number;
      item.grant = 0;
    }
    return true;
  }

  #readHeader(): void {
    const view = this.#view;
    const claim = this.#type === MessageType.claim;
    this.token = takeNumber(view, 0);
    this.clock = takeNumber(view, 8);
    this.fenceEpoch = claim ? 0 : takeNumber(view, 16);
    this.group = claim ? view.getUint16(16, true) : 0;
    this.epoch = claim ? view.getUint32(20, true) : 0;
    this.attempt = claim ? view.getUint16(28, true) : 0;
    this.part = claim ? view.getUint16(18, true) : 0;
    this.last = claim && view.getUint8(30) === 1;
  }
}

function namesGrant(type: VectorType): boolean {
  return type === MessageType.release || type === MessageType.revoke || type === MessageType.claim;
}

function checkNumber(view: DataView, offset: number): void {
  if (view.getUint32(offset + 4, true) > HIGH_MAX) malformed(`u64 above 2^53 at byte ${offset}`);
}

function checkHeader(view: DataView): void {
  checkNumber(view, 16);
  if (view.getUint32(28, true) !== 0) malformed('reserved bytes of the header');
}

function checkClaimHeader(view: DataView): void {
  if (view.getUint16(16, true) >= LOCK_GROUPS) malformed(`group ${view.getUint16(16, true)}`);
  if (view.getUint16(30, true) > 1) malformed('last part is 0 or 1');
}

function checkItem(type: VectorType, view: DataView, at: number): void {
  const flags = view.getUint32(at + 12, true);
  const level = (flags >>> 8) & 0xff;
  const extra = flags >>> 16;
  if ((flags & 0xff) > 1) malformed(`aspect ${flags & 0xff}`);
  if (level < levelMin(type) || level > levelMax(type)) malformed(`level ${level}`);
  if (extra > extraMax(type)) malformed(`flags ${extra}`);
  if (type === MessageType.refuse && extra === 0) malformed('refused without a reason');
  if (type === MessageType.claim && view.getUint32(at + 16, true) !== 0)
    malformed('reserved bytes');
  checkNumber(view, at + 20);
  if (type === MessageType.grant) checkNumber(view, at + 28);
}

function levelMin(type: VectorType): number {
  const some =
    type === MessageType.request || type === MessageType.grant || type === MessageType.claim;
  return some ? Level.shared : Level.none;
}

function levelMax(type: VectorType): number {
  if (type === MessageType.cancel || type === MessageType.refuse) return Level.none;
  return type === MessageType.revoke ? Level.shared : Level.exclusive;
}

function extraMax(type: VectorType): number {
  if (type === MessageType.request || type === MessageType.release) return 1;
  return type === MessageType.refuse ? REFUSE_MAX : 0;
}
