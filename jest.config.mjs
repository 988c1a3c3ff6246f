// One jest project for each speed and need of tests; `npm test` runs `rooms` and `e2e`, `.ci/run` the rest as well.
const base = {
  rootDir: import.meta.dirname,
  testEnvironment: '<rootDir>/tests/support/nodeEnvironment.mjs',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/var/'],
  globalSetup: '<rootDir>/tests/support/globalSetup.mjs',
  globalTeardown: '<rootDir>/tests/support/globalTeardown.mjs',
  setupFilesAfterEnv: ['<rootDir>/tests/support/afterEachFile.ts'],
};

const slow = ['e2e', 'attack', 'faults', 'node24', 'conformance', 'interop'];
const only = (folder) => ({
  ...base,
  displayName: folder,
  testMatch: [`<rootDir>/tests/${folder}/**/*.test.ts`],
});

export default {
  maxWorkers: 2,
  // Processes are real and cores are shared; what promises to be quick measures itself.
  testTimeout: 20_000,
  projects: [
    {
      ...base,
      displayName: 'rooms',
      testMatch: ['<rootDir>/tests/**/*.test.ts'],
      testPathIgnorePatterns: slow.map((folder) => `<rootDir>/tests/${folder}/`),
    },
    ...slow.map(only),
  ],
};
