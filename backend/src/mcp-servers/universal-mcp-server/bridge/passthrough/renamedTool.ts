import { AppError } from '../../../../errors/appError.js';
import { findMember } from '../../protocol/jsonScan.js';

/** The bytes of a call under the upstream's own name of the tool, and nothing else changed. @throws AppError INVALID_REQUEST */
export function withToolName(body: Buffer, name: string): Buffer {
  const params = findMember(body, 'params');
  const place = params === null ? null : findMember(body, 'name', params.start);
  if (place === null) throw new AppError('INVALID_REQUEST', 'a call of a tool without its name');
  return Buffer.concat([
    body.subarray(0, place.start),
    Buffer.from(JSON.stringify(name)),
    body.subarray(place.end),
  ]);
}
