/** Finds ports that somebody else holds, before a program of ours fails on one. */
import { connect } from 'node:net';
import type { HealthTarget } from './health.js';

const answerMaxMs = 1_000;

/** Those of the targets whose port takes connections already. */
export async function findTakenPorts(targets: readonly HealthTarget[]): Promise<HealthTarget[]> {
  const taken = await Promise.all(targets.map(({ url }) => takesConnections(new URL(url))));
  return targets.filter((_target, at) => taken[at]);
}

function takesConnections({ hostname, port }: URL): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) });
    const answer = (isTaken: boolean): void => {
      socket.destroy();
      resolve(isTaken);
    };
    socket.setTimeout(answerMaxMs, () => answer(false));
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}

/** The variable that moves the port of a program. */
export function portVariableOf(name: string): string {
  const own: Readonly<Record<string, string>> = {
    'main-api': 'PORT',
    front: 'FRONT_PORT',
    'health-monitor': 'MONITOR_PORT',
  };
  return own[name] ?? 'SERVICE_PORT_OFFSET';
}
