/**
 * The upstream of a service, by its kind: one closed union. Only what the kind needs is loaded, for a service process has
 * to start in milliseconds and stay small.
 */
import type { ServiceDefinition } from '../../../catalog/serviceDefinition.js';
import type { Config } from '../../../config/config.js';
import { readReferencedEnv } from '../../../config/env.js';
import { AppError } from '../../../errors/appError.js';
import type { Logger } from '../../../telemetry/logger.js';
import type { ApiUpstream } from './api/apiUpstream.js';
import type { AuditUse } from './credentialUses.js';
import type { CredentialRenewal } from './credentialRenewal.js';
import type { StateNote } from './stateNotes.js';
import type { Circuits } from './circuits.js';
import type { EraKeys } from './eraKeys.js';
import type { EraRegistry } from './eraRegistry.js';
import type { MayGoOn } from '../../../services/oauth/sameGrant.js';
import type { OpenValues } from './remote/rawUpstream.js';
import type { RemoteUpstream } from './remote/remoteUpstream.js';
import type { StdioUpstream } from './stdio/stdioUpstream.js';

export type KindUpstream =
  | { readonly kind: 'api'; readonly upstream: ApiUpstream }
  | { readonly kind: 'stdio'; readonly upstream: StdioUpstream }
  /** At a URL: `streamable-http` and `sse`. */
  | { readonly kind: 'remote'; readonly upstream: RemoteUpstream };

export interface CreateUpstreamOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly recordState: (note: StateNote) => void;
  /** Which eras upstreams speak, for kinds that may speak either. */
  readonly eras: EraRegistry;
  readonly eraKeys: EraKeys;
  /** Of the hosts that are called from here, and of the instances for which they are. */
  readonly circuits: Circuits;
  /** @throws AppError CREDENTIAL_MISSING, CREDENTIAL_UNREADABLE, SEALED */
  readonly openValues: OpenValues;
  /** Whether what is open for an instance may go on as it is now. */
  readonly mayGoOn: MayGoOn;
  /** Null where no credential can be renewed without its owner. */
  readonly renewal: CredentialRenewal | null;
  /** Audits what is asked of an upstream on nobody's behalf. */
  readonly auditUse: AuditUse;
}

/** @throws AppError CONFIG_INVALID for a kind that has no upstream yet. */
export async function createUpstream(
  definition: ServiceDefinition,
  {
    config,
    log,
    recordState,
    renewal,
    eras,
    eraKeys,
    circuits,
    openValues,
    mayGoOn,
    auditUse,
  }: CreateUpstreamOptions,
): Promise<KindUpstream> {
  const { paths, projectRoot, publicUrl, service } = config;
  switch (definition.kind) {
    case 'api': {
      const { createApiUpstream } = await import('./api/apiUpstream.js');
      const options = {
        definition,
        stateDir: paths.stateDir,
        publicUrl,
        recordState,
        renewal,
        circuits,
        log,
      };
      return { kind: 'api', upstream: await createApiUpstream(options) };
    }
    case 'stdio': {
      const { createStdioUpstream } = await import('./stdio/stdioUpstream.js');
      const { openIsolation } = await import('./stdio/isolation/openIsolation.js');
      const { stateDir, instanceDataDir, packagesDir } = paths;
      const places = { stateDir, instanceDataDir, packagesDir, projectRoot, inheritedEnv: readReferencedEnv };
      const mode = service?.mode ?? 'shared';
      const remembered = { registry: eras, key: () => eraKeys.ofCommand(...commandOf(definition)) };
      const isolation = await openIsolation({ config, definition, log });
      const options = { definition, mode, places, log, isolation, eras: remembered };
      return { kind: 'stdio', upstream: createStdioUpstream(options) };
    }
    case 'sse':
    case 'streamable-http': {
      const { createRemoteUpstream } = await import('./remote/remoteUpstream.js');
      const options = {
        definition,
        openValues,
        mayGoOn,
        eras,
        eraKeys,
        circuits,
        recordState,
        renewal,
        auditUse,
        log,
      };
      return { kind: 'remote', upstream: createRemoteUpstream(options) };
    }
    case 'docker':
      throw new AppError(
        'CONFIG_INVALID',
        `services of kind ${definition.kind} are not offered in this release`,
      );
  }
}

/** What a command speaks does not hang on who is served: one verdict for all instances, by the command as declared. */
function commandOf({ name, stdio }: ServiceDefinition): Parameters<EraKeys['ofCommand']> {
  const { command = name, args = [], package: reference = null } = stdio ?? {};
  const nobody = { id: '', service: name, credentialRevision: 0, overridesRevision: 0 };
  return [
    { command, args: args.map((arg) => JSON.stringify(arg)), version: reference?.version ?? null },
    nobody,
  ];
}
