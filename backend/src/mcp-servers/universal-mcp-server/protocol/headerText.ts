/** Header text that is no plain ASCII comes as `=?base64?…?=`; null when that is not base64 of UTF-8. */
export function decodeHeaderText(value: string): string | null {
  const text = value.trim();
  const encoded = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/.exec(text)?.[1];
  if (encoded === undefined) return text.startsWith('=?base64?') && text.endsWith('?=') ? null : text;
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.toString('base64') !== encoded) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
