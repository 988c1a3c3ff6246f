/** All routes of the main API, in the order in which they are matched: what is literal stands before what has parameters. */
import type { AppContext } from './context.js';
import type { Route } from './defineRoute.js';
import { toOpenApiDocument, type OpenApiDocument } from './openApiDocument.js';
import { createAccessKeysRoutes } from './routes/accessKeysRoutes.js';
import { createAuditRoutes } from './routes/auditRoutes.js';
import { createAuthRoutes } from './routes/authRoutes.js';
import { createCatalogRoutes } from './routes/catalogRoutes.js';
import { createCredentialsRoutes } from './routes/credentialsRoutes.js';
import { createHealthRoutes } from './routes/healthRoutes.js';
import { createInstancesRoutes } from './routes/instancesRoutes.js';
import { createMeRoutes } from './routes/meRoutes.js';
import { createOAuthRoutes } from './routes/oauthRoutes.js';
import { createReferenceRoutes } from './routes/referenceRoutes.js';
import { createSharedCredentialRoutes } from './routes/sharedCredentialRoutes.js';
import { createToolPinsRoutes } from './routes/toolPinsRoutes.js';
import { createUsersRoutes } from './routes/usersRoutes.js';

export interface Routes {
  readonly routes: readonly Route[];
  /** The OpenAPI document of exactly these routes, made when it is first asked for. */
  readonly document: () => OpenApiDocument;
}

export function createRoutes(ctx: AppContext): Routes {
  let made: OpenApiDocument | null = null;
  const document = (): OpenApiDocument => (made ??= toOpenApiDocument(routes));
  const routes: readonly Route[] = [
    ...createHealthRoutes(ctx),
    ...createReferenceRoutes(document),
    ...createAuthRoutes(ctx),
    ...createMeRoutes(ctx),
    ...createUsersRoutes(ctx),
    ...createCatalogRoutes(ctx),
    ...createInstancesRoutes(ctx),
    ...createAccessKeysRoutes(ctx),
    ...createCredentialsRoutes(ctx),
    ...createSharedCredentialRoutes(ctx),
    ...createToolPinsRoutes(ctx),
    ...createOAuthRoutes(ctx),
    ...createAuditRoutes(ctx),
  ];
  return { routes, document };
}
