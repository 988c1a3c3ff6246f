/**
 * The catalog as users see it: what a service is called, what it asks for and whether it works. A public definition holds
 * no command, URL of an upstream, environment, path or value of an admin's.
 */
import type {
  CredentialMethod,
  InputField,
  ServiceDefinition,
  ServiceIcon,
} from '../catalog/serviceDefinition.js';
import type { UserRole } from '../stores/usersStore.js';
import type { ServiceStatus } from './serviceAvailability.js';

export interface PublicService {
  /** The service's name; it is its id as well. */
  readonly id: string;
  readonly name: string;
  readonly title: string;
  readonly description: string | null;
  readonly version: string | null;
  readonly category: string | null;
  readonly tags: readonly string[];
  readonly icons: readonly ServiceIcon[];
  readonly websiteUrl: string | null;
  readonly kind: ServiceDefinition['kind'];
  readonly enabled: boolean;
  readonly disabledReason: string | null;
  readonly credentials: {
    readonly scope: ServiceDefinition['credentials']['scope'];
    readonly multiple: boolean;
    readonly maxPerUser: number;
    readonly methods: readonly PublicMethod[];
  };
  readonly userOverrides: { readonly allow: boolean; readonly fields: readonly InputField[] };
  /** How many tools it has, as far as that is known; for this user where it differs between users. */
  readonly toolCount: number | null;
  readonly health: ServiceStatus;
}

export type PublicMethod = Pick<
  CredentialMethod,
  'id' | 'type' | 'label' | 'help' | 'helpUrl' | 'recommended' | 'unavailableReason' | 'fields'
>;

/** Admins see every service; others those for everybody and those for their role. */
export function isVisibleTo({ visibility }: Pick<ServiceDefinition, 'visibility'>, role: UserRole): boolean {
  const isForAll = visibility.roles.length === 0 && visibility.groups.length === 0;
  return isForAll || role === 'admin' || visibility.roles.includes(role);
}

export function toPublicService(
  definition: ServiceDefinition,
  health: ServiceStatus,
  listedTools: number | null,
  role: UserRole,
): PublicService {
  const { name, credentials, userOverrides } = definition;
  return {
    id: name,
    name,
    title: definition.title,
    description: definition.description,
    version: definition.version,
    category: definition.category,
    tags: definition.tags,
    icons: definition.icons,
    websiteUrl: definition.websiteUrl,
    kind: definition.kind,
    enabled: definition.enabled,
    disabledReason: toPublicReason(definition, role),
    credentials: {
      scope: credentials.scope,
      multiple: credentials.multiple,
      maxPerUser: credentials.maxPerUser,
      methods: credentials.methods.map(toPublicMethod),
    },
    userOverrides: {
      allow: userOverrides.allow,
      fields: userOverrides.allow ? userOverrides.fields : [],
    },
    toolCount: listedTools ?? countDeclaredTools(definition),
    health,
  };
}

/** The reason as it stands names files and variables, which is for admins. */
export function toPublicReason(
  { enabled, disabledReason }: Pick<ServiceDefinition, 'enabled' | 'disabledReason'>,
  role: UserRole,
): string | null {
  if (enabled) return null;
  return role === 'admin' && disabledReason !== null
    ? disabledReason
    : 'It is switched off; an admin can see why.';
}

function toPublicMethod(method: CredentialMethod): PublicMethod {
  const { id, type, label, help, helpUrl, recommended, unavailableReason, fields } = method;
  return { id, type, label, help, helpUrl, recommended, unavailableReason, fields };
}

function countDeclaredTools({ api }: ServiceDefinition): number | null {
  return api === null || api.openapi !== null ? null : api.tools.length;
}
