/** A TCP proxy between two processes that can be cut: bytes stand still, in both directions, until it heals. */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class DroppingProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #port: number;
  #isCut = false;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.#port = port;
  }

  /** `target`: a port of this machine. */
  static async listen(target: number): Promise<DroppingProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const proxy = new DroppingProxy(server, address.port);
    server.on('connection', (socket) => proxy.#join(socket, target));
    return proxy;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** What stood still arrives; or, as after a long time, all connections are gone. */
  heal(reset: boolean): void {
    this.#isCut = false;
    for (const socket of this.#sockets) {
      if (reset) socket.destroy();
      else socket.resume();
    }
  }

  close(): void {
    this.heal(true);
    this.#server.close();
  }

  #join(near: Socket, target: number): void {
    const far = connect(target, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on('data', (bytes) => to.write(bytes));
      from.on('error', () => undefined);
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      if (this.#isCut) from.pause();
    }
  }
}
