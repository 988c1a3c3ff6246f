/**
 * One of each listener that a fleet has, in this process: the main API, a universal server, the health monitor, and a
 * front before the first two; and clients that write bytes to a socket themselves.
 */
import { randomBytes } from 'node:crypto';
import { connect, type AddressInfo, type Socket } from 'node:net';
import type { Server } from 'node:http';
import { once } from 'node:events';
import { createForwarder } from '../../backend/src/front/forward.js';
import { createFrontHandler } from '../../backend/src/front/frontServer.js';
import { createMonitorHandler } from '../../backend/src/health-monitor/monitorServer.js';
import { clientAddressSigner } from '../../backend/src/lifecycle/clientAddress.js';
import { hostGuard } from '../../backend/src/lifecycle/hostGuard.js';
import { createHttpServer, listen } from '../../backend/src/lifecycle/httpServer.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { createFrontMetrics, createMonitorMetrics } from '../../backend/src/telemetry/metrics.js';
import { metricsAccess } from '../../backend/src/telemetry/metricsAccess.js';
import { anApiService, aTool } from './anApiService.js';
import { openMainApi, type OpenedMainApi } from './mainApi.js';
import { openUniversalServer, type UniversalServer } from './universalServer.js';

export interface Listener {
  readonly name: 'main API' | 'front' | 'universal server' | 'health monitor';
  readonly port: number;
  /** A path that answers 200 to anybody. */
  readonly open: string;
  /** A path that takes a POST with a JSON body, from whoever has the URL or nobody at all. */
  readonly post: string | null;
}

export interface Listeners extends AsyncDisposable {
  readonly all: readonly Listener[];
  readonly api: OpenedMainApi;
  readonly service: UniversalServer;
  /** The path of an instance that is there, on the front and on the universal server. */
  readonly instancePath: string;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

export async function openListeners(): Promise<Listeners> {
  const api = await openMainApi();
  const service = await openUniversalServer({
    definition: anApiService({
      baseUrl: 'http://127.0.0.1:9999',
      tools: [aTool('list_notes', { method: 'GET', path: '/notes' })],
    }),
    site: api.connected.site,
  });
  const { url, instanceId } = await service.aUrl({ fields: { token: 'a-secret' } });
  const instancePath = new URL(url).pathname;
  const guard = hostGuard({ allowedHosts: ['127.0.0.1', 'localhost'], allowedOrigins: ['http://localhost'] });
  const log = createLogger({ level: 'silent', program: 'test' });
  const access = metricsAccess({ tokenFile: api.config.paths.metricsToken, isOpen: false });
  const name = instancePath.split('/')[2] ?? '';
  const routed = { name, port: service.port, enabled: true };
  const forwarder = createForwarder({ connectMsMax: 500 });
  const sign = clientAddressSigner(randomBytes(32));
  const front = createHttpServer(
    createFrontHandler({
      guard,
      services: {
        find: (asked) => (asked === name ? routed : null),
        findByPrefix: (prefix) => (prefix === instanceId.split('_')[0] ? routed : null),
      },
      forwarder,
      stateAddress: (request) => sign(request.socket.remoteAddress ?? '', Date.now()),
      metrics: createFrontMetrics(),
      metricsAccess: access,
      log,
      isDraining: () => false,
      markStream: () => {},
      innerHosts: { api: '127.0.0.1', service: '127.0.0.1' },
      apiPort: Number(new URL(api.url).port),
      servicePortOffset: 0,
    }),
  );
  const monitor = createHttpServer(
    createMonitorHandler({
      guard,
      metrics: createMonitorMetrics(),
      metricsAccess: access,
      isDraining: () => false,
      isCurrent: () => true,
    }),
  );
  const own = [front, monitor];
  for (const server of own) await listen(server, { host: '127.0.0.1', port: 0 });

  return {
    all: [
      { name: 'main API', port: Number(new URL(api.url).port), open: '/livez', post: '/api/v1/auth/login' },
      { name: 'front', port: portOf(front), open: '/livez', post: instancePath },
      { name: 'universal server', port: service.port, open: '/livez', post: instancePath },
      { name: 'health monitor', port: portOf(monitor), open: '/livez', post: null },
    ],
    api,
    service,
    instancePath,
    async [Symbol.asyncDispose]() {
      for (const server of own) {
        server.closeAllConnections();
        server.close();
        await once(server, 'close');
      }
      await forwarder[Symbol.asyncDispose]();
      await service[Symbol.asyncDispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}

/** What came back until the other side closed, or until the first answer was whole. */
export interface RawAnswer {
  /** 0 when nothing came. */
  readonly status: number;
  readonly text: string;
  /** How many answers came: two to what looked like one request is smuggling. */
  readonly answers: number;
  readonly isClosed: boolean;
}

/** Sends these bytes on a connection of their own, and waits until it is closed or has been quiet for a moment. */
export function exchange(port: number, bytes: string | Buffer, quietMs = 150): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1');
    const chunks: Buffer[] = [];
    let timer: NodeJS.Timeout | null = null;
    const finish = (isClosed: boolean): void => {
      if (timer !== null) clearTimeout(timer);
      socket.destroy();
      const text = Buffer.concat(chunks).toString('latin1');
      resolve({
        status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0),
        text,
        answers: text.match(/HTTP\/1\.1 \d{3} /g)?.length ?? 0,
        isClosed,
      });
    };
    const wait = (): void => {
      if (timer !== null) clearTimeout(timer);
      // Before the first byte a loaded machine gets its time.
      timer = setTimeout(() => finish(false), chunks.length === 0 ? 3_000 : quietMs);
    };
    socket.on('connect', () => {
      socket.write(bytes);
      wait();
    });
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      wait();
    });
    socket.on('error', () => {});
    socket.on('close', () => finish(true));
  });
}
