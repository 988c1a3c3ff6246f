import { request } from 'undici';

/** Opens a session of the legacy era and gives the headers that its calls carry. */
export async function openLegacySession(
  origin: string,
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const protocolVersion = '2025-11-25';
  const send = (body: object, more: Record<string, string> = {}) =>
    request(origin + path, { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) });
  const clientInfo = { name: 'bench', version: '1.0.0' };
  const params = { protocolVersion, capabilities: {}, clientInfo };
  const opened = await send({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
  const text = await opened.body.text();
  const sessionId = opened.headers['mcp-session-id'];
  if (opened.statusCode !== 200)
    throw new Error(`initialize was answered with ${opened.statusCode}: ${text}`);
  const session = {
    'mcp-protocol-version': protocolVersion,
    ...(typeof sessionId === 'string' ? { 'mcp-session-id': sessionId } : {}),
  };
  const noted = await send({ jsonrpc: '2.0', method: 'notifications/initialized' }, session);
  await noted.body.dump();
  return session;
}
