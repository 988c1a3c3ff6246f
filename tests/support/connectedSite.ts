/**
 * An installation with services in its registry and, behind each, the internal endpoint of its process:
 *
 *   await using bench = await openConnectedSite();
 *   const alice = await bench.anActor();
 *   await bench.manager.authenticate(alice, { service: 'notes', label: 'default' }, { apiKey: 'good-alice' });
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadServiceDefinitions } from '../../backend/src/catalog/loadServiceDefinitions.js';
import { createServiceRegistry, type ServiceRegistry } from '../../backend/src/catalog/serviceRegistry.js';
import type { Actor } from '../../backend/src/services/changeAudit.js';
import {
  createChangeNotices,
  type ChangeNotices,
  type ChangeNoticesOptions,
} from '../../backend/src/services/changeNotices.js';
import { createCredentialVault, type CredentialVault } from '../../backend/src/services/credentialVault.js';
import {
  createInstanceManager,
  type InstanceManager,
} from '../../backend/src/services/instanceManager/instanceManager.js';
import { signInternalCall } from '../../backend/src/services/internalCalls.js';
import { newJwtKeysFiles, parseSigningKeys, type SigningKeys } from '../../backend/src/services/jwtKeys.js';
import { createProbeClient, type ProbeClient } from '../../backend/src/services/probeClient.js';
import type { UserRole } from '../../backend/src/stores/usersStore.js';
import { openInstallation, type Installation } from './installation.js';
import { startProbeEdge, type ProbeEdge } from './probeEdge.js';

export interface ConnectedSite extends AsyncDisposable {
  readonly site: Installation;
  readonly registry: ServiceRegistry;
  /** The folder that the registry reads; `registry.reload()` after a change. */
  readonly mcpPortsDir: string;
  readonly edges: {
    readonly notes: ProbeEdge;
    readonly plain: ProbeEdge;
    readonly maybe: ProbeEdge;
    readonly common: ProbeEdge;
  };
  readonly keys: SigningKeys;
  /** The public half, as a service process reads it. */
  readonly jwtPublicText: string;
  readonly vault: CredentialVault;
  readonly probes: ProbeClient;
  readonly notices: ChangeNotices;
  readonly manager: InstanceManager;
  readonly publicUrl: URL;
  /** A new user who has just signed in. */
  anActor(wish?: { readonly role?: UserRole; readonly signedInMsAgo?: number }): Promise<Actor>;
}

const portAway = 1;

export async function openConnectedSite(): Promise<ConnectedSite> {
  const site = await openInstallation();
  const files = newJwtKeysFiles(randomUUID);
  const keys = parseSigningKeys(files.privateText);
  const mcpPortsDir = mkdtempSync(join(tmpdir(), 'portolan-services-'));
  let registry: ServiceRegistry | null = null;
  const edgeOf = (service: string): Promise<ProbeEdge> =>
    startProbeEdge(site, keys.verification, () => registry!.get(service));
  const edges = {
    notes: await edgeOf('notes'),
    plain: await edgeOf('plain'),
    maybe: await edgeOf('maybe'),
    common: await edgeOf('common'),
  };
  for (const [name, config] of Object.entries(
    configs(edges.notes.port, edges.plain.port, edges.maybe.port, edges.common.port),
  )) {
    writeService(mcpPortsDir, name, config);
  }
  registry = createServiceRegistry(() =>
    loadServiceDefinitions({ mcpPortsDir, lock: { services: {} }, env: () => undefined, allocate: true }),
  );
  const way: ChangeNoticesOptions = {
    config: {
      hosts: { api: '127.0.0.1', front: '127.0.0.1', service: '127.0.0.1' },
      ports: { api: portAway, front: portAway, monitor: portAway, serviceOffset: 0 },
    },
    sign: (call) => signInternalCall(keys, call),
  };
  const probes = createProbeClient(way);
  const notices = createChangeNotices(way);
  const publicUrl = new URL('https://ports.example.com/');
  const vault = createCredentialVault(site.vault);

  return {
    site,
    registry,
    mcpPortsDir,
    edges,
    keys,
    jwtPublicText: files.publicText,
    vault,
    probes,
    notices,
    publicUrl,
    manager: createInstanceManager({
      pool: site.api,
      registry,
      vault,
      probes,
      notices,
      publicUrl,
      accessModeMinimum: 'url',
      now: () => Date.now(),
    }),
    async anActor({ role = 'user', signedInMsAgo = 0 } = {}) {
      return {
        userId: await site.aUser(role),
        role,
        via: `session:${randomUUID()}`,
        authenticatedAt: new Date(Date.now() - signedInMsAgo),
        requestId: 'request-1',
        clientAddress: '127.0.0.1',
      };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([probes[Symbol.asyncDispose](), notices[Symbol.asyncDispose]()]);
      for (const edge of Object.values(edges)) await edge[Symbol.asyncDispose]();
      rmSync(mcpPortsDir, { recursive: true, force: true });
      await site[Symbol.asyncDispose]();
    },
  };
}

export function writeService(mcpPortsDir: string, name: string, config: object): void {
  mkdirSync(join(mcpPortsDir, name), { recursive: true });
  writeFileSync(
    join(mcpPortsDir, name, 'config.json'),
    JSON.stringify({ schemaVersion: 1, name, ...config }),
  );
}

function configs(
  notesPort: number,
  plainPort: number,
  maybePort: number,
  commonPort: number,
): Record<string, object> {
  const api = {
    baseUrl: 'https://notes.example.com',
    headers: { Authorization: { $userToken: 'Bearer {{token}}' } },
    tools: [
      {
        name: 'list_notes',
        description: 'Lists notes.',
        inputSchema: { type: 'object' },
        request: { method: 'GET', path: '/notes' },
      },
    ],
  };
  const keyMethod = {
    id: 'key',
    type: 'fields',
    label: 'API key',
    help: 'Make a key in the settings of Notes.',
    helpUrl: 'https://notes.example.com/keys',
    tokenField: 'token',
    fields: [
      { name: 'token', label: 'Key', type: 'secret', pattern: '^[!-~\\u00a0-\\uffff\\s]{4,}$' },
      { name: 'workspace', label: 'Workspace', required: false, maxLength: 40 },
    ],
  };
  return {
    notes: {
      title: 'Notes',
      kind: 'api',
      port: notesPort,
      instancePrefix: 'nts',
      api,
      credentials: { scope: 'per-user', multiple: true, maxPerUser: 3, methods: [keyMethod] },
      userOverrides: {
        allow: true,
        keys: ['region', 'pin'],
        fields: [
          { name: 'region', label: 'Region', required: false, maxLength: 20 },
          { name: 'pin', label: 'Pin', type: 'secret', required: false },
        ],
      },
      adminConfig: { region: 'eu' },
    },
    plain: {
      title: 'Plain',
      kind: 'stdio',
      port: plainPort,
      instancePrefix: 'pln',
      stdio: { command: 'node' },
      credentials: {
        scope: 'none',
        multiple: false,
        methods: [{ id: 'none', type: 'none', label: 'Nothing' }],
      },
    },
    maybe: {
      title: 'Maybe',
      kind: 'api',
      port: maybePort,
      instancePrefix: 'mbe',
      api: {
        ...api,
        headers: { Authorization: { $userToken: 'Bearer {{token}}', omitIfEmpty: true } },
      },
      credentials: { scope: 'per-user-optional', methods: [keyMethod] },
    },
    // An admin sets one key for everybody.
    common: {
      title: 'Common',
      kind: 'api',
      port: commonPort,
      instancePrefix: 'cmn',
      api,
      credentials: { scope: 'shared', methods: [keyMethod] },
    },
    // Nothing listens on its port.
    away: {
      title: 'Away',
      kind: 'api',
      port: 1025,
      instancePrefix: 'awy',
      api,
      credentials: { scope: 'per-user', methods: [keyMethod] },
    },
    off: {
      title: 'Off',
      kind: 'api',
      enabled: false,
      port: 1026,
      instancePrefix: 'off',
      api,
      credentials: { scope: 'per-user', methods: [keyMethod] },
    },
    // For auditors only.
    ledger: {
      title: 'Ledger',
      kind: 'api',
      visibility: { roles: ['auditor'] },
      port: 1027,
      instancePrefix: 'ldg',
      api,
      credentials: { scope: 'per-user', methods: [keyMethod] },
    },
  };
}
