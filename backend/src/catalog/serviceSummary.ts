/** A service as its users may see it: what it is and how to connect; no address, command, template or key of it. */
import type { CredentialMethod, InputField, ServiceDefinition, ServiceKind } from './serviceDefinition.js';

export interface ServiceSummary {
  readonly name: string;
  readonly title: string;
  readonly description: string | null;
  readonly version: string | null;
  readonly category: string | null;
  readonly tags: readonly string[];
  readonly icons: ServiceDefinition['icons'];
  readonly websiteUrl: string | null;
  readonly kind: ServiceKind;
  readonly enabled: boolean;
  readonly disabledReason: string | null;
  readonly credentials: {
    readonly scope: ServiceDefinition['credentials']['scope'];
    readonly multiple: boolean;
    readonly maxPerUser: number;
    readonly methods: readonly MethodSummary[];
  };
  readonly userOverrides: { readonly allow: boolean; readonly fields: readonly InputField[] };
}

export type MethodSummary = Pick<
  CredentialMethod,
  'id' | 'type' | 'label' | 'help' | 'helpUrl' | 'recommended' | 'unavailableReason' | 'fields' | 'tokenField'
>;

export function toServiceSummary(service: ServiceDefinition): ServiceSummary {
  const { credentials, userOverrides } = service;
  return {
    name: service.name,
    title: service.title,
    description: service.description,
    version: service.version,
    category: service.category,
    tags: service.tags,
    icons: service.icons,
    websiteUrl: service.websiteUrl,
    kind: service.kind,
    enabled: service.enabled,
    disabledReason: service.disabledReason,
    credentials: {
      scope: credentials.scope,
      multiple: credentials.multiple,
      maxPerUser: credentials.maxPerUser,
      methods: credentials.methods.map((method) => ({
        id: method.id,
        type: method.type,
        label: method.label,
        help: method.help,
        helpUrl: method.helpUrl,
        recommended: method.recommended,
        unavailableReason: method.unavailableReason,
        fields: method.fields,
        tokenField: method.tokenField,
      })),
    },
    userOverrides: { allow: userOverrides.allow, fields: userOverrides.fields },
  };
}
