import type { AppError } from './appError.js';

/** The error member of a JSON-RPC 2.0 response (§5.1). */
export interface JsonRpcErrorObject {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

/** Renders an error for an MCP client. Its message and cause stay behind. */
export function toJsonRpcError(error: AppError): JsonRpcErrorObject {
  const { publicDetail, fields, extensions } = error.options;
  return {
    code: error.form.jsonRpc,
    message: publicDetail ?? error.form.title,
    data: { code: error.code, ...(fields === undefined ? {} : { errors: fields }), ...extensions },
  };
}
