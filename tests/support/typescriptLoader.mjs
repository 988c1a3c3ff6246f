// `node --import …/typescriptLoader.mjs file.ts` runs TypeScript from source.
import { register } from 'node:module';

register('./typescriptHooks.mjs', import.meta.url);
