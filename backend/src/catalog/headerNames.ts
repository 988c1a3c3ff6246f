/**
 * Header names that a config may not set (E09): they frame the message, belong to one hop (RFC 9110 §7.6.1), speak for
 * a proxy, or are MCP's own, which the transport writes.
 */
const denied = new Set([
  'host',
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'content-length',
  'content-encoding',
  'upgrade',
  'expect',
  'http2-settings',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'forwarded',
  'via',
  'set-cookie',
  'last-event-id',
]);

export function isDeniedHeaderName(name: string): boolean {
  const lower = name.toLowerCase();
  return (
    denied.has(lower) ||
    /^(?:mcp-(?:session-id|protocol-version|method|name|param-)|x-forwarded-|sec-|access-control-)/.test(
      lower,
    )
  );
}
