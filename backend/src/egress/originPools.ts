/** The sockets of one egress client: a pool for each origin, the least recently used of which gives way. */
import { LRUCache } from 'lru-cache';
import { Pool, type buildConnector } from 'undici';

export interface OriginPools {
  for(origin: string): Pool;
  /** Cuts whatever is open. */
  destroy(): Promise<void>;
}

export interface OriginPoolsOptions {
  readonly connect: buildConnector.connector;
  /** Per origin. */
  readonly connections: number;
  /** How long an idle connection is kept, unless the other side says less. */
  readonly keepAliveMs: number;
  /** How long an answer may pause between two pieces, where the request says nothing else; 0: for ever. */
  readonly idleTimeoutMs: number;
}

const originsMax = 256;
export const headerBytesMax = 16_384;

export function createOriginPools(options: OriginPoolsOptions): OriginPools {
  const { connect, connections, keepAliveMs, idleTimeoutMs } = options;
  const pools = new LRUCache<string, Pool>({
    max: originsMax,
    // Requests under way end in peace; only then do the sockets go.
    dispose: (pool) => void pool.close().catch(() => undefined),
    noDisposeOnSet: true,
  });
  return {
    for(origin) {
      const known = pools.get(origin);
      if (known !== undefined) return known;
      const pool = new Pool(origin, {
        connect,
        connections,
        pipelining: 1,
        keepAliveTimeout: keepAliveMs,
        keepAliveMaxTimeout: Math.max(keepAliveMs, 60_000),
        bodyTimeout: idleTimeoutMs,
        maxHeaderSize: headerBytesMax,
      });
      pools.set(origin, pool);
      return pool;
    },
    async destroy() {
      const open = [...pools.values()];
      pools.clear();
      await Promise.all(open.map((pool) => pool.destroy().catch(() => undefined)));
    },
  };
}
