/**
 * Asks the process of a service to check a credential against the real service (12.10). It goes over the loopback, carries
 * the instance's uuid and a signed statement of seconds, and no plaintext: the service process opens the record itself.
 */
import { Agent } from 'undici';
import { z } from 'zod';
import type { Config } from '../config/config.js';
import type { ServiceDefinition } from '../catalog/serviceDefinition.js';
import { toInternalOrigin } from './internalOrigin.js';

const text = z.string().max(2_000);
const answerSchema = z.discriminatedUnion('outcome', [
  z.object({
    outcome: z.literal('accepted'),
    identity: z
      .object({ id: text.optional(), label: text.optional(), avatarUrl: text.optional() })
      .optional(),
  }),
  z.object({ outcome: z.literal('rejected'), reason: text }),
  z.object({ outcome: z.literal('unverified') }),
  z.object({ outcome: z.literal('unreachable'), reason: text }),
]);

export type ProbeAnswer =
  | z.infer<typeof answerSchema>
  /** The service's own process could not be asked: it is down, restarting or sealed. `reason` is for the log. */
  | { readonly outcome: 'away'; readonly reason: string };

export interface ProbeRequest {
  /** The instance's uuid. */
  readonly instanceId: string;
  /** Check the credential that waits rather than the one in use. */
  readonly staged: boolean;
  readonly methodId: string;
}

/** A shared credential that is not stored yet, sealed for the row and revision that it will have. */
export interface SharedProbeRequest {
  /** The uuid of the service's settings. */
  readonly settingsId: string;
  readonly methodId: string;
  readonly revision: number;
  readonly sealed: Buffer;
  /** The admin for whom it is checked, as the audit of the use says. */
  readonly userId: string;
}

export interface ProbeClient extends AsyncDisposable {
  /** Never throws. */
  probe(definition: ServiceDefinition, request: ProbeRequest): Promise<ProbeAnswer>;
  /** Never throws. */
  probeShared(definition: ServiceDefinition, request: SharedProbeRequest): Promise<ProbeAnswer>;
}

export interface ProbeClientOptions {
  readonly config: Pick<Config, 'hosts' | 'ports'>;
  /** Signs for one service and one instance, for seconds (`internalCalls.ts`). */
  readonly sign: (call: { readonly service: string; readonly instanceId: string }) => string;
}

/** Beyond the time that the probe itself may take: for the process, the database and the way. */
const slackMs = 5_000;
const answerBytesMax = 64 * 1024;

export function createProbeClient({ config, sign }: ProbeClientOptions): ProbeClient {
  const agent = new Agent({ connections: 16, pipelining: 1, connect: { timeout: 2_000 } });

  const ask = async (definition: ServiceDefinition, question: Question): Promise<ProbeAnswer> => {
    const { name: service } = definition;
    const { subject, methodId, collection } = question;
    try {
      const { statusCode, body } = await agent.request({
        origin: toInternalOrigin(config, definition),
        path: `/internal/v1/${collection}/${subject}/probe`,
        method: 'POST',
        headers: {
          authorization: `Bearer ${sign({ service, instanceId: subject })}`,
          'content-type': 'application/json',
          accept: 'application/json',
        },
        body: JSON.stringify(question.body),
        signal: AbortSignal.timeout(timeLimitMs(definition, methodId) + slackMs),
      });
      const answer = await readCapped(body);
      if (statusCode !== 200) return { outcome: 'away', reason: `the process answered ${statusCode}` };
      const parsed = answerSchema.safeParse(JSON.parse(answer));
      return parsed.success
        ? parsed.data
        : { outcome: 'away', reason: 'the process answered something else' };
    } catch (error) {
      // undici's messages may quote what was sent; its codes do not.
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'no answer';
      return { outcome: 'away', reason: `the process could not be asked (${code})` };
    }
  };

  return {
    probe: (definition, { instanceId, staged, methodId }) =>
      ask(definition, { collection: 'instances', subject: instanceId, methodId, body: { staged } }),
    probeShared: (definition, { settingsId, methodId, revision, sealed, userId }) =>
      ask(definition, {
        collection: 'shared-credentials',
        subject: settingsId,
        methodId,
        body: { method: methodId, revision, sealed: sealed.toString('base64'), userId },
      }),
    async [Symbol.asyncDispose]() {
      await agent.destroy();
    },
  };
}

interface Question {
  readonly collection: 'instances' | 'shared-credentials';
  /** What the signed statement is about. */
  readonly subject: string;
  readonly methodId: string;
  readonly body: object;
}

/** How long the probe of that method may take inside the process, the start of a child included. */
function timeLimitMs(definition: ServiceDefinition, methodId: string): number {
  const probe = definition.credentials.methods.find(({ id }) => id === methodId)?.probe;
  const ofProbe = probe === undefined || probe.type === 'none' ? 8_000 : probe.timeoutMs;
  const ofStart = definition.stdio?.startupTimeoutMs ?? definition.docker?.startupTimeoutMs ?? 0;
  return ofProbe + ofStart;
}

async function readCapped(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > answerBytesMax) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
