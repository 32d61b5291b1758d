// Two processes share parcels by locks: kept while nobody else wants them, flushed before they pass on.
//
//   node examples/locks.mjs
import { isSextantError, openClerk } from 'sextant/locks';
import { startCluster } from './dev-cluster.mjs';

const cluster = await startCluster();
const { cluster: name, lockServers } = cluster.status();
const servers = lockServers.map(({ address }) => address);
const open = (who) => openClerk({ servers, cluster: name, name: who, table: 'parcels' });

const ada = await open('ada');
const grace = await open('grace');

// What ada changes she keeps to herself, until another clerk wants to see it.
const store = new Map();
const changed = new Map();
ada.table('parcels').onRevoke = async (locks) => {
  for (const { id } of locks) {
    console.log(`ada flushes parcel ${id}: ${changed.get(id)}`);
    store.set(id, changed.get(id));
  }
};
for (const address of ['Oslo', 'Bergen', 'Tromsø']) {
  const lock = await ada.acquire(42, 'exclusive'); // a message the first time only
  if (lock.valid) changed.set(42, address);
  lock.release();
}

const shared = await grace.acquire(42, 'shared');
console.log(`grace reads parcel 42: ${store.get(42)}`);

// Somebody who is at work is waited for; who does not care to wait says so.
try {
  await ada.acquire(42, 'exclusive', { noWait: true });
} catch (error) {
  if (!isSextantError(error, 'CONFLICT')) throw error;
  console.log(`ada: ${error.message}`);
}
shared.release();

// Several at once, without deadlock, whatever the order in which others name them.
const both = await grace.acquireMany([
  { id: 2n ** 64n - 1n, mode: 'exclusive' },
  { id: 42, mode: 'shared' },
]);
console.log(`grace holds ${both.map((lock) => `${lock.id} ${lock.mode}`).join(', ')}`);
for (const lock of both) lock.release();

// Byte ranges as of fcntl(2).
const file = { table: 'parcels', id: 7, family: 'posix', type: 'write' };
await ada.ranges.set({ ...file, owner: 'ada', start: 0n, end: 100n });
const { granted, blocker } = await grace.ranges.set({ ...file, owner: 'grace', start: 50n });
console.log(
  `grace gets the range: ${granted}; bytes ${blocker.start} to ${blocker.end} are in the way`,
);

await ada.close();
await grace.close();
await cluster.stop();
