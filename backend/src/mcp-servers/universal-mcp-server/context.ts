/**
 * Puts one service process together: database, vault, audit, upstream, bridge, listener. Nothing listens yet when it
 * returns, and everything that it opened is closed by `close`.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Server, ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import type { Config } from '../../config/config.js';
import { readSecretFile } from '../../config/secrets.js';
import { createPool } from '../../database/pool.js';
import { clientAddressReader } from '../../lifecycle/clientAddress.js';
import { hostGuard } from '../../lifecycle/hostGuard.js';
import { createHttpServer } from '../../lifecycle/httpServer.js';
import { createSteadyClock } from '../../lifecycle/steadyClock.js';
import { startChangeFeed } from '../../services/changeFeed.js';
import { createCredentialOpener } from '../../services/credentialOpener.js';
import { readInstallKeys } from '../../services/installKeys.js';
import { createInstanceLookup } from '../../services/instanceLookup.js';
import { createInstanceResolver } from '../../services/instanceResolver.js';
import { createInstanceWatch } from '../../services/instanceWatch.js';
import { createSameGrant, isSameRevision } from '../../services/oauth/sameGrant.js';
import { createReadiness } from '../../services/readiness.js';
import { toMissingInstructions } from '../../services/setupInstructions.js';
import { startRingHeartbeat } from '../../services/ringHeartbeat.js';
import { openVaultGate } from '../../services/vaultKeys.js';
import { announceRegistryChange } from '../../stores/registryNotice.js';
import { readSystemDataKeys } from '../../stores/serviceSettingsStore.js';
import type { Logger } from '../../telemetry/logger.js';
import { createServiceMetrics, type ServiceMetrics } from '../../telemetry/metrics.js';
import { metricsAccess } from '../../telemetry/metricsAccess.js';
import { openCallAudit } from './callAudit.js';
import type { BridgeContext } from './bridge/bridgeContext.js';
import { createDailyCalls } from './bridge/dailyCalls.js';
import { createInstanceRooms } from './bridge/instanceRooms.js';
import { createLastLists } from './bridge/lastLists.js';
import { createLegacyBridge } from './bridge/legacyBridge.js';
import { createModernBridge } from './bridge/modernBridge.js';
import { createPassthrough } from './bridge/passthrough/passthrough.js';
import { openSessionJournal } from './bridge/sessionJournal.js';
import { createToolGate } from './bridge/toolPolicy.js';
import { pinTools } from './bridge/pinnedUpstream.js';
import { createMcpEndpoint } from './downstream/mcpEndpoint.js';
import { createOperations } from './downstream/operations.js';
import { createProbeEndpoint } from './downstream/probeEndpoint.js';
import { createRequestTurns } from './downstream/requestTurns.js';
import { createServiceHandler } from './downstream/serviceHandler.js';
import { createSseTransport } from './downstream/sseTransport.js';
import { createStreamPlaces } from './downstream/streamPlaces.js';
import { createStrangerLimits } from './downstream/strangerLimits.js';
import { createCircuits } from './upstream/circuits.js';
import { createAuditUse } from './upstream/credentialUses.js';
import { createEraKeys } from './upstream/eraKeys.js';
import { createEraRegistry } from './upstream/eraRegistry.js';
import { createUpstream, type KindUpstream } from './upstream/createUpstream.js';
import { toIsolationCheck } from './upstream/stdio/isolation/serviceIsolation.js';
import { openAccess } from './openAccess.js';
import { openTokenRenewal } from './tokenRenewals.js';
import { refreshGauges } from './refreshGauges.js';
import { recordState } from './recordState.js';
import { createUseNotes } from './useNotes.js';

export interface ServiceProcess {
  readonly server: Server;
  readonly kindUpstream: KindUpstream;
  readonly metrics: Pick<ServiceMetrics, 'orphans'>;
  /** Tells the other programs that this service runs, with its files as they are now (P07). */
  announce(): Promise<void>;
  /** Says on every stream that can hear it that it is over. */
  endStreams(): void;
  /** Ends what no request holds any more: streams, children, audit, database. */
  close(): Promise<void>;
}

export interface ServiceProcessOptions {
  readonly config: Config;
  readonly definition: ServiceDefinition;
  readonly log: Logger;
  /** What the drain knows; it is made after the server. */
  readonly lifecycle: { isDraining(): boolean; markStream(response: ServerResponse): void };
}

export async function createServiceProcess(options: ServiceProcessOptions): Promise<ServiceProcess> {
  const { config, definition, log, lifecycle } = options;
  const { name: service } = definition;
  const now = createSteadyClock();
  const metrics = createServiceMetrics(service);
  const connectionString = readSecretFile(
    config.databaseUrlFile('service'),
    'the connection string of the role service',
  );
  const pool = createPool({
    connectionString,
    applicationName: `portolan-mcp-${service}`,
    connectionsMax: 4,
    onIdleError: (error) => log.warn('an idle database connection broke', { error }),
  });
  metrics.watchPool(() => pool.counts());
  const changes = startChangeFeed({
    connectionString,
    applicationName: `portolan-mcp-${service}-listen`,
    onConnection: (isUp, cause) =>
      isUp
        ? log.info('listening for changes')
        : log.warn('the listening connection was lost', { error: cause }),
  });
  const vault = await openVaultGate({
    readRing: () => readSecretFile(config.paths.keyRing, 'the key ring (KEYRING_FILE)'),
    readInstallKeys: () => readInstallKeys(pool),
    onChange: (isOpen, reason) =>
      isOpen ? log.info('the vault is open') : log.warn('the vault is sealed', { error: reason }),
  });
  const heartbeat = startRingHeartbeat({
    db: pool,
    vault,
    program: `mcp-${service}`,
    onFault: (error) => log.warn('the key ring could not be told of', { error }),
  });
  const lookup = createInstanceLookup(pool, definition.credentials.scope);
  const resolver = createInstanceResolver({ vault, lookup, changes });
  const opener = createCredentialOpener({ definition, vault, changes });
  const watch = createInstanceWatch({ resolver, changes });
  const access = openAccess({ config, definition, pool, vault, changes });
  const audit = openCallAudit({ config, definition, pool, vault, log, metrics });
  const uses = createUseNotes(pool, log);
  const setup = toMissingInstructions(definition, config.publicUrl);
  const renewal = await openTokenRenewal({
    definition,
    setup,
    opener,
    lookup,
    changes,
    pool,
    log,
    spool: audit.spool,
    now,
  });
  const eras = createEraRegistry({ service, db: pool, log, now });
  const circuits = createCircuits();
  // A child holds the access token that it was started with; all others open it with each message.
  const isHeldByChildren = definition.kind === 'stdio' || definition.kind === 'docker';
  const mayGoOn = isHeldByChildren ? isSameRevision : createSameGrant(definition, opener);
  const kindUpstream = await createUpstream(definition, {
    config,
    log,
    eras,
    circuits,
    eraKeys: createEraKeys(vault),
    openValues: renewal?.openValues ?? ((instance) => opener.open(instance)),
    mayGoOn,
    renewal,
    auditUse: createAuditUse({ spool: audit.spool, newId: randomUUID }),
    recordState: (note) => void recordState(pool, service, note, log),
  });
  const daily = createDailyCalls({
    definition,
    db: pool,
    log,
    onRefused: () => metrics.rateLimited('daily-calls').inc(),
  });
  const { pins, upstream } = pinTools(kindUpstream.upstream, {
    definition,
    db: pool,
    changes,
    log,
    spool: audit.spool,
    newId: randomUUID,
  });
  const ctx: BridgeContext = {
    definition,
    upstream,
    raw: kindUpstream.kind === 'remote' ? kindUpstream.upstream.raw : null,
    gate: createToolGate(definition.toolPolicy),
    pins,
    openValues: renewal?.openValues ?? ((instance) => opener.open(instance)),
    mayGoOn,
    watch,
    vault,
    spool: audit.spool,
    lists: createLastLists(pool, service, log),
    setup,
    journal: openSessionJournal(join(config.paths.stateDir, 'sessions', `${service}.ndjson`), now),
    metrics,
    log,
    daily,
    noteUse: (instanceId) => uses.note(instanceId),
    now,
    newId: randomUUID,
    randomBytes,
  };
  const rooms = createInstanceRooms(ctx);
  const legacy = createLegacyBridge(ctx, rooms);
  const modern = createModernBridge(ctx, rooms);
  const passthrough = createPassthrough(ctx, rooms);
  const onStream = (response: ServerResponse): void => {
    lifecycle.markStream(response);
    metrics.openStreams.inc();
    response.once('close', () => metrics.openStreams.dec());
  };
  const places = createStreamPlaces((scope) => metrics.rateLimited(scope).inc());
  const frontKey = existsSync(config.paths.frontKey)
    ? Buffer.from(readSecretFile(config.paths.frontKey, 'the front key').reveal(), 'base64')
    : null;
  const handler = createServiceHandler({
    ctx,
    resolver,
    guard: hostGuard(config),
    strangers: createStrangerLimits(),
    gate: access.gate,
    turns: createRequestTurns(),
    clientAddress: clientAddressReader({ frontKey, trustProxy: config.trustProxy }),
    allowedOrigins: config.allowedOrigins,
    answerOperation: createOperations({
      service,
      readiness: createReadiness({
        db: pool,
        vault,
        projectRoot: config.projectRoot,
        isDraining: () => lifecycle.isDraining(),
        isolation: kindUpstream.kind === 'stdio' ? toIsolationCheck(kindUpstream.upstream.isolation) : null,
      }),
      metricsAccess: metricsAccess({ tokenFile: config.paths.metricsToken, isOpen: config.metricsOpen }),
      registry: metrics.registry,
      refreshGauges: () => refreshGauges(kindUpstream, circuits, metrics),
      uptimeSeconds: () => process.uptime(),
    }),
    answerInternal: createProbeEndpoint({
      bridge: ctx,
      resolver,
      readSystemDataKeys: () => readSystemDataKeys(pool),
      openOnce: (instance) => opener.openOnce(instance),
      onChanged: (instanceId) => changes.tell({ kind: 'instance', instanceId }),
      jwtPublicKeys: config.paths.jwtPublicKeys,
    }),
    answerSse: createSseTransport({
      ctx,
      legacy,
      publicPath: config.publicUrl.pathname.replace(/\/$/, ''),
      onStream,
      places,
    }),
    answerMcp: createMcpEndpoint({ ctx, legacy, modern, passthrough, onStream, places }),
    answerRest: await createRest(ctx, rooms, kindUpstream),
  });

  return {
    server: createHttpServer(handler),
    kindUpstream,
    metrics,
    async announce() {
      try {
        await announceRegistryChange(pool, service);
      } catch (error) {
        // Whoever cannot hear it now reads the registry when the database is back.
        log.warn('the other programs were not told of this service', { error });
      }
    },
    endStreams: () => modern.endStreams(),
    async close() {
      modern[Symbol.dispose]();
      rooms[Symbol.dispose]();
      passthrough?.[Symbol.dispose]();
      pins?.[Symbol.dispose]();
      await kindUpstream.upstream[Symbol.asyncDispose]();
      await eras[Symbol.asyncDispose]();
      await renewal?.[Symbol.asyncDispose]();
      access[Symbol.dispose]();
      watch[Symbol.dispose]();
      opener[Symbol.dispose]();
      resolver[Symbol.dispose]();
      await heartbeat[Symbol.asyncDispose]();
      vault[Symbol.dispose]();
      await uses.close();
      await daily.close();
      await audit.close();
      await changes[Symbol.asyncDispose]();
      await pool.close();
    },
  };
}

async function createRest(
  ctx: BridgeContext,
  rooms: ReturnType<typeof createInstanceRooms>,
  { kind, upstream }: KindUpstream,
) {
  if (kind !== 'api') return null;
  const { createRestRoute } = await import('./downstream/restRoute.js');
  return createRestRoute(ctx, rooms, upstream);
}
