/**
 * How a call of an API tool can end. What the model can act on is an outcome, rendered for MCP here and as a problem for
 * REST callers by `downstream/restCall.ts`; what is no answer of the service at all is thrown.
 */
import type { InvalidField } from '../../../../errors/appError.js';
import type { JsonObject } from '../../protocol/jsonRpc.js';

export type ToolContent =
  /** `value` is absent when nobody had to parse the text. */
  | { readonly form: 'json'; readonly text: string; readonly value?: unknown }
  | { readonly form: 'text'; readonly text: string }
  | { readonly form: 'image'; readonly base64: string; readonly mimeType: string };

export type ToolOutcome =
  | {
      readonly kind: 'answered';
      /** The HTTP status of the service. */
      readonly status: number;
      readonly content: ToolContent;
      /** Only for tools with an `outputSchema`, and then always of that form. */
      readonly structured: JsonObject | null;
      /** A sentence on what was left out, such as further pages. */
      readonly note: string | null;
    }
  | { readonly kind: 'invalidArguments'; readonly problems: readonly InvalidField[] }
  /** The service does not accept the credential (any more). */
  | { readonly kind: 'credentialRefused'; readonly status: number; readonly detail: string | null }
  /** The credential is good, but not for this. */
  | { readonly kind: 'denied'; readonly status: number; readonly detail: string | null }
  | {
      readonly kind: 'rateLimited';
      readonly status: number;
      readonly retryAfterSeconds: number | null;
      readonly detail: string | null;
    }
  /** Any other refusal or fault of the service; `detail` is in its own words where it gave some. */
  | { readonly kind: 'refused'; readonly status: number; readonly detail: string | null };

/** What the words around an outcome need to know. */
export interface OutcomeContext {
  /** The service's title. */
  readonly service: string;
  readonly tool: string;
  /** The console's page on which the credential is entered again. */
  readonly consoleUrl: string;
  /** What to do about a credential that is no longer accepted; a sentence without its full stop. */
  readonly renewal: string;
}

/** A `CallToolResult` (MCP "Tools", "Error Handling": what the model can correct is a result with `isError`). */
export function toCallToolResult(outcome: ToolOutcome, context: OutcomeContext): JsonObject {
  if (outcome.kind !== 'answered') {
    return { content: [{ type: 'text', text: toSentence(outcome, context) }], isError: true };
  }
  const { content, structured, note, status } = outcome;
  const first =
    content.form === 'image'
      ? { type: 'image', data: content.base64, mimeType: content.mimeType }
      : { type: 'text', text: content.text === '' ? `Done (status ${status}, no content).` : content.text };
  return {
    content: note === null ? [first] : [first, { type: 'text', text: note }],
    ...(structured === null ? {} : { structuredContent: structured }),
  };
}

/** What went wrong and what to do, in words for the model and its user. */
export function toSentence(
  outcome: Exclude<ToolOutcome, { kind: 'answered' }>,
  { service, tool, renewal }: OutcomeContext,
): string {
  switch (outcome.kind) {
    case 'invalidArguments':
      return [
        `The arguments for ${tool} are not valid; nothing was sent.`,
        ...outcome.problems.map(
          ({ pointer, message }) => `- ${pointer === '' ? 'arguments' : pointer} ${message}`,
        ),
      ].join('\n');
    case 'credentialRefused':
      return (
        `EXPIRED_CREDENTIALS: ${service} no longer accepts the stored credential (status ${outcome.status})` +
        `${quote(outcome.detail)} ${renewal}`
      );
    case 'denied':
      return (
        `${service} does not allow this with the stored credential (status ${outcome.status})${quote(outcome.detail)} ` +
        `It may lack a permission that another one has. ${renewal}`
      );
    case 'rateLimited': {
      const when = outcome.retryAfterSeconds === null ? 'later' : `in ${outcome.retryAfterSeconds} s`;
      return `${service} is receiving too many requests${quote(outcome.detail)} Try again ${when}.`;
    }
    case 'refused':
      return outcome.status >= 500
        ? `${service} failed with status ${outcome.status}${quote(outcome.detail)} Try again later.`
        : `${service} refused the request with status ${outcome.status}${quote(outcome.detail)}`;
  }
}

const quote = (detail: string | null): string =>
  detail === null ? '.' : `: ${detail.replace(/[.\s]+$/, '')}.`;
