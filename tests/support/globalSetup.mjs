import { register } from 'node:module';

register('./typescriptHooks.mjs', import.meta.url);

/** Starts one PostgreSQL for the whole run; the workers inherit where it is. */
export default async function globalSetup() {
  const { clusterVariable, startTestCluster } = await import('./testCluster.ts');
  globalThis.testCluster = await startTestCluster(process.env.TEST_DATABASE_URL);
  process.env[clusterVariable] = globalThis.testCluster.stateDir;
}
