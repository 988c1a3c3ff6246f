/** Ports that nobody listens on, for programs that are told theirs and cannot take port 0. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the range from which the system picks ports for outgoing connections. */
const lowest = 12_000;
const highest = 31_000;

export async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

export async function aFreePort(): Promise<number> {
  for (;;) {
    const port = randomInt(lowest, highest);
    if (await isFree(port)) return port;
  }
}

/** A number that can be added to each of the ports, so that all of them are free. */
export async function aFreeOffset(ports: readonly number[]): Promise<number> {
  const span = Math.max(...ports);
  for (;;) {
    const offset = randomInt(lowest - span, highest - span);
    const free = await Promise.all(ports.map((port) => isFree(port + offset)));
    if (free.every(Boolean)) return offset;
  }
}
