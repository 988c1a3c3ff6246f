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
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    const headers = ['mcp-protocol-version', protocolVersion];
    const call = new RawCall(
      parts,
      owner,
      { lane: 'call', method: 'DELETE', body: null, sessionId, headers },
      { onHead() {}, onData() {}, onEnd: done, onError: done },
    );
    const timer = setTimeout(() => {
      call.abort();
      resolve();
    }, endingMsMax).unref();
  });
}

const endingMsMax = 2_000;
