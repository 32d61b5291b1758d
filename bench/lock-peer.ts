/** The second process of the lock bench: takes a lock when it is told its id, releases it, says so. */
import { openClerk } from '#lockservice/clerk/index.js';

const { servers } = JSON.parse(process.argv[2] ?? '{}') as { servers: string[] };
const clerk = await openClerk({ servers, cluster: 'bench', name: 'peer', table: 'bench' });
process.on('disconnect', () => {
  void clerk.close().then(() => process.exit(0));
});
process.on('message', ({ id }: { id: number }) => {
  void clerk.acquire(id, 'exclusive').then((lock) => {
    lock.release();
    process.send?.('taken');
  });
});
process.send?.('ready');
