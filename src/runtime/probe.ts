import type { Net, SocketAddress } from "./net.ts";

/** Whether an address can be listened on at the moment: listens and stops at once. Rejects as `Net.listen` does. */
export async function probeListen(net: Net, address: SocketAddress): Promise<void> {
  const probe = await net.listen({ address, tls: undefined, reusePort: false, deferTls: false }, (socket) => {
    socket.destroy();
    return socket.handler;
  });
  await probe.close();
}
