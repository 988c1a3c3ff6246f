import { toStatusOutcome } from '../credentialUses.js';
import { RawCall, type MessageOwner } from './rawCall.js';
import type { RemoteParts } from './remoteParts.js';

/**
 * Tells the server that a session is over, as well as that goes: nobody waits for the answer, and a server that has no
 * `DELETE` forgets the session by itself (MCP "Session Management"). Resolves when it is told or cannot be, in 2 s at most.
 */
export async function endSession(
  parts: RemoteParts,
  owner: MessageOwner,
  sessionId: string | null,
  protocolVersion: string,
): Promise<void> {
  if (sessionId === null) return;
  try {
    await parts.auditUse(
      owner.instance,
      'session/end',
      () => tell(parts, owner, sessionId, protocolVersion),
      (status) => (status === null ? { outcome: 'error' } : toStatusOutcome(status)),
    );
  } catch (error) {
    // Untold for want of an audit: the server forgets the session by itself.
    parts.log.debug('a remote server was not told that a session is over', { error });
  }
}

/** Resolves with the status of its answer; null when there is none in time. */
function tell(
  parts: RemoteParts,
  owner: MessageOwner,
  sessionId: string,
  protocolVersion: string,
): Promise<number | null> {
  return new Promise((resolve) => {
    let status: number | null = null;
    const done = (): void => {
      clearTimeout(timer);
      resolve(status);
    };
    const headers = ['mcp-protocol-version', protocolVersion];
    const call = new RawCall(
      parts,
      owner,
      { lane: 'call', method: 'DELETE', body: null, sessionId, headers },
      { onHead: (head) => (status = head.status), onData() {}, onEnd: done, onError: done },
    );
    const timer = setTimeout(() => {
      call.abort();
      resolve(status);
    }, endingMsMax).unref();
  });
}

const endingMsMax = 2_000;
