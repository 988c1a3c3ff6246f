/** A client that loses its GET stream and comes back with the id of the last event hears what it missed (2025-11-25). */
import { expect } from '@jest/globals';
import type { IncomingMessage } from 'node:http';
import { waitUntil } from '../support/eventually.js';
import { initialize, startRequest } from '../support/mcpHttp.js';

const changed = 'notifications/tools/list_changed';

export async function resumeStream(url: string): Promise<void> {
  const session = await initialize(url);
  const change = () => session.call('test_trigger_tool_change');
  const first = await openStream(url, session.headers);
  await change();
  await waitUntil('the change on the first stream', () => first.events().some(isChange), 3_000);
  first.close();
  const lastEventId = first.events().findLast(isChange)?.id;
  expect(lastEventId).not.toBeUndefined();

  // Nobody listens now.
  await change();
  await change();
  const second = await openStream(url, { ...session.headers, 'last-event-id': lastEventId ?? '' });
  try {
    await waitUntil('what was missed', () => second.events().filter(isChange).length === 2, 3_000);
  } finally {
    second.close();
  }
}

interface StreamEvent {
  readonly id: string | undefined;
  readonly data: string;
}

const isChange = ({ data }: StreamEvent): boolean => data.includes(changed);

async function openStream(url: string, headers: Readonly<Record<string, string>>) {
  const { request, response } = startRequest(url, {
    method: 'GET',
    headers: { ...headers, accept: 'text/event-stream' },
  });
  const message: IncomingMessage = await response;
  expect(message.statusCode).toBe(200);
  let text = '';
  message.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
  message.on('error', () => undefined);
  request.on('error', () => undefined);
  return {
    events: (): StreamEvent[] =>
      text
        .split('\n\n')
        .slice(0, -1)
        .map((frame) => ({
          id: /^id: ?(.*)$/m.exec(frame)?.[1],
          data: /^data: ?(.*)$/m.exec(frame)?.[1] ?? '',
        })),
    close: () => request.destroy(),
  };
}
