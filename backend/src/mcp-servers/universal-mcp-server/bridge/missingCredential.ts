/**
 * What a client is answered while the instance has no credential, or one that the service no longer takes: the lists that
 * are known, and results that tell the model, and so the user, what to do (row I07, 12.15). Nothing reaches an upstream.
 */
import type { ServiceDefinition } from '../../../catalog/serviceDefinition.js';
import { AppError } from '../../../errors/appError.js';
import { toRenewal, type SetupInstructions } from '../../../services/setupInstructions.js';
import { isJsonObject, type JsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';
import { legacyRevisions } from '../protocol/revisions.js';
import type { ServerTerms } from '../upstream/upstream.js';
import type { LastLists } from './lastLists.js';
import { recallTools } from './shownLists.js';
import type { ToolPins } from './toolPins.js';
import type { ToolGate } from './toolPolicy.js';

export interface SetupAnswers {
  readonly definition: Pick<ServiceDefinition, 'name' | 'title' | 'credentials'>;
  readonly setup: SetupInstructions;
  readonly lists: Pick<LastLists, 'find'>;
  readonly gate: ToolGate;
  readonly pins: ToolPins | null;
}

export function isCredentialFailure(error: unknown): error is AppError {
  return (
    error instanceof AppError && (error.code === 'CREDENTIAL_MISSING' || error.code === 'EXPIRED_CREDENTIALS')
  );
}

/** What the server said of itself when it was last reached; else as little as is sure. */
export async function findServerTerms(
  { definition, setup, lists }: SetupAnswers,
  instanceId: string,
): Promise<ServerTerms> {
  const known = await lists.find(instanceId, 'initialize');
  const { protocolVersion, capabilities, serverInfo } = known ?? {};
  return {
    protocolVersion: typeof protocolVersion === 'string' ? protocolVersion : legacyRevisions[0],
    capabilities: isJsonObject(capabilities) ? capabilities : { tools: { listChanged: true } },
    serverInfo: isJsonObject(serverInfo)
      ? serverInfo
      : { name: definition.name, title: definition.title, version: '1.0.0' },
    instructions: setup.instructions,
  };
}

/**
 * The result of a request for which the credential is missing.
 * @throws the given error where neither a list nor a tool result can be given.
 */
export async function answerWithoutCredential(
  answers: SetupAnswers,
  instanceId: string,
  request: JsonRpcRequest,
  error: AppError,
): Promise<JsonObject> {
  const { lists, gate } = answers;
  switch (request.method) {
    case 'tools/list': {
      const known = await recallTools(answers, instanceId);
      return known === null ? { tools: [toConnectTool(answers)] } : gate.showList(known);
    }
    case 'prompts/list':
      return (await lists.find(instanceId, 'prompts')) ?? { prompts: [] };
    case 'resources/list':
      return (await lists.find(instanceId, 'resources')) ?? { resources: [] };
    case 'resources/templates/list':
      return (await lists.find(instanceId, 'resource_templates')) ?? { resourceTemplates: [] };
    case 'tools/call':
      return toSetupResult(answers, error);
    default:
      throw error;
  }
}

/** A tool result that the model can read: what is missing, where to enter it, where help is. */
function toSetupResult({ setup, definition }: SetupAnswers, error: AppError): JsonObject {
  const first =
    error.code === 'EXPIRED_CREDENTIALS'
      ? `${definition.title} no longer accepts the stored credential. ${toRenewal(definition, setup)}.`
      : setup.instructions;
  const help = setup.helpUrl === null ? '' : `\nHelp: ${setup.helpUrl}`;
  return {
    content: [{ type: 'text', text: `${first}${help}` }],
    isError: true,
    _meta: { 'portolan/setup': { ...setup, code: error.code } },
  };
}

function toConnectTool({ definition, setup }: SetupAnswers): JsonObject {
  return {
    name: `connect_${definition.name.replaceAll('-', '_')}`,
    title: `Connect ${definition.title}`,
    description: `Says how to connect ${definition.title}. ${setup.instructions}`,
    inputSchema: { type: 'object', properties: {}, additionalProperties: false },
    annotations: { readOnlyHint: true, openWorldHint: false },
  };
}
