/**
 * From what a person sent to the method that is meant and its fields (12.13): `apiKey` fills the token field of the
 * recommended, else the first, method with a form; everything else comes by name.
 */
import { toPointer } from '../catalog/configText.js';
import type { CredentialMethod, ServiceDefinition } from '../catalog/serviceDefinition.js';
import { AppError, type InvalidField } from '../errors/appError.js';
import { readForm } from './inputForm.js';
import { findDefaultMethod, toSetupExtension, toSetupInstructions } from './setupInstructions.js';

export interface GivenCredential {
  readonly apiKey?: string;
  readonly additionalCredentials?: Readonly<Record<string, string>>;
  /** Id of one of the service's methods. */
  readonly method?: string;
}

export interface CredentialInput {
  /** The method's id, or `none`: stored like every other, so that all instances go the same way. */
  readonly methodId: string;
  readonly fields: ReadonlyMap<string, string>;
  /** True when there is something to check against the service. */
  readonly isCredential: boolean;
}

const nothing: CredentialInput = { methodId: 'none', fields: new Map(), isCredential: false };

/**
 * A user's own credential.
 * @throws AppError INVALID_REQUEST that names each wrong field, with the setup instructions beside it.
 */
export function toCredentialInput(
  definition: ServiceDefinition,
  given: GivenCredential,
  publicUrl: URL,
): CredentialInput {
  const { scope, methods } = definition.credentials;
  // What the service has no use for is not kept.
  if (scope === 'none' || scope === 'shared') return nothing;
  const isEmpty = !given.apiKey && Object.keys(given.additionalCredentials ?? {}).length === 0;
  if (isEmpty && given.method === undefined) {
    const free = methods.find(({ type, unavailableReason }) => type === 'none' && unavailableReason === null);
    if (free !== undefined) return { ...nothing, methodId: free.id };
    if (scope === 'per-user-optional') return nothing;
  }
  return readCredential(definition, given, publicUrl);
}

/** The same whoever gives it, a user or an admin for all of them. @throws AppError INVALID_REQUEST */
export function readCredential(
  definition: ServiceDefinition,
  given: GivenCredential,
  publicUrl: URL,
): CredentialInput {
  const refuse = (wrong: readonly InvalidField[], why: string): never => {
    const setup = toSetupInstructions(definition, publicUrl);
    throw new AppError('INVALID_REQUEST', why, {
      publicDetail: wrong.map(({ message }) => message).join('; '),
      fields: wrong,
      // An admin who fills in the form for everybody is at the right place already.
      ...(definition.credentials.scope === 'shared' ? {} : { extensions: toSetupExtension(setup) }),
    });
  };
  const method = findMethod(definition, given, refuse);
  if (method.type === 'none') return { ...nothing, methodId: method.id };
  if (method.type !== 'fields') {
    const start = `POST /api/v1/services/${definition.name}/oauth/start`;
    refuse(
      [{ pointer: '/method', message: `is a sign-in with the service itself: begin it with ${start}` }],
      'a sign-in was sent as a form',
    );
  }
  const entered = new Map(Object.entries(given.additionalCredentials ?? {}));
  let tokenField: string | null = null;
  if (given.apiKey) {
    tokenField = method.tokenField;
    if (tokenField === null) {
      refuse(
        [{ pointer: '/apiKey', message: 'this service takes no single key; send its fields by name' }],
        'an apiKey for a method without a token field',
      );
    } else if (entered.has(tokenField)) {
      refuse(
        [{ pointer: '/apiKey', message: `is the same as ${tokenField} in additionalCredentials; send one` }],
        'apiKey and its field were both given',
      );
    } else entered.set(tokenField, given.apiKey);
  }
  const pointerOf = (name: string): string =>
    name === tokenField ? '/apiKey' : toPointer('/additionalCredentials', name);
  const { values, wrong } = readForm(method.fields, entered, pointerOf);
  if (wrong.length > 0) refuse(wrong, `the form of ${definition.name}/${method.id} is not filled in right`);
  return { methodId: method.id, fields: values, isCredential: true };
}

function findMethod(
  definition: ServiceDefinition,
  given: GivenCredential,
  refuse: (wrong: readonly InvalidField[], why: string) => never,
): CredentialMethod {
  const { credentials } = definition;
  if (given.method !== undefined) {
    const named = credentials.methods.find(({ id }) => id === given.method);
    if (named === undefined) {
      const known = credentials.methods.map(({ id }) => id).join(', ');
      return refuse([{ pointer: '/method', message: `must be one of: ${known}` }], 'an unknown method');
    }
    if (named.unavailableReason !== null) {
      return refuse(
        [{ pointer: '/method', message: named.unavailableReason }],
        'a method that is not available',
      );
    }
    return named;
  }
  const usable = credentials.methods.filter(
    ({ type, unavailableReason }) => type === 'fields' && unavailableReason === null,
  );
  const meant = usable.find(({ recommended }) => recommended) ?? usable[0] ?? findDefaultMethod(credentials);
  return (
    meant ??
    refuse(
      [{ pointer: '/method', message: 'none of the ways to connect this service is available here' }],
      'no usable method',
    )
  );
}
