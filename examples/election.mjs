// Three workers agree on a leader and follow its configuration, by the lock service of a cluster.
//
//   node examples/election.mjs
import { Configuration, elect, openClerk } from 'sextant/locks';
import { startCluster } from './dev-cluster.mjs';

const cluster = await startCluster();
const { cluster: name, lockServers } = cluster.status();
const servers = lockServers.map(({ address }) => address);

/** A worker has a lease; when it is not renewed any more, all that hangs on it goes. */
async function worker(id) {
  const clerk = await openClerk({ servers, cluster: name, name: id, leaseMs: 2000 });
  return { id, clerk, config: new Configuration(clerk.coordination, '/jobs/config') };
}

/** The first in the line is elected; each of the others watches only the one before it. */
async function lead({ id, clerk, config }) {
  const elected = await elect(clerk.coordination, '/jobs/leader', { data: id });
  console.log(`${id} is elected`);
  // Many nodes, but nobody ever reads half of a change.
  await config.publish([
    ['leader', id],
    ['shards', id === 'ada' ? '4' : '8'],
  ]);
  return elected;
}

const ada = await worker('ada');
const grace = await worker('grace');
const edsger = await worker('edsger');

const reign = await lead(ada);
const next = lead(grace);

const stop = new AbortController();
const following = (async () => {
  for await (const view of edsger.config.follow({ signal: stop.signal })) {
    console.log(`edsger: ${view.text('leader')} leads, ${view.text('shards')} shards`);
    if (view.text('leader') === 'grace') return;
  }
})();

// Ada goes; her lease would have ended it too, two seconds later.
await reign.resign();
console.log(`ada leads: ${reign.elected}`);
const after = await next;
await following;
console.log(`grace leads: ${after.elected}`);

// What was elected ends with its lease: `lost` is an AbortSignal, for the work that only a leader may do.
after.lost.addEventListener('abort', () => console.log(`grace leads no more`));
await grace.clerk.close();

for (const { clerk } of [ada, edsger]) await clerk.close();
await cluster.stop();
