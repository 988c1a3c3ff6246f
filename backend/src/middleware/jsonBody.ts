/**
 * Reads JSON bodies, and nothing else: a body of another type is refused with 415, so that no form and no `text/plain`
 * of a foreign page is ever taken for a command (07 C04).
 */
import express, { type RequestHandler } from 'express';
import { AppError } from '../errors/appError.js';

export const bodyBytesMax = 1024 * 1024;
export const bodyDepthMax = 64;

export function jsonBody(): RequestHandler[] {
  return [
    refuseOtherTypes,
    refuseDeclaredSize,
    express.json({ limit: bodyBytesMax, type: () => true, inflate: false, strict: true }),
    refuseDeepBodies,
  ];
}

const refuseOtherTypes: RequestHandler = (request, _response, next) => {
  const hasBody =
    request.headers['transfer-encoding'] !== undefined || (request.headers['content-length'] ?? '0') !== '0';
  if (!hasBody || jsonType.test(request.headers['content-type'] ?? '')) return next();
  throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'the body is not declared as JSON', {
    publicDetail: 'Send the body with content-type: application/json.',
  });
};

/** The body parser would first wait for all of it. */
const refuseDeclaredSize: RequestHandler = (request, _response, next) => {
  if (Number(request.headers['content-length'] ?? 0) <= bodyBytesMax) return next();
  throw new AppError('PAYLOAD_TOO_LARGE', 'the body is declared over the limit', {
    publicDetail: 'Send at most 1 MiB.',
  });
};

const jsonType = /^application\/json\s*(?:;\s*charset="?utf-8"?\s*)?$/i;

const refuseDeepBodies: RequestHandler = (request, _response, next) => {
  if (isDeeperThan(request.body, bodyDepthMax)) {
    throw new AppError('INVALID_REQUEST', 'the body is nested too deep', {
      publicDetail: `Nest the body at most ${bodyDepthMax} deep.`,
    });
  }
  next();
};

/** Whether objects and arrays lie in each other more than `levels` deep. */
function isDeeperThan(value: unknown, levels: number): boolean {
  let layer: unknown[] = [value];
  for (let depth = 0; depth <= levels; depth += 1) {
    layer = layer.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []));
    if (layer.length === 0) return false;
  }
  return true;
}
