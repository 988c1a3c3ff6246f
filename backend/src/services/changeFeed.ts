/**
 * Hears over PostgreSQL's NOTIFY what other programs changed, in the words of this project. While the connection is down
 * `isUp` is false, and whoever keeps something that a change would void keeps nothing.
 */
import type { Secret } from '../config/secrets.js';
import { startListening, type NotifyChannel } from '../database/listen.js';
import type { ChangeSource, InstanceChange } from './instanceResolver.js';

export interface ChangeFeed extends ChangeSource, AsyncDisposable {
  /** The registry or a service's settings changed. */
  onRegistryChange(listener: () => void): () => void;
  /** What is approved of a service's tools changed, or may have while nothing was heard (null: of any service). */
  onToolPinsChange(listener: (service: string | null) => void): () => void;
  /** Passes on a change that was told by another way, ahead of its NOTIFY. */
  tell(change: InstanceChange): void;
}

export interface ChangeFeedOptions {
  readonly connectionString: Secret;
  readonly applicationName: string;
  readonly onConnection?: (isUp: boolean, cause: unknown) => void;
}

export function startChangeFeed(options: ChangeFeedOptions): ChangeFeed {
  const changeListeners = new Set<(change: InstanceChange) => void>();
  const registryListeners = new Set<() => void>();
  const toolPinsListeners = new Set<(service: string | null) => void>();
  const tell = (change: InstanceChange): void => {
    for (const listener of changeListeners) listener(change);
  };
  const tellRegistry = (): void => {
    for (const listener of registryListeners) listener();
  };

  const tellToolPins = (service: string | null): void => {
    for (const listener of toolPinsListeners) listener(service);
  };

  const onNotify = (channel: NotifyChannel, payload: string): void => {
    switch (channel) {
      case 'portolan_instances':
        return tell({ kind: 'instance', instanceId: payload });
      case 'portolan_users':
        return tell({ kind: 'user', userId: payload });
      case 'portolan_registry':
        tell({ kind: 'service', service: payload === '' ? null : payload });
        return tellRegistry();
      case 'portolan_tool_pins':
        return tellToolPins(payload);
      case 'portolan_events':
    }
  };
  const listener = startListening(
    {
      connectionString: options.connectionString,
      applicationName: options.applicationName,
      channels: ['portolan_instances', 'portolan_users', 'portolan_registry', 'portolan_tool_pins'],
    },
    {
      onUp() {
        options.onConnection?.(true, null);
        tell({ kind: 'unknown' });
        tellRegistry();
        tellToolPins(null);
      },
      onDown(cause) {
        options.onConnection?.(false, cause);
        tell({ kind: 'unknown' });
        tellToolPins(null);
      },
      onNotify,
    },
  );

  return {
    get isUp() {
      return listener.isUp;
    },
    onChange(heard) {
      changeListeners.add(heard);
      return () => void changeListeners.delete(heard);
    },
    onRegistryChange(heard) {
      registryListeners.add(heard);
      return () => void registryListeners.delete(heard);
    },
    onToolPinsChange(heard) {
      toolPinsListeners.add(heard);
      return () => void toolPinsListeners.delete(heard);
    },
    tell,
    [Symbol.asyncDispose]: () => listener.close(),
  };
}
