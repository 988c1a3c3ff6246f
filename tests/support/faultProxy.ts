/**
 * A TCP proxy in front of PostgreSQL that misbehaves as it is told: late, deaf, cut off, half-open. It reads from each
 * connection's start-up message who is there, so that a fault can hit some programs and spare the others.
 *
 *   await using proxy = await startFaultProxy('/run/…/.s.PGSQL.5432');
 *   proxy.set({ kind: 'black-hole' }, ({ applicationName }) => applicationName.endsWith('-listen'));
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export type ProxyFault =
  /** Every piece of data is that much later, in both directions. */
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** Connections are taken, and nothing passes any more: neither data nor an end. */
  | { readonly kind: 'black-hole' }
  /** What the server says is lost; what the client says arrives. */
  | { readonly kind: 'half-open' }
  /** Connections are reset, those to come as well. */
  | { readonly kind: 'reset' }
  /** Told of each COMMIT before it is passed on, with the backend's pid and what cuts this connection off. */
  | { readonly kind: 'at-commit'; readonly strike: (commit: PassingCommit) => Promise<void> };

export interface PassingCommit {
  readonly backendPid: number;
  /** Passes the COMMIT on; without it, it never arrives. Resolves when the answer is here, which is held back. */
  pass(): Promise<void>;
  /** The client hears no more. */
  cut(): void;
}

export interface Caller {
  readonly user: string;
  readonly applicationName: string;
}

export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  /** Connections open now. */
  readonly open: number;
  /** From now on, for connections there are and those to come. */
  set(fault: ProxyFault, hits?: (caller: Caller) => boolean): void;
  /** What was held back by a black hole is lost with its connections, which are reset. */
  heal(): void;
}

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  caller: Caller;
  backendPid: number;
  /** Told of the server's next data instead of the client. */
  onAnswer: ((answer: Buffer) => void) | null;
  isLost: boolean;
  end(): void;
}

const everybody = (): boolean => true;

/** @param target the path of PostgreSQL's Unix socket. */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const links = new Set<Link>();
  let fault: ProxyFault | null = null;
  let hits: (caller: Caller) => boolean = everybody;
  const faultOf = (link: Link): ProxyFault | null => (fault !== null && hits(link.caller) ? fault : null);

  const pass = (link: Link, chunk: Buffer, to: Socket): void => {
    const now = faultOf(link);
    switch (now?.kind) {
      case undefined:
        return void to.write(chunk);
      case 'slow':
        setTimeout(() => to.writable && to.write(chunk), now.delayMs);
        return;
      case 'half-open':
        if (to === link.server) return void to.write(chunk);
        link.isLost = true;
        return;
      case 'black-hole':
        link.isLost = true;
        return;
      case 'at-commit':
        if (to === link.server && chunk.includes('commit\0')) return void strikeAt(link, chunk, now.strike);
        return void to.write(chunk);
      case 'reset':
        link.end();
    }
  };
  const strikeAt = async (
    link: Link,
    commit: Buffer,
    strike: (commit: PassingCommit) => Promise<void>,
  ): Promise<void> => {
    let answer: Buffer | null = null;
    await strike({
      backendPid: link.backendPid,
      pass: () =>
        new Promise((resolve) => {
          link.onAnswer = (bytes) => {
            answer = bytes;
            resolve();
          };
          link.server.once('close', resolve);
          link.server.write(commit);
        }),
      cut: () => link.end(),
    });
    link.onAnswer = null;
    if (answer !== null && link.client.writable) link.client.write(answer);
  };

  const server = createServer((client) => {
    const upstream = connect(target);
    const link: Link = {
      client,
      server: upstream,
      caller: { user: '', applicationName: '' },
      backendPid: 0,
      onAnswer: null,
      isLost: false,
      end() {
        links.delete(link);
        client.resetAndDestroy();
        upstream.destroy();
      },
    };
    links.add(link);
    let isIntroduced = false;
    client.on('data', (chunk) => {
      if (!isIntroduced) link.caller = readCaller(chunk);
      isIntroduced = true;
      pass(link, chunk, upstream);
    });
    upstream.on('data', (chunk) => {
      if (link.backendPid === 0) link.backendPid = readBackendPid(chunk);
      if (link.onAnswer !== null) link.onAnswer(chunk);
      else pass(link, chunk, client);
    });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('error', () => {});
      from.on('close', () => {
        // A black hole swallows the end of a connection as well.
        const { kind } = faultOf(link) ?? {};
        if (kind === 'black-hole' || (kind === 'half-open' && from === upstream)) {
          link.isLost = true;
          if (from === client) links.delete(link);
          return;
        }
        if (kind === 'slow')
          setTimeout(() => to.destroy(), (fault as { delayMs?: number } | null)?.delayMs ?? 0);
        else to.destroy();
        links.delete(link);
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    get open() {
      return links.size;
    },
    set(now, of = everybody) {
      fault = now;
      hits = of;
      if (now.kind === 'reset') for (const link of links) if (of(link.caller)) link.end();
    },
    heal() {
      fault = null;
      for (const link of links) if (link.isLost) link.end();
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const link of links) link.end();
      await once(server, 'close');
    },
  };
}

/** PostgreSQL, "Message Formats", StartupMessage: length, version, then pairs of null-terminated texts. */
function readCaller(startup: Buffer): Caller {
  const [...texts] = startup.subarray(8).toString('utf8').split('\0');
  const valueOf = (name: string): string => texts[texts.indexOf(name) + 1] ?? '';
  return {
    user: texts.includes('user') ? valueOf('user') : '',
    applicationName: texts.includes('application_name') ? valueOf('application_name') : '',
  };
}

/** BackendKeyData: `K`, length 12, the pid, a secret. It comes with the end of signing in. */
function readBackendPid(chunk: Buffer): number {
  const at = chunk.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]));
  return at < 0 || at + 9 > chunk.length ? 0 : chunk.readInt32BE(at + 5);
}
