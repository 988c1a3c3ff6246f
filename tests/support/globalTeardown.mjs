/** Ends the PostgreSQL that `globalSetup` started. */
export default async function globalTeardown() {
  await globalThis.testCluster?.[Symbol.asyncDispose]();
}
