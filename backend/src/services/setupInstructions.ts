/**
 * What somebody is told whose credential is missing: what it is for, where to get it and where to enter it (row I07).
 * The REST API puts it into the problem body, a universal server into a tool result that the model can read.
 */
import type { CredentialMethod, CredentialPolicy, ServiceDefinition } from '../catalog/serviceDefinition.js';

export interface SetupInstructions {
  readonly displayName: string;
  readonly instructions: string;
  readonly helpUrl: string | null;
  /** The console's page on which the service is connected. */
  readonly consoleUrl: string;
}

/** The method that is meant when none is named: the recommended one that can be used, else the first that can. */
export function findDefaultMethod(policy: CredentialPolicy): CredentialMethod | null {
  const usable = policy.methods.filter(({ unavailableReason }) => unavailableReason === null);
  return usable.find(({ recommended }) => recommended) ?? usable[0] ?? null;
}

export function toSetupInstructions(
  definition: Pick<ServiceDefinition, 'name' | 'title' | 'credentials'>,
  publicUrl: URL,
): SetupInstructions {
  const method = findDefaultMethod(definition.credentials);
  const consoleUrl = toConsoleUrl(publicUrl, definition.name);
  // A shared credential is not asked of users, who only connect.
  const isAsked = definition.credentials.scope !== 'shared';
  const fields = isAsked ? (method?.fields ?? []) : [];
  const asked = fields.filter(({ required }) => required).map(({ label }) => label);
  const what = toFirstStep(definition.title, isAsked ? method : null, asked);
  const help = !isAsked || method == null || method.help === null ? '' : ` ${method.help}`;
  return {
    displayName: definition.title,
    instructions: `${definition.title} is not set up for your account yet. ${what} at ${consoleUrl}.${help}`,
    helpUrl: method?.helpUrl ?? method?.fields.find(({ helpUrl }) => helpUrl !== null)?.helpUrl ?? null,
    consoleUrl,
  };
}

function toFirstStep(title: string, method: CredentialMethod | null, asked: readonly string[]): string {
  if (method !== null && isSignIn(method)) return `Sign in with ${title}`;
  return asked.length === 0 ? 'Connect it' : `Enter: ${asked.join(', ')}`;
}

/** Whether the user signs in with the service itself, so that there is no form to fill in. */
export function isSignIn({ type }: Pick<CredentialMethod, 'type'>): boolean {
  return type === 'oauth2' || type === 'mcp-oauth';
}

/** The members that a problem body gets beside the usual ones. */
export function toSetupExtension(setup: SetupInstructions): Readonly<Record<string, unknown>> {
  return { requiresSetup: true, setup };
}

function toConsoleUrl(publicUrl: URL, service: string): string {
  return `${publicUrl.origin}${publicUrl.pathname.replace(/\/$/, '')}/console/connect/${encodeURIComponent(service)}`;
}

/**
 * What somebody is told whose instance has nothing to call with: for a shared credential that none is set, and that this
 * is an admin's to do (12.19); else how to enter their own.
 */
export function toMissingInstructions(
  definition: Pick<ServiceDefinition, 'name' | 'title' | 'credentials'>,
  publicUrl: URL,
): SetupInstructions {
  const setup = toSetupInstructions(definition, publicUrl);
  if (definition.credentials.scope !== 'shared') return setup;
  const { title } = definition;
  return {
    ...setup,
    instructions: `${title} works with one credential that an admin sets for everybody, and none is set. Ask an admin to set it.`,
  };
}

/** What to do about a credential that the service no longer accepts; a sentence without its full stop. */
export function toRenewal(
  { credentials }: Pick<ServiceDefinition, 'credentials'>,
  { consoleUrl }: Pick<SetupInstructions, 'consoleUrl'>,
): string {
  if (credentials.scope === 'shared') return 'It is shared by everybody: ask an admin to replace it';
  const method = findDefaultMethod(credentials);
  return method !== null && isSignIn(method)
    ? `Sign in again at ${consoleUrl}`
    : `Replace it at ${consoleUrl}`;
}
