/**
 * `mcp-ports/ports.lock.json`: the port and instance prefix of every service that there ever was, so that generating
 * again changes nothing. A prefix is in people's instance URLs: it never changes and is never given to another service.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { AppError } from '../errors/appError.js';
import { instancePrefixPattern, serviceNamePattern } from './configSchema/configSchema.js';
import type { FoundProblem } from './configProblem.js';
import { parseConfigText } from './configText.js';

export interface ServiceAllocation {
  readonly port: number;
  readonly instancePrefix: string;
}

export interface PortsLock {
  readonly services: Readonly<Record<string, ServiceAllocation>>;
}

export const portsLockFileName = 'ports.lock.json';

/** What a service's file asks for. */
export interface WantedAllocation {
  readonly name: string;
  readonly port: number | undefined;
  readonly instancePrefix: string | undefined;
}

export interface AllocationResult {
  readonly lock: PortsLock;
  /** By service: why it cannot have what it asks for. */
  readonly problems: ReadonlyMap<string, readonly FoundProblem[]>;
}

const firstPort = 4_100;
const lastPort = 4_999;

const lockSchema = z.strictObject({
  lockVersion: z.literal(1),
  services: z.record(
    z.string().regex(serviceNamePattern),
    z.strictObject({
      port: z.int().min(1_024).max(65_535),
      instancePrefix: z.string().regex(instancePrefixPattern),
    }),
  ),
});

/** @throws AppError CONFIG_INVALID when the file is there and is no lock; a missing one is an empty lock. */
export function readPortsLock(file: string): PortsLock {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return { services: {} };
    throw new AppError('CONFIG_INVALID', `cannot read ${file}`, { cause });
  }
  const text = parseConfigText(bytes);
  if ('problem' in text) throw new AppError('CONFIG_INVALID', `${file} ${text.problem.message}`);
  const parsed = lockSchema.safeParse(text.value);
  if (!parsed.success) {
    throw new AppError('CONFIG_INVALID', `${file} is not a ports lock; restore it from version control`, {
      cause: parsed.error,
    });
  }
  return { services: parsed.data.services };
}

export function formatPortsLock(lock: PortsLock): string {
  const names = Object.keys(lock.services).sort();
  const services = Object.fromEntries(
    names.map((name) => {
      const { port = 0, instancePrefix = '' } = lock.services[name] ?? {};
      return [name, { port, instancePrefix }];
    }),
  );
  return `${JSON.stringify({ lockVersion: 1, services }, null, 2)}\n`;
}

/**
 * Gives every service its port and prefix. What the lock says stands; a declared port may move a service, a declared
 * prefix must be the one of the lock. Of two that want the same, the holder keeps it, else the first by name.
 * @param neighbours services that are there as well and keep what the lock gives them.
 */
export function allocatePorts(
  lock: PortsLock,
  wanted: readonly WantedAllocation[],
  neighbours: readonly string[] = [],
): AllocationResult {
  const services = new Map(Object.entries(lock.services));
  const problems = new Map<string, FoundProblem[]>();
  const present = new Set([...wanted.map((one) => one.name), ...neighbours]);
  const refuse = (name: string, pointer: string, message: string): void => {
    problems.set(name, [...(problems.get(name) ?? []), { pointer, message }]);
  };
  const holderOf = (fits: (held: ServiceAllocation) => boolean, except: string): string | null =>
    [...services].find(([name, held]) => name !== except && fits(held))?.[0] ?? null;
  // Who keeps what it has comes first, then who declares something, then the rest, each by name.
  const rank = (one: WantedAllocation): number => {
    const held = services.get(one.name);
    if (held !== undefined) return one.port === undefined || one.port === held.port ? 0 : 1;
    return one.port === undefined && one.instancePrefix === undefined ? 3 : 2;
  };
  const ordered = wanted.toSorted((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
  for (const one of ordered) {
    const held = services.get(one.name);
    const instancePrefix = held?.instancePrefix ?? one.instancePrefix ?? derivePrefix(one.name, services);
    if (one.instancePrefix !== undefined && one.instancePrefix !== instancePrefix) {
      refuse(
        one.name,
        '/instancePrefix',
        `cannot change: instance URLs of this service begin with ${instancePrefix}_`,
      );
    }
    const prefixHolder = holderOf((other) => other.instancePrefix === instancePrefix, one.name);
    if (prefixHolder !== null) {
      refuse(one.name, '/instancePrefix', `belongs to ${prefixHolder}; choose another`);
      continue;
    }
    const wantedPort = one.port ?? held?.port ?? freePort(services);
    const portHolder = holderOf((other) => other.port === wantedPort, one.name);
    if (portHolder !== null && present.has(portHolder)) {
      refuse(one.name, '/port', `is the port of ${portHolder}; choose another or leave it out`);
      continue;
    }
    services.set(one.name, { port: wantedPort, instancePrefix });
    // A service that is gone keeps its prefix but has to give way with its port.
    const gone = portHolder === null ? undefined : services.get(portHolder);
    if (portHolder !== null && gone !== undefined)
      services.set(portHolder, { ...gone, port: freePort(services) });
  }
  return { lock: { services: Object.fromEntries(services) }, problems };
}

function freePort(services: ReadonlyMap<string, ServiceAllocation>): number {
  const taken = new Set([...services.values()].map((held) => held.port));
  for (let port = firstPort; port <= lastPort; port += 1) if (!taken.has(port)) return port;
  throw new AppError(
    'CONFIG_INVALID',
    `all ports from ${firstPort} to ${lastPort} are allocated; declare one`,
  );
}

/** The first letters of the name, as many as it takes to differ, then a number. */
function derivePrefix(name: string, services: ReadonlyMap<string, ServiceAllocation>): string {
  const taken = new Set([...services.values()].map((held) => held.instancePrefix));
  const letters = name.replaceAll('-', '');
  for (let length = 3; length <= Math.min(8, letters.length); length += 1) {
    if (!taken.has(letters.slice(0, length))) return letters.slice(0, length);
  }
  for (let number = 2; ; number += 1) {
    const prefix = `${letters.slice(0, 8 - String(number).length)}${number}`;
    if (!taken.has(prefix)) return prefix;
  }
}
