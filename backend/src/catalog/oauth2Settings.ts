/** How a user is sent to a service's own sign-in, and how its answer is read. Part of `ServiceDefinition`. */
export interface OAuth2Settings {
  readonly authorizationUrl: string;
  readonly tokenUrl: string;
  readonly revocationUrl: string | null;
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
  readonly refresh: boolean;
}
