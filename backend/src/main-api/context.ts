/**
 * Builds everything that the main API's routes use, once, from what `main.ts` opened. Nothing here reads a file or
 * connects: whoever takes a slice of the context takes finished parts.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { ServiceRegistry } from '../catalog/serviceRegistry.js';
import type { Config } from '../config/config.js';
import type { DatabasePool } from '../database/pool.js';
import { createAuditReader, type AuditReader } from '../services/audit/auditReader.js';
import { createAccessTokens } from '../services/accessTokens.js';
import { createApiKeys, type ApiKeys } from '../services/apiKeys.js';
import { createCatalogReader, type CatalogReader } from '../services/catalogReader.js';
import { createCheckCache } from '../services/checkCache.js';
import { createCredentialVault } from '../services/credentialVault.js';
import { createFirstAdminSetup, type FirstAdmin } from '../services/firstAdmin.js';
import { createSteadyClock } from '../lifecycle/steadyClock.js';
import { createInstanceManager, type InstanceManager } from '../services/instanceManager/instanceManager.js';
import type { ChangeSource } from '../services/instanceResolver.js';
import { signInternalCall } from '../services/internalCalls.js';
import { createInvites, type Invites } from '../services/invites.js';
import type { SigningKeys } from '../services/jwtKeys.js';
import { createSignIns, toRedirectUri, type SignIns } from '../services/oauth/signIns.js';
import { createPasswords } from '../services/passwords.js';
import { createChangeNotices } from '../services/changeNotices.js';
import { createProbeClient } from '../services/probeClient.js';
import { createRateLimits, type LimitOverrides, type RateLimits } from '../services/rateLimits.js';
import { createReadiness, type Readiness } from '../services/readiness.js';
import { createServiceAvailability } from '../services/serviceAvailability.js';
import { createSessions, type Sessions } from '../services/sessions.js';
import { createSetupCode } from '../services/setupCode.js';
import { createSharedCredentials, type SharedCredentials } from '../services/sharedCredentials.js';
import { createToolReviews, type ToolReviews } from '../services/toolPins/toolReviews.js';
import { createUsers, type Users } from '../services/users.js';
import type { VaultGate } from '../services/vaultKeys.js';
import type { ApiKeyCheck } from '../stores/apiKeysStore.js';
import type { SessionCheck } from '../stores/sessionsStore.js';
import type { Logger } from '../telemetry/logger.js';
import type { MainApiMetrics } from '../telemetry/metrics.js';

/** What the program opened, and will close. */
export interface Resources {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: MainApiMetrics;
  /** Role `portolan_api`. */
  readonly pool: DatabasePool;
  readonly vault: VaultGate;
  readonly registry: ServiceRegistry;
  readonly changes: ChangeSource;
  readonly signingKeys: SigningKeys;
  readonly isDraining: () => boolean;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  readonly limits?: LimitOverrides;
}

export interface AppContext extends AsyncDisposable {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: MainApiMetrics;
  readonly pool: DatabasePool;
  readonly now: () => number;
  readonly rateLimits: RateLimits;
  readonly sessions: Sessions;
  readonly apiKeys: ApiKeys;
  readonly users: Users;
  readonly invites: Invites;
  readonly firstAdmin: FirstAdmin;
  readonly instanceManager: InstanceManager;
  readonly sharedCredentials: SharedCredentials;
  readonly toolReviews: ToolReviews;
  readonly signIns: SignIns;
  readonly catalogReader: CatalogReader;
  readonly auditReader: AuditReader;
  readonly readiness: Readiness;
}

export function createContext(resources: Resources): AppContext {
  const { config, log, metrics, pool, vault, registry, changes, signingKeys, isDraining } = resources;
  const now = resources.now ?? createSteadyClock();
  const newId = randomUUID;
  const passwords = createPasswords();
  const rateLimits = createRateLimits({
    pool,
    ...(resources.limits === undefined ? {} : { points: resources.limits }),
    onRefused: (name) => metrics.rateLimited(name).inc(),
  });
  const sessionChecks = createCheckCache<SessionCheck>(changes);
  const keyChecks = createCheckCache<ApiKeyCheck>(changes);
  const forgetUser = (userId: string): void => {
    sessionChecks.forgetUser(userId);
    keyChecks.forgetUser(userId);
  };
  const probes = createProbeClient({ config, sign: (call) => signInternalCall(signingKeys, call) });
  const notices = createChangeNotices({ config, sign: (call) => signInternalCall(signingKeys, call) });
  const credentialVault = createCredentialVault(vault);
  const instanceParts = {
    pool,
    registry,
    vault: credentialVault,
    probes,
    notices,
    publicUrl: config.publicUrl,
    accessModeMinimum: config.accessModeMinimum,
    now,
  };

  return {
    config,
    log,
    metrics,
    pool,
    now,
    rateLimits,
    sessions: createSessions({
      pool,
      accessTokens: createAccessTokens({ keys: signingKeys, issuer: config.publicUrl.origin, now, newId }),
      passwords,
      rateLimits,
      checks: sessionChecks,
      now,
      newId,
      randomBytes,
    }),
    apiKeys: createApiKeys({ pool, checks: keyChecks, now, newId, randomBytes }),
    users: createUsers({ pool, passwords, rateLimits, newId, forgetUser }),
    invites: createInvites({ pool, passwords, now, newId, randomBytes }),
    firstAdmin: createFirstAdminSetup({
      pool,
      passwords,
      // By the clock that dates files.
      setupCode: createSetupCode({
        path: config.paths.setupCode,
        randomBytes,
        now: resources.now ?? Date.now,
      }),
      newId,
      onIssued: () => log.info('a new set-up code lies in the state directory, in the file setup-code'),
    }),
    instanceManager: createInstanceManager(instanceParts),
    sharedCredentials: createSharedCredentials({ ...instanceParts, newId }),
    toolReviews: createToolReviews(instanceParts),
    signIns: createSignIns({
      ...instanceParts,
      newId,
      randomBytes,
      redirectUri: toRedirectUri(config.publicUrl),
      onFault: (error) => log.error('a sign-in with a service failed', { error }),
    }),
    catalogReader: createCatalogReader({
      pool,
      registry,
      availability: createServiceAvailability({
        db: pool,
        registry,
        monitorIntervalMs: config.monitorIntervalMs,
        now,
      }),
    }),
    auditReader: createAuditReader({ pool }),
    readiness: createReadiness({ db: pool, vault, projectRoot: config.projectRoot, isDraining }),
    async [Symbol.asyncDispose]() {
      sessionChecks[Symbol.dispose]();
      keyChecks[Symbol.dispose]();
      await Promise.all([probes[Symbol.asyncDispose](), notices[Symbol.asyncDispose]()]);
    },
  };
}
