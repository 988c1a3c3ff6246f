/**
 * One connection that LISTENs. Whoever keeps something that a notification voids keeps it only while this is up: from
 * `onUp` until `onDown`, which comes within `pingIntervalMs + pingTimeoutMs` even when the connection dies without a
 * word (06 R26). It reconnects by itself, with a growing and jittered pause.
 */
import { Client } from 'pg';
import type { Secret } from '../config/secrets.js';

export type NotifyChannel =
  'portolan_instances' | 'portolan_users' | 'portolan_registry' | 'portolan_tool_pins' | 'portolan_events';

export interface ListenHandlers {
  /** All channels are listened to from now on; what was read before may be outdated. */
  readonly onUp: () => void;
  /** Drop everything and keep nothing until `onUp`. Not called before the first `onUp`. */
  readonly onDown: (cause: unknown) => void;
  readonly onNotify: (channel: NotifyChannel, payload: string) => void;
}

export interface ListenOptions {
  readonly connectionString: Secret;
  readonly applicationName: string;
  readonly channels: readonly NotifyChannel[];
  readonly pingIntervalMs?: number;
  readonly pingTimeoutMs?: number;
  readonly pauseMsMin?: number;
  readonly pauseMsMax?: number;
}

export interface Listener extends AsyncDisposable {
  readonly isUp: boolean;
  /** Grows with every `onUp`: a read that began under another number may not be kept. */
  readonly generation: number;
  close(): Promise<void>;
}

/** Begins at once; being refused is no error but a reason to try again. */
export function startListening(options: ListenOptions, handlers: ListenHandlers): Listener {
  const { pingIntervalMs = 750, pingTimeoutMs = 1_000, pauseMsMin = 50, pauseMsMax = 2_000 } = options;
  const closing = new AbortController();
  let generation = 0;
  let isUp = false;

  /** Resolves when the connection is over, with the reason. */
  async function serve(onListening: () => void): Promise<unknown> {
    const client = new Client({
      connectionString: options.connectionString.reveal(),
      application_name: options.applicationName,
      connectionTimeoutMillis: pingTimeoutMs * 2,
      query_timeout: pingTimeoutMs,
      keepAlive: true,
    });
    const ended = new AbortController();
    const broken = new Promise<unknown>((resolve) => {
      client.on('error', resolve);
      client.on('end', () => resolve(new Error('the connection ended')));
      closing.signal.addEventListener('abort', () => resolve(closing.signal.reason), {
        signal: ended.signal,
      });
    });
    client.on('notification', ({ channel, payload = '' }) => {
      const known = options.channels.find((one) => one === channel);
      if (isUp && known !== undefined) handlers.onNotify(known, payload);
    });
    let pings: NodeJS.Timeout | undefined;
    try {
      const listening = client
        .connect()
        .then(() => client.query(options.channels.map((channel) => `listen ${channel}`).join(';')));
      const cause = await Promise.race([listening.then(() => null), broken]);
      if (cause !== null) {
        listening.catch(() => {});
        return cause;
      }
      onListening();
      const silent = new Promise<unknown>((resolve) => {
        pings = setInterval(() => void client.query('select 1').catch(resolve), pingIntervalMs);
      });
      return await Promise.race([broken, silent]);
    } catch (thrown) {
      return thrown;
    } finally {
      clearInterval(pings);
      ended.abort();
      drop(client);
    }
  }

  const loop = (async () => {
    let pauseMs = pauseMsMin;
    while (!closing.signal.aborted) {
      const cause = await serve(() => {
        pauseMs = pauseMsMin;
        generation += 1;
        isUp = true;
        handlers.onUp();
      });
      if (isUp) {
        isUp = false;
        handlers.onDown(cause);
      }
      await pause(pauseMs * (0.5 + Math.random()), closing.signal);
      pauseMs = Math.min(pauseMs * 2, pauseMsMax);
    }
  })();

  const close = async (): Promise<void> => {
    closing.abort(new Error('listening was ended'));
    await loop;
  };
  return {
    get isUp() {
      return isUp;
    },
    get generation() {
      return generation;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Ends the connection without waiting for a server that may not answer. */
function drop(client: Client): void {
  const { connection } = client as unknown as { connection?: { stream?: { destroy(): void } } };
  client.on('error', () => {});
  connection?.stream?.destroy();
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
