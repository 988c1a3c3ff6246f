import { expect, it } from '@jest/globals';
import { FrameRelay } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/frames/frameRelay.js';
import type { ByteReply } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/reply.js';
import { readFrame } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/sseFrames.js';

it('keeps an event whole whose data of several lines is put in the place of its own', () => {
  const written: Buffer[] = [];
  const reply = {
    write(piece: Buffer) {
      written.push(piece);
      return true;
    },
  } as unknown as ByteReply;
  const relay = new FrameRelay(reply, 1_000, (data) =>
    Buffer.from(data.toString().replace('public', 'private')),
  );
  relay.push(Buffer.from('id: 7\ndata: {\ndata: "cacheScope": "public"\ndata: }\n\n'));
  const { id, data } = readFrame(Buffer.concat(written));
  expect([id, data?.toString()]).toEqual(['7', '{\n"cacheScope": "private"\n}']);
});
