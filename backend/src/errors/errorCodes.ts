/**
 * Every failure that a caller can be told about: one stable code each, with the HTTP status, the public title and the
 * JSON-RPC code it is rendered with. `docs/failure-modes.md` has an entry for each; a test holds the two together.
 *
 * HTTP statuses follow RFC 9110, JSON-RPC codes the JSON-RPC 2.0 specification and the MCP revisions that we serve.
 */
export interface ErrorForm {
  /** HTTP status of a problem body. */
  readonly status: number;
  /** What a stranger may read; it names no tenant, secret or internal. */
  readonly title: string;
  /** JSON-RPC error code when the same failure is reported to an MCP client. */
  readonly jsonRpc: number;
}

const form = (status: number, title: string, jsonRpc = -32603): ErrorForm => ({ status, title, jsonRpc });

export const errorCodes = {
  // What the caller sent.
  INVALID_REQUEST: form(400, 'The request is not valid', -32600),
  INVALID_JSON: form(400, 'The body is not valid JSON', -32700),
  INVALID_PARAMS: form(400, 'The parameters are not valid', -32602),
  INVALID_ENVELOPE: form(400, 'The metadata of the request is not valid', -32602),
  INSTANCE_ID_REQUIRED: form(400, 'An instance id is required', -32600),
  PAYLOAD_TOO_LARGE: form(413, 'The body is too large', -32600),
  UNSUPPORTED_MEDIA_TYPE: form(415, 'The content type is not supported', -32600),
  NOT_ACCEPTABLE: form(406, 'The client accepts no type that can be sent', -32600),
  METHOD_NOT_ALLOWED: form(405, 'The method is not allowed here', -32600),
  METHOD_NOT_FOUND: form(404, 'The method does not exist', -32601),
  HEADER_MISMATCH: form(400, 'Headers and body do not agree', -32020),
  MISSING_CLIENT_CAPABILITY: form(400, 'The client lacks a capability that is needed', -32021),
  UNSUPPORTED_PROTOCOL_VERSION: form(400, 'The protocol version is not supported', -32022),
  HOST_NOT_ALLOWED: form(421, 'This host name is not served here', -32600),
  ORIGIN_NOT_ALLOWED: form(403, 'This origin is not allowed', -32600),

  // Who the caller is.
  UNAUTHENTICATED: form(401, 'Sign in to continue'),
  BEARER_TOKEN_REQUIRED: form(401, 'This instance needs an access key as well as its URL', -32600),
  BEARER_TOKEN_INVALID: form(401, 'The access key or access token is not valid for this instance', -32600),
  ACCESS_DENIED: form(403, 'This is not allowed for your account'),
  REAUTHENTICATION_REQUIRED: form(403, 'Sign in again to continue'),
  INVALID_INSTANCE: form(401, 'The instance is not valid'),
  SESSION_NOT_FOUND: form(404, 'The session does not exist', -32001),
  SETUP_CLOSED: form(404, 'Set-up is already done'),
  SETUP_CODE_INVALID: form(403, 'The set-up code is not valid'),
  INVITE_INVALID: form(403, 'The invite is not valid'),
  RATE_LIMIT_EXCEEDED: form(429, 'Too many requests'),

  // What is asked for.
  NOT_FOUND: form(404, 'Not found'),
  SERVICE_UNKNOWN: form(404, 'There is no such service'),
  CONFLICT: form(409, 'It exists already'),
  VERSION_CONFLICT: form(409, 'It was changed by somebody else meanwhile'),
  TOOL_QUARANTINED: form(403, 'The tool waits for the approval of an administrator', -32602),

  // Credentials.
  CREDENTIAL_MISSING: form(401, 'A credential has to be set up first'),
  CREDENTIAL_REJECTED: form(400, 'The service did not accept the credential'),
  EXPIRED_CREDENTIALS: form(401, 'The service no longer accepts the stored credential'),
  SIGN_IN_INVALID: form(400, 'The sign-in is not known, was used, or took too long'),
  SIGN_IN_DENIED: form(400, 'The service did not grant the sign-in'),
  CREDENTIAL_UNREADABLE: form(503, 'The stored credential cannot be read'),

  // Upstreams.
  SERVICE_UNAVAILABLE: form(503, 'The service is not available'),
  SERVICE_SATURATED: form(503, 'The service has no room for another process'),
  UPSTREAM_UNREACHABLE: form(502, 'The service behind could not be reached'),
  UPSTREAM_FAILED: form(502, 'The service behind gave an unusable answer'),
  UPSTREAM_TIMEOUT: form(504, 'The service behind did not answer in time'),
  EGRESS_DENIED: form(502, 'The address of the service behind is not allowed'),

  // This installation.
  SEALED: form(503, 'The key ring is missing or does not fit; the vault is sealed'),
  DATABASE_UNAVAILABLE: form(503, 'The database is not available'),
  AUDIT_UNAVAILABLE: form(503, 'The audit cannot be written; nothing was done'),
  CONFIG_INVALID: form(500, 'The configuration is not valid'),
  INTERNAL: form(500, 'Something went wrong'),
} as const satisfies Record<string, ErrorForm>;

export type ErrorCode = keyof typeof errorCodes;
