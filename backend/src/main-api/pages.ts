/**
 * The static files: the console at `/`, and the scripts of the API reference. Nothing comes from elsewhere, and the
 * content security policy allows nothing else.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import express, { type RequestHandler, type Router } from 'express';
import helmet from 'helmet';
import type { Config } from '../config/config.js';

const referenceFiles = new Set(['/swagger-ui.css', '/swagger-ui-bundle.js']);
const consoleFiles = new Set(
  [
    'console.css',
    'icon.svg',
    'console.js',
    'api.js',
    'dom.js',
    'signIn.js',
    'catalog.js',
    'connections.js',
    'account.js',
  ].map((name) => `/${name}`),
);

/** Answers the pages' own paths and leaves every other to the routes. */
export function createPages({ projectRoot, publicUrl }: Pick<Config, 'projectRoot' | 'publicUrl'>): Router {
  const router = express.Router({ caseSensitive: true, strict: true });
  const consoleDir = join(projectRoot, 'console');
  const swaggerDir = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  // The console's addresses are relative to this, so that it works under a path and below `/console/…`.
  const base = `${publicUrl.pathname.replace(/\/$/, '')}/`;
  const index = readFileSync(join(consoleDir, 'index.html'), 'utf8').replace(
    '<base href="/" />',
    `<base href="${base}" />`,
  );

  const showConsole: RequestHandler = (_request, response) => {
    response.setHeader('cache-control', 'no-cache');
    response.type('html').send(index);
  };
  router.get(['/', '/console', '/console/*path'], showConsole);
  router.use(only(consoleFiles, express.static(consoleDir, staticOptions)));
  router.use('/api/v1/docs', only(referenceFiles, express.static(swaggerDir, staticOptions)));
  router.get('/api/v1/docs/reference.js', (_request, response) => {
    response.type('js').send(referenceScript);
  });
  return router;
}

/** helmet's headers, with a policy under which the console and the reference run and nothing else does. */
export function securityHeaders({ publicUrl }: Pick<Config, 'publicUrl'>): RequestHandler {
  const isHttps = publicUrl.protocol === 'https:';
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'", 'data:'],
        connectSrc: ["'self'"],
        formAction: ["'self'"],
        baseUri: ["'self'"],
        frameAncestors: ["'none'"],
        ...(isHttps ? { upgradeInsecureRequests: [] } : {}),
      },
    },
    strictTransportSecurity: isHttps ? { maxAge: 31_536_000, includeSubDomains: false } : false,
    referrerPolicy: { policy: 'no-referrer' },
    xFrameOptions: { action: 'deny' },
  });
}

const staticOptions = {
  index: false,
  dotfiles: 'ignore',
  redirect: false,
  cacheControl: true,
  maxAge: 0,
} as const;

/** The folder holds more than is meant for browsers. */
function only(paths: ReadonlySet<string>, serve: RequestHandler): RequestHandler {
  return (request, response, next) => (paths.has(request.path) ? serve(request, response, next) : next());
}

const referenceScript = `SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#reference',
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
});
`;
