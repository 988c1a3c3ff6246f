/**
 * Environment names that make a process load or run something else. They reach a child only from `inheritEnv`, never
 * from a config value, a credential or an override (F06).
 */
const denied = new Set([
  'PATH',
  'HOME',
  'SHELL',
  'IFS',
  'ENV',
  'BASH_ENV',
  'BASH_FUNC',
  'CDPATH',
  'PROMPT_COMMAND',
  'GCONV_PATH',
  'LOCPATH',
  'NLSPATH',
  'HOSTALIASES',
  'RES_OPTIONS',
  'TMPDIR',
  'CLASSPATH',
  'GLIBC_TUNABLES',
  'MALLOC_CHECK_',
  'OPENSSL_CONF',
  'OPENSSL_MODULES',
  'SSLKEYLOGFILE',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
]);

const deniedFamilies =
  /^(?:LD_|DYLD_|NODE_(?!ENV$)|NPM_|YARN_|PYTHON|PERL|RUBY|GEM_|JAVA_|JDK_|_JAVA_|DOTNET_|CORECLR_|GIT_|BASH_|PM2_|PORTOLAN_)/;

export function isDeniedEnvName(name: string): boolean {
  const upper = name.toUpperCase();
  return denied.has(upper) || deniedFamilies.test(upper);
}

/** Portolan's own settings that hold or lead to secrets; a service's `{"$env"}` may not name them. */
const ownSecrets = new Set(['DATABASE_URL', 'DATABASE_URL_FILE', 'KEYRING_FILE', 'PORTOLAN_STATE_DIR']);

export function isOwnSecretName(name: string): boolean {
  return ownSecrets.has(name);
}

/**
 * Whether a name announces a secret. PM2 keeps an app's environment on disk and prints it, so that the value of such a
 * name comes by the state directory's `service-env` file instead.
 */
export function isSecretName(name: string): boolean {
  return /(?:^|[_-])(?:secret|token|password|passwd|passphrase|pwd|api_?-?key|access_?-?key|private_?-?key|signing_?-?key|key|credentials?|auth|dsn|pat)(?:$|[_-])/i.test(
    name.replaceAll(/([a-z])([A-Z])/g, '$1_$2'),
  );
}
