/**
 * The headers that a passed request carries to the upstream: the protocol's own and nothing else (D07). Content type and
 * accepted forms are ours, for the request was read and its answer is going to be; the session's id is added further on.
 */
import { legacyRevisions, type Era } from '../../protocol/revisions.js';

/** Headers of a request as its client sent them: name, value, name, value … */
export type RawHeaders = readonly string[];

const posted = ['content-type', 'application/json', 'accept', 'application/json, text/event-stream'];
const postedBy = new Map<string | undefined, readonly string[]>([
  [undefined, posted],
  ...legacyRevisions.map((revision) => [revision, [...posted, 'mcp-protocol-version', revision]] as const),
]);

/** Of a message of the legacy era; `initialize` names its revision in its body only. */
export function toLegacyHeaders(revision: string | undefined): readonly string[] {
  return postedBy.get(revision) ?? posted;
}

/** Of the request that opens or resumes a stream of the legacy era. */
export function toStreamHeaders(
  revision: string | undefined,
  lastEventId: string | undefined,
): readonly string[] {
  const headers = ['accept', 'text/event-stream'];
  if (revision !== undefined) headers.push('mcp-protocol-version', revision);
  if (lastEventId !== undefined) headers.push('last-event-id', lastEventId);
  return headers;
}

const parameter = 'mcp-param-';

/** Of a message of the modern era, as they were checked against its body; `name` stands in for one that was renamed. */
export function toModernHeaders(headers: RawHeaders, name: string | null): readonly string[] {
  const passed = [...posted];
  for (let at = 0; at < headers.length; at += 2) {
    const header = headers[at]?.toLowerCase() ?? '';
    const value = headers[at + 1] ?? '';
    if (header === 'mcp-name') passed.push(header, name === null ? value : encodeHeaderText(name));
    else if (header === 'mcp-method' || header === 'mcp-protocol-version') passed.push(header, value);
    else if (header.startsWith(parameter)) passed.push(header, value);
  }
  return passed;
}

/** Of a message of either era; `name` stands in for one that was renamed. */
export function toMessageHeaders(
  era: Era,
  { headers, revision }: { readonly headers: RawHeaders; readonly revision: string | undefined },
  name: string | null,
): readonly string[] {
  return era === 'modern' ? toModernHeaders(headers, name) : toLegacyHeaders(revision);
}

/** Text that is no plain ASCII goes as base64 of its UTF-8 (MCP 2026-07-28, "Streamable HTTP"; SEP-2243). */
function encodeHeaderText(text: string): string {
  const isPlain = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !text.startsWith('=?base64?');
  return isPlain ? text : `=?base64?${Buffer.from(text).toString('base64')}?=`;
}
