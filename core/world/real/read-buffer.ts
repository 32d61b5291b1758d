/**
 * Reads a socket into one buffer that is used again, instead of 64 KiB allocated and shrunk for each read.
 *
 * Node has this as `onread`, but only for sockets that it connects itself; accepted ones get it here by the same
 * three fields that `onread` sets. They are not public: where they are not found, chunks come as 'data' events as ever.
 *
 * Hot: see docs/performance.md for what it gains.
 */
import type { Socket } from 'node:net';

const READ_BYTES = 65_536;

/** All sockets of a thread share it: what is read is handled, or copied, before the next read. */
let shared: Uint8Array | undefined;

interface StreamHandle {
  useUserBuffer?: (buffer: Uint8Array) => void;
}

/** `onChunk` gets a view that is valid during the call only. */
export function readWith(socket: Socket, onChunk: (chunk: Uint8Array) => void): void {
  shared ??= new Uint8Array(READ_BYTES);
  const buffer = shared;
  const fields = socket as unknown as Record<symbol, unknown> & { _handle?: StreamHandle | null };
  const handle = fields._handle;
  const symbols = Object.getOwnPropertySymbols(socket);
  const bufferField = symbols.find((symbol) => symbol.description === 'kBuffer');
  const callbackField = symbols.find((symbol) => symbol.description === 'kBufferCb');
  if (
    typeof handle?.useUserBuffer !== 'function' ||
    bufferField === undefined ||
    callbackField === undefined ||
    fields[bufferField] !== null
  ) {
    socket.on('data', onChunk);
    return;
  }
  fields[bufferField] = buffer;
  fields[callbackField] = (byteCount: number): boolean => {
    onChunk(buffer.subarray(0, byteCount));
    return true;
  };
  handle.useUserBuffer(buffer);
  socket.resume();
}
