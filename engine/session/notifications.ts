/**
 * LISTEN and NOTIFY within one engine. A notification leaves at its transaction's commit and rests on that commit's LSN:
 * listeners get it when the commit is durable (rule 25).
 */
export interface Notification {
  readonly channel: string;
  readonly payload: string;
  /** Session that sent it. */
  readonly pid: number;
  readonly lsn: number;
}

export interface Listener {
  notify(notification: Notification): void;
}

export class NotificationHub {
  readonly #listeners = new Map<string, Set<Listener>>();

  listen(channel: string, listener: Listener): void {
    const set = this.#listeners.get(channel);
    if (set === undefined) this.#listeners.set(channel, new Set([listener]));
    else set.add(listener);
  }

  unlisten(channel: string, listener: Listener): void {
    const set = this.#listeners.get(channel);
    if (set === undefined) return;
    set.delete(listener);
    if (set.size === 0) this.#listeners.delete(channel);
  }

  publish(notification: Notification): void {
    const set = this.#listeners.get(notification.channel);
    if (set === undefined) return;
    for (const listener of set) listener.notify(notification);
  }
}

type ListenChange = { readonly channel: string; readonly on: boolean } | 'all off';

/** What one session listens to, and what its open transaction will change and send. */
export class SessionChannels {
  readonly channels = new Set<string>();
  readonly #hub: NotificationHub;
  readonly #listener: Listener;
  readonly #pid: number;
  #changes: ListenChange[] = [];
  #outgoing: { channel: string; payload: string }[] = [];

  constructor(hub: NotificationHub, listener: Listener, pid: number) {
    this.#hub = hub;
    this.#listener = listener;
    this.#pid = pid;
  }

  get hasPending(): boolean {
    return this.#changes.length > 0 || this.#outgoing.length > 0;
  }

  listen(channel: string): void {
    this.#changes.push({ channel, on: true });
  }

  unlisten(channel: string | null): void {
    this.#changes.push(channel === null ? 'all off' : { channel, on: false });
  }

  /** The same channel and payload twice in one transaction is one notification. */
  send(channel: string, payload: string): void {
    const same = this.#outgoing.some(
      (other) => other.channel === channel && other.payload === payload,
    );
    if (!same) this.#outgoing.push({ channel, payload });
  }

  committed(lsn: number): void {
    if (!this.hasPending) return;
    const changes = this.#changes;
    const outgoing = this.#outgoing;
    this.#changes = [];
    this.#outgoing = [];
    for (const change of changes) {
      if (change === 'all off') this.close();
      else if (change.on) {
        this.channels.add(change.channel);
        this.#hub.listen(change.channel, this.#listener);
      } else {
        this.channels.delete(change.channel);
        this.#hub.unlisten(change.channel, this.#listener);
      }
    }
    for (const { channel, payload } of outgoing) {
      this.#hub.publish({ channel, payload, pid: this.#pid, lsn });
    }
  }

  rolledBack(): void {
    this.#changes = [];
    this.#outgoing = [];
  }

  close(): void {
    for (const channel of this.channels) this.#hub.unlisten(channel, this.#listener);
    this.channels.clear();
  }
}
