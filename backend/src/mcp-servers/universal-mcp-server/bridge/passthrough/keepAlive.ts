/**
 * Comments on streams that are quiet, so that nobody in between takes them for dead; one timer for all of them. A comment
 * stands between two frames and means nothing to a client.
 */
import type { FrameRelay } from '../frames/frameRelay.js';

export interface KeepAlive extends Disposable {
  add(relay: FrameRelay): void;
  remove(relay: FrameRelay): void;
}

/** Proxies commonly close a connection that is quiet for 60 s, some after 30. */
const quietMs = 25_000;

export function createKeepAlive(): KeepAlive {
  const relays = new Set<FrameRelay>();
  let timer: NodeJS.Timeout | undefined;
  const tick = (): void => {
    for (const relay of relays) {
      if (!relay.isLively) relay.send(': keep-alive\n\n');
      relay.isLively = false;
    }
  };
  return {
    add(relay) {
      relays.add(relay);
      timer ??= setInterval(tick, quietMs).unref();
    },
    remove(relay) {
      relays.delete(relay);
      if (relays.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    },
    [Symbol.dispose]() {
      clearInterval(timer);
      relays.clear();
    },
  };
}
