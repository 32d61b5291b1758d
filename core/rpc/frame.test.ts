import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32c } from '../bytes/crc32c.js';
import { SextantError, isSextantError } from '../errors.js';
import { FrameSplitter } from './frame-splitter.js';
import {
  FRAME_BODY_BYTES_MAX,
  FRAME_HEADER_BYTES,
  FrameKind,
  FrameReader,
  decodeErrorBody,
  encodeErrorBody,
  encodeFrameHeader,
} from './frame.js';

function frameOf(type: number, id: number, body: Uint8Array): Uint8Array {
  return Buffer.concat([encodeFrameHeader(FrameKind.call, type, id, body), body]);
}

function code(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    if (isSextantError(error)) return error.code;
    throw error;
  }
  return 'none';
}

describe('frame', () => {
  test('layout', () => {
    const body = new TextEncoder().encode('body');
    const frame = frameOf(12, 0xfedcba98, body);
    const view = new DataView(frame.buffer, frame.byteOffset);
    expect(view.getUint32(0, true)).toBe(4);
    expect([...frame.subarray(4, 8)]).toEqual([1, 12, 1, 0]);
    expect(view.getUint32(8, true)).toBe(0xfedcba98);
    expect(view.getUint32(12, true)).toBe(crc32c(body));
    expect(view.getUint32(16, true)).toBe(crc32c(frame.subarray(0, 16)));
    const reader = new FrameReader();
    reader.read(frame);
    expect(reader).toMatchObject({ kind: 1, type: 12, requestId: 0xfedcba98 });
    expect([...reader.body]).toEqual([...body]);
  });

  test('every flipped bit and every cut is found', () => {
    const frame = frameOf(12, 7, new TextEncoder().encode('some body'));
    const reader = new FrameReader();
    for (let bit = 0; bit < frame.length * 8; bit++) {
      frame[bit >> 3] ^= 1 << (bit & 7);
      expect(code(() => reader.read(frame))).toBe('CORRUPTION');
      frame[bit >> 3] ^= 1 << (bit & 7);
    }
    for (let cut = 0; cut < frame.length; cut++) {
      expect(code(() => reader.read(frame.subarray(0, cut)))).toBe('CORRUPTION');
    }
    expect(code(() => reader.read(frame))).toBe('none');
  });

  test('other versions, kinds and sizes are refused', () => {
    const reader = new FrameReader();
    const broken = (at: number, value: number): string => {
      const frame = frameOf(1, 1, new Uint8Array(0));
      frame[at] = value;
      new DataView(frame.buffer, frame.byteOffset).setUint32(
        16,
        crc32c(frame.subarray(0, 16)),
        true,
      );
      return code(() => reader.read(frame));
    };
    expect(broken(4, 2)).toBe('PROTOCOL');
    expect(broken(6, 0)).toBe('PROTOCOL');
    expect(broken(6, 8)).toBe('PROTOCOL');
    expect(broken(3, 255)).toBe('PROTOCOL');
    const huge = new Uint8Array(FRAME_BODY_BYTES_MAX + 1);
    expect(code(() => encodeFrameHeader(FrameKind.push, 1, 0, huge, 0))).toBe('PROTOCOL');
  });

  test('errors keep code and message; foreign bodies are errors too', () => {
    const sent = new SextantError('STALE_EPOCH', 'epoch 3 is over');
    expect(decodeErrorBody(encodeErrorBody(sent))).toMatchObject({
      code: 'STALE_EPOCH',
      message: sent.message,
    });
    expect(decodeErrorBody(encodeErrorBody(new TypeError('x')))).toMatchObject({
      code: 'INTERNAL',
    });
    const decoded = (body: string): string => decodeErrorBody(new TextEncoder().encode(body)).code;
    expect(decoded('nonsense')).toBe('PROTOCOL');
    expect(decoded('null')).toBe('PROTOCOL');
    expect(decoded('{"code":1,"message":"x"}')).toBe('PROTOCOL');
    expect(decoded('{"code":"toString","message":"x"}')).toBe('INTERNAL');
  });
});

describe('frame splitter', () => {
  test('gives the same frames however the stream is cut, whole ones without a copy', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 100 }), { minLength: 1, maxLength: 10 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 }),
        (bodies, cuts) => {
          const frames = bodies.map((body, i) => frameOf(1, i, body));
          const stream = new Uint8Array(Buffer.concat(frames));
          const got: string[] = [];
          const splitter = new FrameSplitter((frame) =>
            got.push(Buffer.from(frame).toString('hex')),
          );
          let at = 0;
          for (let i = 0; at < stream.length; i++) {
            const next = at + cuts[i % cuts.length];
            splitter.push(stream.slice(at, next));
            at = next;
          }
          expect(got).toEqual(frames.map((frame) => Buffer.from(frame).toString('hex')));
          const whole = new FrameSplitter((frame) => expect(frame.buffer).toBe(stream.buffer));
          whole.push(stream);
        },
      ),
    );
  });

  test('stops in the middle of a chunk', () => {
    const frame = frameOf(1, 1, new Uint8Array(FRAME_HEADER_BYTES));
    let count = 0;
    const splitter = new FrameSplitter(() => {
      count++;
      splitter.stop();
    });
    splitter.push(Buffer.concat([frame, frame, frame.subarray(0, 30)]));
    splitter.push(frame);
    expect(count).toBe(1);
  });
});
