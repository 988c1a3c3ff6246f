/**
 * Tells the process of a service that an instance was changed, and waits until it has dropped what it kept: whoever is
 * answered that a URL is revoked, rotated or paused finds it dead with the very next call (A04). It is NOTIFY's fast lane
 * and not its replacement: a process that cannot be told in time hears of the change by NOTIFY, or within 5 s by itself.
 */
import { Agent } from 'undici';
import type { ServiceDefinition } from '../catalog/serviceDefinition.js';
import type { Config } from '../config/config.js';
import { toInternalOrigin } from './internalOrigin.js';

export interface ChangeNotices extends AsyncDisposable {
  /** After the commit. Resolves when the process has acknowledged it, or after half a second; never throws. */
  tell(definition: Pick<ServiceDefinition, 'name' | 'port'>, instanceId: string): Promise<void>;
}

export interface ChangeNoticesOptions {
  readonly config: Pick<Config, 'hosts' | 'ports'>;
  /** Signs for one service and one instance, for seconds (`internalCalls.ts`). */
  readonly sign: (call: { readonly service: string; readonly instanceId: string }) => string;
}

const waitMsMax = 500;

export function createChangeNotices({ config, sign }: ChangeNoticesOptions): ChangeNotices {
  const agent = new Agent({ connections: 16, pipelining: 1, connect: { timeout: waitMsMax } });
  return {
    async tell(definition, instanceId) {
      try {
        const { body } = await agent.request({
          origin: toInternalOrigin(config, definition),
          path: `/internal/v1/instances/${instanceId}/changed`,
          method: 'POST',
          headers: { authorization: `Bearer ${sign({ service: definition.name, instanceId })}` },
          signal: AbortSignal.timeout(waitMsMax),
        });
        await body.dump();
      } catch {
        // The process is down, restarting or busy; it holds nothing, or hears of the change by NOTIFY.
      }
    },
    async [Symbol.asyncDispose]() {
      await agent.destroy();
    },
  };
}
