import type { RequestHandler } from 'express';
import { hostGuard } from '../lifecycle/hostGuard.js';
import type { Config } from '../config/config.js';

/** Refuses foreign Host and Origin headers before anything else looks at the request (07 C01–C03). */
export function requireKnownHost(config: Pick<Config, 'allowedHosts' | 'allowedOrigins'>): RequestHandler {
  const refuse = hostGuard(config);
  return (request, _response, next) => {
    const refusal = refuse(request.headers);
    if (refusal !== null) throw refusal;
    next();
  };
}
