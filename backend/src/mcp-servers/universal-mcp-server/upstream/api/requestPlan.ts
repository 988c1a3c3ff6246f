/**
 * How the request of one tool is made: everything that does not depend on the call is settled when the service is
 * loaded. A request starts from an empty header set; nothing of the client's request travels (D07).
 */
import type {
  ApiDefinition,
  ApiTool,
  TemplatedMap,
  TemplatedValue,
} from '../../../../catalog/serviceDefinition.js';
import { isDeniedHeaderName } from '../../../../catalog/headerNames.js';
import { isHeaderSafe, renderTemplate, renderValue, type Template } from '../../../../catalog/template.js';
import { acceptedCodings } from '../../../../egress/decodeBody.js';
import type { Destination } from '../../../../egress/destination.js';
import { AppError } from '../../../../errors/appError.js';
import type { CredentialValues } from '../../../../services/credentialValues.js';
import type { JsonObject } from '../../protocol/jsonRpc.js';
import { encodeBody, renderBody } from '../bodyTemplate.js';
import { compilePath, compileQuery, encodeText } from './requestTarget.js';

export interface OutgoingRequest {
  readonly destination: Destination;
  readonly target: string;
  readonly headers: readonly string[];
  readonly body: string | null;
}

/**
 * @throws AppError INVALID_PARAMS for an argument that fits no path, CREDENTIAL_MISSING, INVALID_REQUEST for a credential
 * value that its place cannot hold, EGRESS_DENIED for a base URL made of values that may not be called.
 */
export type BuildRequest = (given: JsonObject, values: CredentialValues) => OutgoingRequest;

/**
 * @param parse checks a base URL, as `EgressClient.parse` does.
 * @throws AppError CONFIG_INVALID, EGRESS_DENIED when the definition cannot work.
 */
export function compileRequest(
  api: Pick<ApiDefinition, 'baseUrl' | 'headers' | 'query'>,
  { request, response }: Pick<ApiTool, 'request' | 'response'>,
  options: { readonly userAgent: string; readonly parse: (url: string) => Destination },
): BuildRequest {
  const toBase = compileBase(api.baseUrl, options.parse);
  const toPath = compilePath(request.path);
  const toQuery = compileQuery(request.query);
  const toFixedQuery = compileFixedQuery(api.query);
  const taken = new Set(
    [request.path, ...Object.values(request.query)].flatMap(({ parts }) =>
      parts.flatMap((part) => ('placeholder' in part ? [part.placeholder] : [])),
    ),
  );
  const hasBody = request.body !== undefined || request.bodyFrom !== null;
  const toHeaders = compileHeaders({
    'user-agent': options.userAgent,
    accept: response.format === 'json' ? 'application/json' : response.format === 'image' ? 'image/*' : '*/*',
    'accept-encoding': acceptedCodings,
    ...(hasBody ? { 'content-type': request.contentType } : {}),
    ...lowerCased(api.headers),
    ...lowerCased(request.headers),
  });
  const toBody = (given: JsonObject, values: CredentialValues): string | null => {
    if (!hasBody) return null;
    if (request.body === undefined) {
      const rest = Object.entries(given).filter(([name]) => request.bodyFrom === 'args' || !taken.has(name));
      return encodeBody(Object.fromEntries(rest), request.contentType);
    }
    const body = renderBody(request.body, values, given);
    return body === undefined ? null : encodeBody(body, request.contentType);
  };

  return (given, values) => {
    const base = toBase(values);
    const path = base.prefix + toPath(given);
    const query = [base.query, toFixedQuery(values), toQuery(given)].filter((part) => part !== '').join('&');
    return {
      destination: base.destination,
      target: query === '' ? path : `${path}?${query}`,
      headers: toHeaders(values),
      body: toBody(given, values),
    };
  };
}

interface Base {
  readonly destination: Destination;
  /** The path that every request begins with, without a slash at its end. */
  readonly prefix: string;
  readonly query: string;
}

function compileBase(
  baseUrl: TemplatedValue,
  parse: (url: string) => Destination,
): (values: CredentialValues) => Base {
  const toBase = (text: string): Base => {
    const destination = parse(text);
    return {
      destination,
      prefix: destination.pathname.replace(/\/+$/, ''),
      query: destination.search.slice(1),
    };
  };
  if (typeof baseUrl !== 'string') {
    return (values) => toBase(renderTemplate(baseUrl, values, 'url') ?? '');
  }
  const base = toBase(baseUrl);
  return () => base;
}

function compileFixedQuery(query: TemplatedMap): (values: CredentialValues) => string {
  const parameters = Object.entries(query);
  if (parameters.length === 0) return () => '';
  return (values) =>
    parameters
      .flatMap(([name, value]) => {
        const text = renderValue(value, values, 'query');
        return text === null ? [] : [`${encodeText(name)}=${encodeText(text)}`];
      })
      .join('&');
}

/** Literals are laid out once; only templates are rendered for each call. */
function compileHeaders(map: TemplatedMap): (values: CredentialValues) => readonly string[] {
  const fixed: string[] = [];
  const rendered: (readonly [string, Template])[] = [];
  for (const [name, value] of Object.entries(map)) {
    if (isDeniedHeaderName(name) || (typeof value === 'string' && !isHeaderSafe(value))) {
      throw new AppError('CONFIG_INVALID', `the header ${name} may not be set, or not to this value`);
    }
    if (typeof value === 'string') fixed.push(name, value);
    else rendered.push([name, value]);
  }
  return (values) => {
    const headers = [...fixed];
    for (const [name, template] of rendered) {
      const text = renderTemplate(template, values, 'header');
      if (text !== null) headers.push(name, text);
    }
    return headers;
  };
}

function lowerCased(map: TemplatedMap): TemplatedMap {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name.toLowerCase(), value]));
}
