/**
 * What the templates of a service are filled with for one call: the credential's fields and the user's overrides, after
 * the rules of 03 (service defaults, then admin config, then the user's own; only marked keys).
 */
export interface CredentialValues {
  /** What `{{token}}` stands for, or null when the method has none. */
  readonly token: string | null;
  /** Credential fields and override keys by name; a name that is absent is empty. */
  readonly fields: ReadonlyMap<string, string>;
}
