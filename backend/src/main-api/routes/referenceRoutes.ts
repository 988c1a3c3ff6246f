/** The API's own description: the OpenAPI document, and a page that shows it. */
import { z } from 'zod';
import { defineRoute, type Route } from '../defineRoute.js';
import type { OpenApiDocument } from '../openApiDocument.js';

const tags = ['Reference'];

/** @param getDocument the document of all routes, these included. */
export function createReferenceRoutes(getDocument: () => OpenApiDocument): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/v1/openapi.json',
      operationId: 'get_openapi_document',
      summary: 'Read the OpenAPI 3.1 document',
      tags,
      auth: 'none',
      responses: { 200: { description: 'The document.', schema: z.looseObject({ openapi: z.string() }) } },
      async handle() {
        return { status: 200, body: { ...getDocument() } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/docs',
      operationId: 'get_api_reference',
      summary: 'Show the API reference',
      tags,
      auth: 'none',
      responses: {
        200: { description: 'A page.', schema: z.string(), contentType: 'text/html; charset=utf-8' },
      },
      async handle() {
        return { status: 200, body: page };
      },
    }),
  ];
}

/** Addresses are relative, so that the page works under a path of its own. */
const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Portolan API reference</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<noscript>The reference needs JavaScript; the document itself is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js" defer></script>
<script src="docs/reference.js" defer></script>
</body>
</html>
`;
