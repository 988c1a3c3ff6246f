/** How a user is sent to a service's own sign-in, and how its answer is read. Part of `ServiceDefinition`. */
import type { EgressPolicy } from './serviceDefinition.js';

export interface OAuth2Settings {
  readonly authorizationUrl: string;
  readonly tokenUrl: string;
  readonly revocationUrl: string | null;
  /** What `iss` of the answer has to be (RFC 9207); null where the service does not say who it is. */
  readonly issuer: string | null;
  /** Null when its optional reference is not set; the method is unavailable then. */
  readonly clientId: string | null;
  /** Key material: never logged, never sent to a browser. */
  readonly clientSecret: string | null;
  readonly clientAuth: 'client_secret_basic' | 'client_secret_post' | 'none' | 'private_key_jwt';
  readonly scopes: readonly string[];
  readonly optionalScopes: readonly string[];
  readonly scopeSeparator: string;
  readonly pkce: boolean;
  readonly extraAuthParams: Readonly<Record<string, string>>;
  /** JSON pointer to the access token in the token endpoint's answer. */
  readonly tokenPath: string;
  /** False: a refresh token is not kept, and the user signs in again when the access token ends. */
  readonly refresh: boolean;
  /** The hosts of its own URLs, and whether they may be private. */
  readonly egress: EgressPolicy;
}
