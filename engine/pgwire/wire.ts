/** What a connection needs of its socket; server.ts makes one of node:net, tests of nothing. */
export interface Wire {
  /** Sends or queues. True: the bytes are out of the caller's buffer, which may be used again. */
  write(bytes: Buffer): boolean;
  /** Bytes that the other side has not taken yet. `Connection.drained` follows once they are few again. */
  readonly queuedBytes: number;
  pause(): void;
  resume(): void;
  /** Sends what is queued, then closes. */
  end(): void;
  destroy(): void;
  /** `host:port` of the client. */
  readonly remote: string;
  readonly isLoopback: boolean;
}
