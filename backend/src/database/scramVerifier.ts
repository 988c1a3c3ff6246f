import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

/**
 * The verifier that PostgreSQL stores for a password (RFC 5802 §3, PostgreSQL's `SCRAM-SHA-256$…` form). Sending it in
 * the place of the password keeps the password out of statements, and so out of anybody's statement log.
 * @param password ASCII, so that SASLprep changes nothing.
 * @param salt 16 random bytes.
 */
export function toScramVerifier(password: string, salt: Buffer, iterations = 4096): string {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest('base64');
  const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}
