/** A connection to one storage node: says who calls, refuses another node or cluster than the one meant. */
import { SextantError } from '#core/errors.js';
import { RpcClient, type RpcClientOptions } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import { helloAnswer, helloRequest } from './codec-json.js';
import { MessageType, PROTOCOL_VERSION, type HelloRequest, type NodeAddress } from './messages.js';

export function connectToNode(
  world: World,
  clusterId: string,
  address: NodeAddress,
  caller: Pick<HelloRequest, 'role' | 'peers'>,
  options: RpcClientOptions = {},
): RpcClient {
  const hello = helloRequest.encode({
    protocol: PROTOCOL_VERSION,
    cluster: clusterId,
    node: address.id,
    ...caller,
  });
  return new RpcClient(world, address.address, {
    ...options,
    hello: () => ({ type: MessageType.hello, body: hello }),
    onHello: (answer) => {
      const { cluster, node } = helloAnswer.decode(answer);
      if (cluster === clusterId && node === address.id) return;
      throw new SextantError(
        'WRONG_CLUSTER',
        `${address.address} is node ${node} of cluster ${cluster}`,
      );
    },
  });
}
