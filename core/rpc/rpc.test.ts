import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { SextantError, isSextantError } from '../errors.js';
import { realWorld } from '../world/real/real-world.js';
import type { LinkHandler, Network } from '../world/world.js';
import { RpcClient, type RpcClientOptions } from './client.js';
import { FrameKind, encodeFrameHeader } from './frame.js';
import { RpcServer, type RpcHandler, type RpcPeer } from './server.js';
import { ThreadHub } from '../world/real/threads.js';

const hub = new ThreadHub();
const world = realWorld({ log: 'silent', threads: hub.join() });
const cleanups: (() => void | Promise<void>)[] = [];
let names = 0;

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

class TestHandler implements RpcHandler {
  pushes: { type: number; text: string }[] = [];
  peers: RpcPeer[] = [];
  closed = 0;
  release: (() => void)[] = [];

  onOpen(peer: RpcPeer): void {
    this.peers.push(peer);
  }
  onClose(): void {
    this.closed++;
  }
  call(_peer: RpcPeer, type: number, body: Uint8Array): Uint8Array | Promise<Uint8Array> {
    if (type === 1) return body.slice();
    if (type === 2) throw new SextantError('STALE_EPOCH', 'epoch 3 is over');
    if (type === 3) throw new TypeError('oops');
    if (type === 4) return Promise.reject(new SextantError('NOT_FOUND', 'no such thing'));
    return new Promise((resolve) => this.release.push(() => resolve(text('late'))));
  }
  push(_peer: RpcPeer, type: number, body: Uint8Array): void {
    if (type === 99) throw new SextantError('PROTOCOL', 'bad push');
    this.pushes.push({ type, text: new TextDecoder().decode(body) });
  }
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const untext = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

async function until(condition: () => boolean, ms = 3000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error('condition not met in time');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function serve(
  handler: RpcHandler,
  address: string,
  maxCallsPerPeer = 4,
): Promise<RpcServer> {
  const server = await RpcServer.listen(world, address, handler, { maxCallsPerPeer });
  cleanups.push(() => server.close());
  return server;
}

function client(address: string, options?: RpcClientOptions): RpcClient {
  const made = new RpcClient(world, address, { backoffMinMs: 5, backoffMaxMs: 20, ...options });
  cleanups.push(() => made.close());
  return made;
}

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (isSextantError(error)) return error.code;
    throw error;
  }
  return 'none';
}

describe.each(['tcp', 'inproc', 'worker'])('rpc over %s', (carrier) => {
  const address = (): string => (carrier === 'tcp' ? '127.0.0.1:0' : `${carrier}:test-${names++}`);

  test('answers calls, errors and many calls at once', async () => {
    const server = await serve(new TestHandler(), address());
    const rpc = client(server.address);
    expect(untext(await rpc.call(1, text('hello')))).toBe('hello');
    expect(await code(rpc.call(2, text('')))).toBe('STALE_EPOCH');
    expect(await code(rpc.call(3, text('')))).toBe('INTERNAL');
    expect(await code(rpc.call(4, text('')))).toBe('NOT_FOUND');
    const sizes = [0, 1, 100, 65_000, 300_000, 5_000_000, 19, 20, 21];
    const answers = await Promise.all(
      sizes.map((size) => rpc.call(1, new Uint8Array(size).fill(7))),
    );
    expect(answers.map((answer) => answer.length)).toEqual(sizes);
    expect(answers.every((answer) => answer.every((byte) => byte === 7))).toBe(true);
    expect(rpc.state).toBe('up');
  });

  test('pushes arrive in order, both ways, and those of one turn in one turn', async () => {
    const handler = new TestHandler();
    const server = await serve(handler, address());
    const rpc = client(server.address);
    await rpc.call(1, text(''));
    for (let i = 0; i < 50; i++) expect(rpc.push(10, text(`${i}`))).toBe(true);
    await until(() => handler.pushes.length > 0);
    expect(handler.pushes.map((push) => push.text)).toEqual(
      Array.from({ length: 50 }, (_, i) => `${i}`),
    );
    const got: string[] = [];
    rpc.onPush = (type, body) => got.push(`${type} ${untext(body)}`);
    handler.peers[0]!.push(11, text('x'));
    handler.peers[0]!.push(12, text('y'));
    await until(() => got.length === 2);
    expect(got).toEqual(['11 x', '12 y']);
  });

  test('a call ends by deadline or by its signal, and late answers are dropped', async () => {
    const handler = new TestHandler();
    const server = await serve(handler, address());
    const rpc = client(server.address);
    expect(await code(rpc.call(5, text(''), { timeoutMs: 20 }))).toBe('TIMEOUT');
    const abort = new AbortController();
    const cancelled = code(rpc.call(5, text(''), { signal: abort.signal }));
    await until(() => handler.release.length === 2);
    abort.abort();
    expect(await cancelled).toBe('CANCELLED');
    expect(await code(rpc.call(5, text(''), { signal: abort.signal }))).toBe('CANCELLED');
    for (const release of handler.release) release();
    expect(untext(await rpc.call(1, text('after')))).toBe('after');
  });

  test('calls past the bound are answered OVERLOADED', async () => {
    const handler = new TestHandler();
    const server = await serve(handler, address(), 2);
    const rpc = client(server.address);
    const held = [rpc.call(5, text('')), rpc.call(5, text(''))];
    expect(await code(rpc.call(5, text('')))).toBe('OVERLOADED');
    for (const release of handler.release) release();
    expect((await Promise.all(held)).map(untext)).toEqual(['late', 'late']);
    const again = rpc.call(5, text(''));
    await until(() => handler.release.length === 3);
    handler.release[2]!();
    expect(untext(await again)).toBe('late');
  });

  test('a lost connection fails pending calls at once and is made again', async () => {
    const handler = new TestHandler();
    const server = await serve(handler, address());
    const rpc = client(server.address);
    const states: string[] = [];
    rpc.onState = (state) => states.push(state);
    const pending = code(rpc.call(5, text('')));
    await until(() => handler.release.length === 1);
    handler.peers[0]!.close();
    expect(await pending).toBe('DISCONNECTED');
    expect(rpc.push(10, text('x'))).toBe(false);
    await until(() => rpc.state === 'up');
    handler.release[0]!();
    expect(untext(await rpc.call(1, text('again')))).toBe('again');
    expect(states).toEqual(['up', 'down', 'up']);
    expect(handler.closed).toBe(1);
  });

  test('hello goes first, and one that is refused keeps the client down', async () => {
    const seen: number[] = [];
    let refuse = true;
    const server = await serve(
      {
        call(_peer, type, body) {
          seen.push(type);
          if (type === 7 && refuse) throw new SextantError('WRONG_CLUSTER', 'not this one');
          return body.slice();
        },
        push() {},
      },
      address(),
    );
    const answers: string[] = [];
    const rpc = client(server.address, {
      hello: () => ({ type: 7, body: text('who') }),
      onHello: (answer) => answers.push(untext(answer)),
    });
    expect(await code(rpc.call(1, text('early')))).toBe('DISCONNECTED');
    expect(isSextantError(rpc.lastError, 'WRONG_CLUSTER')).toBe(true);
    refuse = false;
    await until(() => rpc.state === 'up');
    await rpc.call(1, text(''));
    expect(new Set(seen.slice(0, -1))).toEqual(new Set([7]));
    expect(seen.at(-1)).toBe(1);
    expect(answers).toEqual(['who']);
    expect(rpc.rttMs).toBeGreaterThan(0);
  });

  test('a push that the handler refuses closes that peer only', async () => {
    const handler = new TestHandler();
    const server = await serve(handler, address());
    const bad = client(server.address);
    const good = client(server.address);
    await Promise.all([bad.call(1, text('')), good.call(1, text(''))]);
    const pending = good.call(5, text(''));
    bad.push(99, text(''));
    await until(() => handler.closed === 1);
    for (const release of handler.release) release();
    expect(untext(await pending)).toBe('late');
  });

  test('nobody listens, then somebody does; closing fails calls with CLOSED', async () => {
    const first = await serve(new TestHandler(), address());
    const at = first.address;
    await first.close();
    const rpc = client(at);
    expect(await code(rpc.call(1, text('')))).toBe('DISCONNECTED');
    const handler = new TestHandler();
    await serve(handler, at);
    await until(() => rpc.state === 'up');
    const pending = code(rpc.call(5, text('')));
    rpc.close();
    expect(await pending).toBe('CLOSED');
    expect(await code(rpc.call(1, text('')))).toBe('CLOSED');
    await until(() => handler.closed === 1);
  });
});

test('what comes late from an earlier connection is not looked at', async () => {
  const handlers: LinkHandler[] = [];
  const network: Network = {
    listen: () => Promise.reject(new Error('not here')),
    connect(address, handler) {
      handlers.push(handler);
      return { send: () => true, queuedBytes: 0, remote: address, close: () => undefined };
    },
  };
  const rpc = new RpcClient({ ...world, network }, 'x:1', { backoffMinMs: 1, backoffMaxMs: 1 });
  const got: string[] = [];
  rpc.onPush = (_type, body) => got.push(untext(body));
  const push = (value: string): Uint8Array => {
    const body = text(value);
    return Buffer.concat([encodeFrameHeader(FrameKind.push, 1, 0, body), body]);
  };
  handlers[0]!.onOpen?.();
  handlers[0]!.onFrame(push('first'));
  handlers[0]!.onClose();
  await until(() => handlers.length === 2);
  handlers[0]!.onFrame(push('late'));
  handlers[1]!.onOpen?.();
  handlers[0]!.onClose();
  handlers[1]!.onFrame(push('second'));
  expect(got).toEqual(['first', 'second']);
  expect(rpc.state).toBe('up');
  rpc.close();
});

describe('tcp', () => {
  test('garbage, flipped bits and half frames close their link and nothing else', async () => {
    const handler = new TestHandler();
    const server = await serve(handler, '127.0.0.1:0');
    const good = client(server.address);
    await good.call(1, text(''));
    const port = Number(server.address.split(':')[1]);
    const body = text('some body');
    const whole = Buffer.concat([encodeFrameHeader(FrameKind.push, 10, 0, body), body]);
    for (let bit = 0; bit < whole.length * 8; bit += 5) {
      const flipped = Buffer.from(whole);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const socket = net.connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(flipped);
      await new Promise((resolve) => socket.once('close', resolve));
    }
    const half = net.connect(port, '127.0.0.1');
    half.end(whole.subarray(0, 25));
    await new Promise((resolve) => half.once('close', resolve));
    expect(handler.pushes).toEqual([]);
    expect(untext(await good.call(1, text('still')))).toBe('still');
  });

  test('frames cut at every place arrive whole', async () => {
    const handler = new TestHandler();
    const server = await serve(handler, '127.0.0.1:0');
    const body = text('0123456789');
    const one = Buffer.concat([encodeFrameHeader(FrameKind.push, 10, 0, body), body]);
    const both = Buffer.concat([one, one, one]);
    const socket = net.connect({
      port: Number(server.address.split(':')[1]),
      host: '127.0.0.1',
      noDelay: true,
    });
    let sent = 0;
    for (let cut = 0; cut < both.length; cut += 7) {
      socket.write(both.subarray(0, cut));
      await new Promise((resolve) => setTimeout(resolve, 3));
      socket.write(both.subarray(cut));
      sent += 3;
    }
    await until(() => handler.pushes.length === sent);
    expect(handler.pushes.every((push) => push.text === '0123456789')).toBe(true);
    socket.destroy();
  });

  test('a peer that does not read costs a bounded queue and is dropped when silent', async () => {
    const sockets: net.Socket[] = [];
    const silent = net.createServer((socket) => {
      socket.pause();
      sockets.push(socket);
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as net.AddressInfo;
    const rpc = client(`127.0.0.1:${port}`, {
      maxQueuedBytes: 1_000_000,
      deadAfterMs: 150,
      pingEveryMs: 30,
    });
    await until(() => rpc.state === 'up');
    const body = new Uint8Array(100_000);
    let accepted = 0;
    while (rpc.push(10, body)) accepted++;
    expect(accepted).toBeGreaterThan(5);
    expect(rpc.queuedBytes).toBeLessThanOrEqual(1_100_000);
    const pending = code(rpc.call(1, text('')));
    expect(await pending).toBe('DISCONNECTED');
    rpc.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });
});
