/**
 * What the templates of a service are filled with for one call: the credential's fields and the user's overrides, after
 * the rules of 03 (service defaults, then admin config, then the user's own; only marked keys).
 */
export interface CredentialValues {
  /** What `{{token}}` stands for, or null when the method has none. */
  readonly token: string | null;
  /** Credential fields and override keys by name; a name that is absent is empty. */
  readonly fields: ReadonlyMap<string, string>;
  /** The revision of the credential that they were opened from; absent where nothing was opened. */
  readonly revision?: number;
  /** Only for an access token that can be renewed; times are milliseconds since the epoch. */
  readonly renewal?: { readonly dueAt: number; readonly expiresAt: number };
}
