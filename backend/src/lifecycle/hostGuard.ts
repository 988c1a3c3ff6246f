/**
 * The guard in front of every listener, against DNS rebinding and foreign pages: the Host must be one of ours (else
 * 421), an Origin, where a browser sends one, must be listed exactly (else 403). No Origin is allowed: only browsers
 * send it (MCP "Transports", security warning; spec cases C01, C02).
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../config/config.js';
import { AppError } from '../errors/appError.js';

export type HostGuard = (headers: IncomingHttpHeaders) => AppError | null;

/** The returned function gives the refusal, or null when the request may pass. */
export function hostGuard(config: Pick<Config, 'allowedHosts' | 'allowedOrigins'>): HostGuard {
  const hosts = new Set(config.allowedHosts);
  const origins = new Set(config.allowedOrigins);
  // The same few Host texts come again and again; only those that passed are remembered, so the set stays small.
  const passed = new Set<string>();

  const isListed = (host: string): boolean => {
    const name = hostNameOf(host);
    if (name === null || !hosts.has(name)) return false;
    if (passed.size < 64) passed.add(host);
    return true;
  };

  return (headers) => {
    const { host, origin } = headers;
    if (host === undefined || !(passed.has(host) || isListed(host))) {
      return new AppError('HOST_NOT_ALLOWED', 'the Host header is not on the list');
    }
    if (origin !== undefined && !origins.has(origin)) {
      return new AppError('ORIGIN_NOT_ALLOWED', 'the Origin header is not on the list');
    }
    return null;
  };
}

/** The name without its port, lower case; null when the text is no host (RFC 9110 §7.2). */
function hostNameOf(host: string): string | null {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i.exec(host);
  return match?.[1]?.toLowerCase() ?? null;
}
