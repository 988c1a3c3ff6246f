/**
 * The HTTP+SSE transport of revision 2024-11-05: a GET opens the one stream on which everything comes back, POSTs to the
 * address that it names carry what the client says. Behind it stands a session like any other of the legacy era; it ends
 * with the stream, since its client has no way to come back to it.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { BridgeContext, RequestOrigin } from '../bridge/bridgeContext.js';
import { toFailureReply } from '../bridge/failureReply.js';
import type { LegacyBridge, LegacyRequest } from '../bridge/legacyBridge.js';
import type { Reply, ReplyStream } from '../bridge/reply.js';
import { isJsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';
import { classifyMessage } from './classifyMessage.js';
import { openEventStream, sendJson, writeFrame } from './httpReply.js';
import { readJsonBody } from './readJsonBody.js';
import type { StreamPlaces } from './streamPlaces.js';

export interface SseTransportOptions {
  readonly ctx: Pick<BridgeContext, 'definition' | 'log'>;
  readonly legacy: LegacyBridge;
  /** The path before the instance id in the address that clients use. */
  readonly publicPath: string;
  readonly onStream: (response: ServerResponse) => void;
  readonly places: StreamPlaces;
}

interface SseConnection {
  readonly instanceId: string;
  /** What the stream was opened with: its messages come with the same, so that it ends with what they may do. */
  readonly via: string | null;
  readonly stream: ReplyStream;
  /** The session's id once `initialize` was answered. */
  sessionId: string | undefined;
}

export interface SseRequest {
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
  /** `/<instance id>/<service>` as it came. */
  readonly path: string;
  readonly query: string;
}

export type AnswerSse = (
  from: SseRequest,
  request: IncomingMessage,
  response: ServerResponse,
) => Promise<void>;

/** @returns answers for `…/sse` and for `…/message`. */
export function createSseTransport(options: SseTransportOptions): {
  readonly sse: AnswerSse;
  readonly message: AnswerSse;
} {
  const { ctx, legacy, publicPath, onStream, places } = options;
  /** By a name that cannot be guessed, though the instance has to fit as well. */
  const connections = new Map<string, SseConnection>();

  const open = (from: SseRequest, request: IncomingMessage, response: ServerResponse): void => {
    if (request.method !== 'GET') {
      response.setHeader('allow', 'GET');
      throw new AppError('METHOD_NOT_ALLOWED', 'the stream of the old transport is opened by GET', {
        publicDetail: 'Open this address with GET, or use the instance URL itself for Streamable HTTP.',
      });
    }
    places.take(from.instance, response);
    const name = randomBytes(18).toString('base64url');
    const stream = openEventStream({ response, onStream });
    const connection: SseConnection = {
      instanceId: from.instance.id,
      via: from.origin.via,
      stream,
      sessionId: undefined,
    };
    connections.set(name, connection);
    stream.signal.addEventListener(
      'abort',
      () => {
        connections.delete(name);
        endSession(from, connection);
      },
      { once: true },
    );
    writeFrame(response, `event: endpoint\ndata: ${publicPath}${from.path}/message?sessionId=${name}\n\n`);
  };

  const endSession = ({ instance, origin }: SseRequest, { sessionId }: SseConnection): void => {
    if (sessionId === undefined) return;
    try {
      legacy.endSession({ instance, origin, sessionId });
    } catch (error) {
      ctx.log.debug('a session was over already', { instance: instance.id, error });
    }
  };

  const take = async (
    from: SseRequest,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> => {
    if (request.method !== 'POST') {
      response.setHeader('allow', 'POST');
      throw new AppError('METHOD_NOT_ALLOWED', 'messages of the old transport are posted');
    }
    const connection = connections.get(new URLSearchParams(from.query).get('sessionId') ?? '');
    if (connection?.instanceId !== from.instance.id || connection.via !== from.origin.via) {
      throw new AppError('SESSION_NOT_FOUND', 'the stream of this message is not open');
    }
    const body = await readJsonBody(request, ctx.definition.limits.maxRequestBytes);
    const classified = classifyMessage(body, {
      protocolVersion: undefined,
      method: undefined,
      name: undefined,
    });
    const legacyFrom: LegacyRequest = {
      instance: from.instance,
      origin: from.origin,
      sessionId: connection.sessionId,
    };
    switch (classified.kind) {
      case 'modernRequest':
      case 'modernNotification':
        throw new AppError('INVALID_REQUEST', 'a modern message on the old transport', {
          publicDetail: 'This transport serves revisions up to 2025-11-25 only.',
        });
      case 'legacyNotification':
        legacy.notification(legacyFrom, classified.message);
        break;
      case 'legacyResponse':
        legacy.response(legacyFrom, classified.message);
        break;
      case 'legacyRequest':
        // The answer comes on the stream; the POST is done with when the message was taken.
        void answer(legacyFrom, classified.message, connection);
    }
    response.writeHead(202, { 'content-type': 'text/plain', 'content-length': '8' }).end('Accepted');
  };

  const answer = async (
    from: LegacyRequest,
    request: JsonRpcRequest,
    connection: SseConnection,
  ): Promise<void> => {
    const reply = createStreamReply(connection.stream, (sessionId) => {
      connection.sessionId = sessionId;
      // What the server says outside any request comes on the same stream.
      legacy.openStream({ ...from, sessionId }, () => connection.stream);
    });
    await legacy.request(from, request, reply);
  };

  const guarded =
    (
      handle: (from: SseRequest, request: IncomingMessage, response: ServerResponse) => void | Promise<void>,
    ): AnswerSse =>
    async (from, request, response) => {
      try {
        await handle(from, request, response);
      } catch (error) {
        const failure = toFailureReply(error, null, ctx.log);
        if (!request.complete) response.setHeader('connection', 'close');
        sendJson(response, failure.response, failure.form);
      }
    };
  return { sse: guarded(open), message: guarded(take) };
}

/** One request's answer on a stream that it shares with all others. */
function createStreamReply(stream: ReplyStream, onSession: (sessionId: string) => void): Reply {
  return {
    get isGone() {
      return stream.signal.aborted;
    },
    onGone(callback) {
      stream.signal.addEventListener('abort', callback, { once: true });
      return () => stream.signal.removeEventListener('abort', callback);
    },
    signal: stream.signal,
    send: (message) => stream.send(message),
    finish(response, form = {}) {
      if (form.sessionId !== undefined && 'result' in response && isJsonObject(response.result))
        onSession(form.sessionId);
      stream.send(response);
    },
    openStream: () => stream,
  };
}
