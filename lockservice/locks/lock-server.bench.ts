import { bench, describe } from 'vitest';
import { LockItem, VectorReader, VectorWriter } from '../protocol/lock-vectors.js';
import { LOCK_GROUPS, MessageType } from '../protocol/messages.js';
import { LockServerCore } from './lock-server-core.js';

const BATCH = 1000;
const grants = new VectorWriter(MessageType.grant);
let granted: number[] = [];
const core = new LockServerCore({
  server: 'a',
  outbox: {
    grant: (_token, item) => {
      if (grants.full) grants.clear();
      grants.addGrant(item);
      granted.push(item.grant);
    },
    revoke: () => undefined,
    refuse: (_token, item) => {
      throw new Error(`refused: ${item.why}`);
    },
    rebuild: () => undefined,
    expel: () => undefined,
  },
});
core.clerkLive(1);
for (let group = 0; group < LOCK_GROUPS; group++) core.gainGroup(group, 1, [], [], 0);

let nextId = 0;
let request = 0;
const requests = new VectorWriter(MessageType.request);
const releases = new VectorWriter(MessageType.release);
const reader = new VectorReader();
const header = { token: 1, clock: 1, fenceEpoch: 0 };

/** `count` fresh locks, decoded from a vector and granted into one. */
function acquire(count: number): void {
  const item = new LockItem();
  item.table = 1;
  item.epoch = 1;
  item.level = 2;
  requests.clear();
  for (let i = 0; i < count; i++) {
    item.idLow = nextId++ >>> 0;
    item.request = ++request;
    requests.addRequest(item);
  }
  grants.clear();
  granted = [];
  reader.open(MessageType.request, requests.finish(header));
  while (reader.next()) core.request(1, reader.item, 1000);
}

function release(): void {
  const item = new LockItem();
  item.table = 1;
  item.epoch = 1;
  releases.clear();
  const first = nextId - granted.length;
  for (let i = 0; i < granted.length; i++) {
    item.idLow = (first + i) >>> 0;
    item.grant = granted[i] ?? 0;
    releases.addRelease(item);
  }
  reader.open(MessageType.release, releases.finish(header));
  while (reader.next()) core.release(1, 1, reader.item, 1000);
}

describe('1,000 fresh locks, from the bytes of the requests to those of the grants, and released', () => {
  bench('empty server', () => {
    acquire(BATCH);
    release();
  });
  bench(
    'a million locks held',
    () => {
      acquire(BATCH);
      release();
    },
    {
      setup: () => {
        while (core.stats().locks < 1_000_000) acquire(BATCH);
      },
    },
  );
});
