/**
 * Writes the OpenAPI document of the main API. Without a path it goes where the service `portolan` reads it, in the
 * state directory; with `--check` and no path the committed copy is meant.
 *
 *   openapi                          writes <state dir>/generated/portolan-openapi.json
 *   openapi docs/api/openapi.json    writes the committed copy
 *   openapi --check                  fails unless the committed copy is what the routes say
 *
 * The routes are the real ones, over parts that are never used: nothing is opened or connected.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../backend/src/config/config.js';
import { readEnv } from '../backend/src/config/env.js';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { checkOpenApiDocument, writeOpenApiDocument } from './openapi/openApiFile.js';

const projectRoot = findProjectRoot();
const committed = join('docs', 'api', 'openapi.json');
const { values, positionals } = parseArgs({
  options: { check: { type: 'boolean' } },
  allowPositionals: true,
});
const [path, ...others] = positionals;

if (others.length > 0) {
  console.error('usage: openapi [file] [--check]');
  process.exitCode = 2;
} else if (values.check === true) {
  if (!checkOpenApiDocument(projectRoot, path ?? join(projectRoot, committed))) {
    console.error(
      `the document is not what the routes say; run: node dist/scripts/openapi.js ${path ?? committed}`,
    );
    process.exitCode = 1;
  }
} else {
  const { paths } = loadConfig(readEnv(), projectRoot);
  writeOpenApiDocument(projectRoot, path ?? paths.openApiDocument);
}
