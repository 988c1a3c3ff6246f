/** The plaintext of a sealed credential and of sealed overrides alike: a JSON object of text by name. */
import { AppError } from '../errors/appError.js';

export type FieldValues = ReadonlyMap<string, string>;

export function encodeFieldValues(fields: FieldValues): Buffer {
  return Buffer.from(JSON.stringify(Object.fromEntries(fields)), 'utf8');
}

/** @throws AppError CREDENTIAL_UNREADABLE when it is of another form. */
export function parseFieldValues(plaintext: Buffer): FieldValues {
  const fields = new Map<string, string>();
  // Parsing what was authenticated: a failure here is a fault of ours, and its message must not travel.
  const value: unknown = JSON.parse(plaintext.toString('utf8'));
  for (const [name, text] of Object.entries(value ?? {})) {
    if (typeof text !== 'string') throw new AppError('CREDENTIAL_UNREADABLE', 'a sealed value is not text');
    fields.set(name, text);
  }
  return fields;
}
