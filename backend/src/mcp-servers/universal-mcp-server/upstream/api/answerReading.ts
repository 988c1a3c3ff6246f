/** Turns the answer of an API into an outcome: picked, checked and bounded as the tool declares it. */
import type { ApiDefinition, ApiTool } from '../../../../catalog/serviceDefinition.js';
import type { EgressResponse } from '../../../../egress/egressCall.js';
import { isJsonObject } from '../../protocol/jsonRpc.js';
import { followPointer, parseJsonPointer, type JsonPointer } from '../../../../catalog/jsonPointer.js';
import { compileCheck } from './argumentValidator.js';
import { readRetryAfter } from './retryPolicy.js';
import type { ToolOutcome } from './toolOutcome.js';

/** Places where APIs say what went wrong, when the definition does not name one. */
const usualErrorPlaces = [
  '/error/message',
  '/message',
  '/detail',
  '/error_description',
  '/error',
  '/title',
  '/err',
].map(parseJsonPointer);
const detailCharsMax = 500;

export interface AnswerReader {
  read(response: EgressResponse): ToolOutcome;
  /** For answers that are put together from several: the same bounds and checks. */
  fromValue(status: number, value: unknown, note: string | null): ToolOutcome;
  /** What `pick` leads to in a document. */
  pick(document: unknown): unknown;
  readonly maxBytes: number;
}

/**
 * @throws AppError CONFIG_INVALID when the outputSchema cannot be compiled.
 */
export function compileAnswerReader(
  api: Pick<ApiDefinition, 'response'>,
  { response: form, outputSchema }: Pick<ApiTool, 'response' | 'outputSchema'>,
): AnswerReader {
  const pickPointer = toPointer(form.pick ?? api.response.pick);
  const okPointer = toPointer(form.okPath);
  const errorPointer = toPointer(form.errorPath ?? api.response.errorPath);
  const errorPlaces = errorPointer === null ? usualErrorPlaces : [errorPointer, ...usualErrorPlaces];
  const fitsOutput = outputSchema === null ? null : compileCheck(outputSchema);
  const maxBytes = form.maxBytes ?? api.response.maxBytes;
  const mustParse = pickPointer !== null || okPointer !== null || fitsOutput !== null;
  const pick = (document: unknown): unknown =>
    pickPointer === null ? document : (followPointer(document, pickPointer) ?? null);

  const tooLarge = (status: number, bytes: number): ToolOutcome =>
    refused(
      status,
      `the answer has ${bytes} bytes, and ${maxBytes} are allowed here; ask for less (a narrower query, fewer fields)`,
    );

  const fromValue = (status: number, value: unknown, note: string | null): ToolOutcome => {
    if (fitsOutput !== null && !(isJsonObject(value) && fitsOutput(value))) {
      return refused(status, 'the answer does not have the form that the tool declares');
    }
    const text = JSON.stringify(value) ?? 'null';
    const bytes = Buffer.byteLength(text);
    if (bytes > maxBytes) return tooLarge(status, bytes);
    const structured = fitsOutput !== null && isJsonObject(value) ? value : null;
    return { kind: 'answered', status, content: { form: 'json', text, value }, structured, note };
  };

  const readJson = ({ status, headers, body }: EgressResponse): ToolOutcome => {
    if (body.length === 0 && !mustParse) {
      return {
        kind: 'answered',
        status,
        content: { form: 'json', text: '', value: null },
        structured: null,
        note: null,
      };
    }
    if (!mustParse && isJsonType(headers['content-type'])) {
      if (body.length > maxBytes) return tooLarge(status, body.length);
      const content = { form: 'json', text: body.toString('utf8') } as const;
      return { kind: 'answered', status, content, structured: null, note: null };
    }
    const document = parseDocument(body);
    if (document === undefined) return refused(status, 'the answer is no JSON');
    if (okPointer !== null && followPointer(document, okPointer) !== true) {
      return refused(status, findDetail(document, errorPlaces));
    }
    return fromValue(status, pick(document), null);
  };

  const readText = ({ status, body }: EgressResponse): ToolOutcome => {
    const whole = body.length <= maxBytes;
    const text = body.toString('utf8', 0, Math.min(body.length, maxBytes));
    const note = whole ? null : `Only the first ${maxBytes} of ${body.length} bytes are shown.`;
    return { kind: 'answered', status, content: { form: 'text', text }, structured: null, note };
  };

  const readImage = ({ status, headers, body }: EgressResponse): ToolOutcome => {
    const mimeType = /^image\/[a-z0-9.+-]+/i.exec(headers['content-type'] ?? '')?.[0];
    if (mimeType === undefined) return refused(status, 'the answer is no image');
    if (body.length > maxBytes) return tooLarge(status, body.length);
    const content = { form: 'image', base64: body.toString('base64'), mimeType } as const;
    return { kind: 'answered', status, content, structured: null, note: null };
  };

  const readRefusal = (response: EgressResponse): ToolOutcome => {
    const { status, headers, body } = response;
    if (status >= 300 && status < 400) return refused(status, 'the service redirects, which is not followed');
    const detail = isJsonType(headers['content-type'])
      ? findDetail(parseDocument(body), errorPlaces)
      : findPlainDetail(headers['content-type'], body);
    if (status === 401) return { kind: 'credentialRefused', status, detail };
    if (status === 403) return { kind: 'denied', status, detail };
    if (status === 429) {
      return {
        kind: 'rateLimited',
        status,
        detail,
        retryAfterSeconds: readRetryAfter(headers['retry-after']),
      };
    }
    return refused(status, detail);
  };

  return {
    maxBytes,
    pick,
    fromValue,
    read: (response) => {
      if (response.status < 200 || response.status >= 300) return readRefusal(response);
      switch (form.format) {
        case 'json':
          return readJson(response);
        case 'text':
          return readText(response);
        case 'image':
          return readImage(response);
      }
    },
  };
}

const toPointer = (text: string | null): JsonPointer | null =>
  text === null ? null : parseJsonPointer(text);

const refused = (status: number, detail: string | null): ToolOutcome => ({ kind: 'refused', status, detail });

export function parseDocument(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

const isJsonType = (contentType: string | undefined): boolean =>
  contentType !== undefined && /^application\/(?:[\w.-]+\+)?json\b/i.test(contentType);

function findDetail(document: unknown, places: readonly JsonPointer[]): string | null {
  for (const place of places) {
    const found = followPointer(document, place);
    if (typeof found === 'string' && found !== '') return found.slice(0, detailCharsMax);
    if (typeof found === 'number' || isJsonObject(found))
      return JSON.stringify(found).slice(0, detailCharsMax);
  }
  return null;
}

/** A page for people says nothing to a model; a short plain text may. */
function findPlainDetail(contentType: string | undefined, body: Buffer): string | null {
  if (contentType === undefined || !/^text\/plain\b/i.test(contentType) || body.length === 0) return null;
  return body.toString('utf8', 0, detailCharsMax);
}
