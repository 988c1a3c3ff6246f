/** Everything that follows from mcp-ports and from our own routes: PM2 configuration, OpenAPI document, packages. */
import type { Config } from '../../backend/src/config/config.js';
import { runProgram } from './runProgram.js';

/** The steps do not wait for each other; what changed nothing says nothing. */
export async function generateAll(config: Config, log: (line: string) => void): Promise<void> {
  const run = (name: string) => runProgram(config.projectRoot, name);
  const [generated, document, packages] = await Promise.all([
    run('generate-pm2-config'),
    run('openapi'),
    run('install-packages'),
  ]);
  if (generated.code !== 0) throw new Error(`generating the PM2 configuration failed\n${generated.output}`);
  if (!/nothing changed/.test(generated.output)) logAll(generated.output, log);
  if (document.code !== 0) throw new Error(`writing the OpenAPI document failed\n${document.output}`);
  // A service whose package is not there says so itself when it is called; the others need not wait for it.
  if (packages.code !== 0) logAll(packages.output, log);
}

function logAll(text: string, log: (line: string) => void): void {
  for (const line of text.split('\n')) log(line);
}
