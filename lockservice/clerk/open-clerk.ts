/** Opens a clerk: finds the leader, takes a token and a lease. */
import { randomName } from './random-name.js';
import { openClerkAnswer, openClerkRequest } from '../protocol/control-codec.js';
import { MessageType } from '../protocol/messages.js';
import { Clerk } from './clerk.js';
import { LeaderCalls } from './leader-calls.js';
import { checkOptions, type ClerkOptions } from './options.js';
import { ServerLinks } from './server-links.js';

const TRY_MS = 2000;

/**
 * Takes a lease, and with it a token, from the lock service. Rejects with CONFIG or OUT_OF_RANGE (an option), UNKNOWN_TABLE,
 * WRONG_CLUSTER or PROTOCOL (when every server says so), OVERLOADED, or why no server answered within `openTimeoutMs`
 * (DISCONNECTED, NOT_LEADER, NOT_READY, TIMEOUT).
 *
 * ```ts
 * await using clerk = await openClerk({ servers: ['127.0.0.1:7400'], cluster: 'dev' });
 * {
 *   using lock = await clerk.acquire(42, 'exclusive');
 *   if (lock.valid) doIt();
 * }
 * ```
 */
export async function openClerk(options: ClerkOptions): Promise<Clerk> {
  const checked = checkOptions(options);
  const { world, name, kind, recovery, leaseMs, tables } = checked;
  const links = new ServerLinks(world, {
    cluster: checked.cluster,
    deadAfterMs: TRY_MS,
    onPush: () => undefined,
    onUp: () => undefined,
    onDown: () => undefined,
  });
  try {
    links.setServers(checked.servers);
    const body = openClerkRequest.encode({
      name,
      kind,
      recovery,
      ...(leaseMs === undefined ? {} : { leaseMs }),
      tables,
      // A request that is sent twice opens one clerk.
      nonce: randomName(world.random),
    });
    const answer = await new LeaderCalls(world, links).call(MessageType.openClerk, body, {
      deadlineMs: checked.openTimeoutMs,
      tryMs: TRY_MS,
    });
    return new Clerk(checked, openClerkAnswer.decode(answer.body), answer.sentMs);
  } finally {
    links.close();
  }
}
