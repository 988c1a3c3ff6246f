/**
 * What a sign-in needs when its answer comes, as it is sealed until then: the PKCE verifier, and for a server found by
 * discovery all that was found, so that the answer is exchanged with the server that was asked and no other.
 */
import type { FieldValues } from '../sealedValues.js';
import { AppError } from '../../errors/appError.js';
import type { SignInServer } from './signInServer.js';
import { toClientAuth } from './tokenGrant.js';

export interface SignInContext {
  readonly codeVerifier: string;
  /** Null for a declared server, which the service's file says again. */
  readonly found: SignInServer | null;
}

export function toContextFields({ codeVerifier, found }: SignInContext): FieldValues {
  const fields: [string, string | null][] = [['code_verifier', codeVerifier]];
  if (found !== null) {
    const { client } = found.endpoint;
    fields.push(
      ['token_endpoint', found.endpoint.url],
      ['token_path', found.endpoint.tokenPath],
      ['revocation_endpoint', found.revocationUrl],
      ['issuer', found.issuer],
      ['is_issuer_sent', found.isIssuerSent ? 'true' : null],
      ['resource', found.resource],
      ['client_id', client.id],
      ['client_secret', client.secret],
      ['client_auth', client.auth],
    );
  }
  return new Map(fields.filter((entry): entry is [string, string] => entry[1] !== null));
}

export function parseContext(fields: FieldValues): SignInContext {
  const need = (name: string): string => {
    const value = fields.get(name);
    if (value === undefined) throw new AppError('CREDENTIAL_UNREADABLE', `a sign-in without its ${name}`);
    return value;
  };
  const codeVerifier = need('code_verifier');
  if (!fields.has('token_endpoint')) return { codeVerifier, found: null };
  return {
    codeVerifier,
    found: {
      // Nobody is sent there again.
      authorizationUrl: '',
      endpoint: {
        url: need('token_endpoint'),
        tokenPath: need('token_path'),
        client: {
          id: need('client_id'),
          secret: fields.get('client_secret') ?? null,
          auth: toClientAuth(need('client_auth')),
        },
      },
      revocationUrl: fields.get('revocation_endpoint') ?? null,
      issuer: fields.get('issuer') ?? null,
      isIssuerSent: fields.get('is_issuer_sent') === 'true',
      scope: null,
      resource: fields.get('resource') ?? null,
      usesPkce: true,
      extra: {},
    },
  };
}
