import type { Bytes } from "../core/bytes.ts";
import type { Socket } from "./net.ts";

/**
 * How every adapter calls a socket's handler: what a call throws is a bug of the handler's, and goes to its `onThrown`. A handler without one
 * has nobody to blame: then the error goes on, and ends the process.
 */

function thrown(socket: Socket, error: unknown): void {
  const { handler } = socket;
  if (handler.onThrown === undefined) throw error;
  handler.onThrown(socket, error);
}

export function tellOpen(socket: Socket): void {
  try {
    socket.handler.onOpen(socket);
  } catch (error) {
    thrown(socket, error);
  }
}

export function tellData(socket: Socket, bytes: Bytes): void {
  try {
    socket.handler.onData(socket, bytes);
  } catch (error) {
    thrown(socket, error);
  }
}

export function tellEnd(socket: Socket): void {
  try {
    socket.handler.onEnd(socket);
  } catch (error) {
    thrown(socket, error);
  }
}

export function tellDrain(socket: Socket): void {
  try {
    socket.handler.onDrain(socket);
  } catch (error) {
    thrown(socket, error);
  }
}

export function tellClose(socket: Socket, error: Error | undefined): void {
  try {
    socket.handler.onClose(socket, error);
  } catch (bug) {
    thrown(socket, bug);
  }
}
