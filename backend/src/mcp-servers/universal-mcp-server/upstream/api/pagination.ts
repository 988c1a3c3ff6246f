/**
 * Follows the pages of a list as far as the definition allows, and says how to go on where it stops. Pages are asked for
 * with the same request, one parameter of it changed, so that a service cannot lead elsewhere.
 */
import type { ApiDefinition } from '../../../../catalog/serviceDefinition.js';
import type { EgressResponse } from '../../../../egress/egressCall.js';
import { followPointer, parseJsonPointer } from '../../../../catalog/jsonPointer.js';
import { encodeText } from './requestTarget.js';
import { parseDocument, type AnswerReader } from './answerReading.js';
import type { OutgoingRequest } from './requestPlan.js';
import type { ToolOutcome } from './toolOutcome.js';

export interface PageTurner {
  /** Reads the first answer and fetches the pages after it, while each brings a list. */
  collect(
    request: OutgoingRequest,
    first: EgressResponse,
    send: (request: OutgoingRequest) => Promise<EgressResponse>,
  ): Promise<ToolOutcome>;
}

/** @returns null when the definition has no pages to follow. */
export function compilePageTurner(
  pagination: ApiDefinition['pagination'],
  reader: AnswerReader,
): PageTurner | null {
  if (pagination.style === 'none' || pagination.maxPages < 2) return null;
  const findNext = compileFindNext(pagination);
  return {
    async collect(request, first, send) {
      const items: unknown[] = [];
      let bytes = 0;
      let response = first;
      let current = request;
      for (let page = 1; ; page += 1) {
        if (response.status < 200 || response.status >= 300) return reader.read(response);
        const document = parseDocument(response.body);
        const list = reader.pick(document);
        if (!Array.isArray(list))
          return page === 1 ? reader.read(response) : reader.fromValue(first.status, items, null);
        items.push(...(list as readonly unknown[]));
        bytes += response.body.length;
        const next = list.length === 0 ? null : findNext(current, response, document);
        if (next === null) return reader.fromValue(first.status, items, null);
        if (page >= pagination.maxPages || bytes > reader.maxBytes) {
          return reader.fromValue(first.status, items, 'There is more: ask for the pages after these.');
        }
        current = { ...request, target: next };
        response = await send(current);
      }
    },
  };
}

type FindNext = (request: OutgoingRequest, response: EgressResponse, document: unknown) => string | null;

function compileFindNext(pagination: ApiDefinition['pagination']): FindNext {
  const parameter = pagination.cursorParam ?? (pagination.style === 'page' ? 'page' : 'cursor');
  const cursorPointer = parseJsonPointer(pagination.cursorPath ?? '/next_cursor');
  switch (pagination.style) {
    case 'cursor':
      return (request, _response, document) => {
        const cursor = followPointer(document, cursorPointer);
        if ((typeof cursor !== 'string' || cursor === '') && typeof cursor !== 'number') return null;
        return withParameter(request.target, parameter, String(cursor));
      };
    case 'page':
      return (request) => {
        const current = Number(new URLSearchParams(request.target.split('?')[1] ?? '').get(parameter) ?? '1');
        return Number.isSafeInteger(current)
          ? withParameter(request.target, parameter, String(current + 1))
          : null;
      };
    case 'link-header':
      return (request, response) => findLinkedTarget(request, response.headers.link);
    case 'none':
      return () => null;
  }
}

/** RFC 8288. A link to another origin or another path is not followed. */
function findLinkedTarget(request: OutgoingRequest, header: string | string[] | undefined): string | null {
  const text = Array.isArray(header) ? header.join(',') : (header ?? '');
  for (const [, reference = '', parameters = ''] of text.matchAll(/<([^<>]*)>([^<]*)/g)) {
    if (!/;\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next\b)/i.test(parameters)) continue;
    const base = request.destination.origin + request.target;
    if (!URL.canParse(reference, base)) return null;
    const url = new URL(reference, base);
    const samePath = url.pathname === new URL(base).pathname;
    return url.origin === request.destination.origin && samePath ? url.pathname + url.search : null;
  }
  return null;
}

function withParameter(target: string, name: string, value: string): string {
  const [path = '', query = ''] = target.split('?', 2);
  const encoded = encodeText(name);
  const kept = query.split('&').filter((pair) => pair !== '' && pair.split('=')[0] !== encoded);
  return `${path}?${[...kept, `${encoded}=${encodeText(value)}`].join('&')}`;
}
