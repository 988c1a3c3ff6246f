/** Where a request may go: a URL becomes a destination only by being checked. */
import { findUrlProblem, type EgressRules } from '../addresses/urlProblem.js';
import { AppError } from '../errors/appError.js';

/** A URL that was checked. Only `parseDestination` makes one. */
export interface Destination {
  /** Scheme, host and port, as undici names a pool. */
  readonly origin: string;
  /** Begins with `/`. */
  readonly pathname: string;
  /** Empty, or `?` and the query. */
  readonly search: string;
}

/** @throws AppError EGRESS_DENIED; neither the message nor the detail quotes the URL. */
export function parseDestination(text: string, rules: EgressRules): Destination {
  const problem = findUrlProblem(text, rules);
  if (problem !== null) {
    throw new AppError('EGRESS_DENIED', `a destination URL ${problem}`, {
      publicDetail: `The address of the service behind ${problem}.`,
    });
  }
  const { origin, pathname, search } = new URL(text);
  return { origin, pathname, search };
}
