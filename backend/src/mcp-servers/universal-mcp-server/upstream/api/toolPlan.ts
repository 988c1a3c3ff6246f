/** What a declared or imported tool comes to once and for all: how it is listed, checked, sent and read. */
import type { ApiDefinition, ApiTool } from '../../../../catalog/serviceDefinition.js';
import type { Destination } from '../../../../egress/destination.js';
import { isJsonObject, type JsonObject } from '../../protocol/jsonRpc.js';
import { compileAnswerReader, type AnswerReader } from './answerReading.js';
import { compileArguments, type CheckArguments } from './argumentValidator.js';
import { compilePageTurner, type PageTurner } from './pagination.js';
import { compileRequest, type BuildRequest } from './requestPlan.js';

export interface ToolPlan {
  readonly name: string;
  /** As `tools/list` shows it. */
  readonly listed: JsonObject;
  readonly isReadOnly: boolean;
  /** GET, or marked idempotent or read-only: it may be sent again. */
  readonly isRepeatable: boolean;
  readonly method: ApiTool['request']['method'];
  /** In the order of the schema's `required`. */
  readonly required: readonly string[];
  readonly properties: JsonObject;
  readonly timeoutMs: number;
  readonly cacheTtlMs: number;
  /** The costly parts, made at the first use. @throws AppError CONFIG_INVALID */
  works(): ToolWorks;
}

export interface ToolWorks {
  readonly check: CheckArguments;
  readonly build: BuildRequest;
  readonly reader: AnswerReader;
  /** Only for GET, where the definition has pages. */
  readonly pages: PageTurner | null;
}

export interface PlanContext {
  readonly api: ApiDefinition;
  readonly timeoutMs: number;
  readonly userAgent: string;
  readonly parse: (url: string) => Destination;
}

export function toToolPlan(tool: ApiTool, context: PlanContext): ToolPlan {
  const { api } = context;
  const { name, title, description, inputSchema, outputSchema, request } = tool;
  // GET is safe by definition (RFC 9110 §9.2.1), unless the file says that this service holds otherwise.
  const annotations =
    request.method === 'GET' ? { readOnlyHint: true, ...tool.annotations } : tool.annotations;
  const isReadOnly = annotations.readOnlyHint === true;
  let made: ToolWorks | null = null;
  /** A schema that cannot be compiled is not tried with every call: that may take long. */
  let failure: { readonly error: unknown } | null = null;
  const make = (): ToolWorks => {
    const reader = compileAnswerReader(api, tool);
    return {
      check: compileArguments(inputSchema),
      build: compileRequest(api, tool, context),
      reader,
      pages: request.method === 'GET' ? compilePageTurner(api.pagination, reader) : null,
    };
  };
  return {
    name,
    listed: Object.freeze({
      name,
      ...(title === null ? {} : { title }),
      description,
      inputSchema,
      ...(outputSchema === null ? {} : { outputSchema }),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    }),
    isReadOnly,
    isRepeatable: request.method === 'GET' || isReadOnly || annotations.idempotentHint === true,
    method: request.method,
    required: Array.isArray(inputSchema.required) ? inputSchema.required.map(String) : [],
    properties: isJsonObject(inputSchema.properties) ? inputSchema.properties : {},
    timeoutMs: tool.timeoutMs ?? context.timeoutMs,
    cacheTtlMs: tool.cacheTtlMs,
    works() {
      if (failure !== null) throw failure.error;
      try {
        return (made ??= make());
      } catch (error) {
        failure = { error };
        throw error;
      }
    },
  };
}
