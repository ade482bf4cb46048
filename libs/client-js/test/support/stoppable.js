/** @import { Server } from "node:http" */
/** @import { Socket } from "node:net" */

/**
 * Makes a server that can be ended with all its connections, upgraded ones too.
 *
 * @param {Server} server
 * @returns {{start: () => Promise<number>, stop: () => Promise<void>}} `start` answers the port.
 */
export function stoppable(server) {
  /** @type {Set<Socket>} */
  const sockets = new Set();
  let isStopping = false;
  server.on("connection", (socket) => {
    if (isStopping) socket.destroy();
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  return {
    start: () =>
      new Promise((resolve) => {
        server.listen(0, "127.0.0.1", () => {
          const address = server.address();
          resolve(typeof address === "object" && address !== null ? address.port : 0);
        });
      }),
    stop: () =>
      new Promise((resolve) => {
        isStopping = true;
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
