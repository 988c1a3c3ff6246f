import type { AppError, InvalidField } from './appError.js';

/** An HTTP API error body, `application/problem+json` (RFC 9457). */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** The stable code of `errorCodes`; scripts branch on it. */
  readonly code: string;
  readonly detail?: string;
  readonly requestId?: string;
  readonly errors?: readonly InvalidField[];
  readonly [extension: string]: unknown;
}

export const problemContentType = 'application/problem+json';

/** Renders an error for an HTTP API. Its message and cause stay behind. */
export function toProblem(error: AppError, requestId?: string): Problem {
  const { publicDetail, fields, extensions } = error.options;
  return {
    ...extensions,
    type: `urn:portolan:problem:${error.code.toLowerCase().replaceAll('_', '-')}`,
    title: error.form.title,
    status: error.form.status,
    code: error.code,
    ...(publicDetail === undefined ? {} : { detail: publicDetail }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(fields === undefined ? {} : { errors: fields }),
  };
}
