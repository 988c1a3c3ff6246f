/** The features of a modern server over stdio, in revision 2026-07-28 only; a program that tests start as a child. */
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { createModernFeatures } from './modernFeatures.js';

const cancelled: string[] = [];

serveStdio(
  () => {
    const server = createModernFeatures({
      cancelled,
      changes: () => ({
        resourceUpdated: (uri) => void server.sendResourceUpdated({ uri }),
        toolsChanged: () => void server.sendToolListChanged(),
      }),
    });
    return server;
  },
  { legacy: 'reject' },
);
