/**
 * The last net under text that goes into the log: instance ids, addresses, JWTs and bearer values are replaced even
 * where a programmer put them into a message by mistake. It stands in for no care in what is logged.
 */
const nets: readonly (readonly [RegExp, string])[] = [
  [/\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s"'<>]+/gi, '[url]'],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, '[jwt]'],
  [/\b(?:bearer|basic)\s+[\w.~+/=-]+/gi, '[authorization]'],
  [/\b[a-z][a-z0-9-]{0,31}_[0-9A-Za-z]{33}\b/g, '[instance id]'],
];

/** Replaces what must not be printed, drops control characters and cuts at 500 characters. */
export function redact(text: string): string {
  let cleaned = text.slice(0, lengthMax);
  for (const [net, mark] of nets) cleaned = cleaned.replace(net, mark);
  return cleaned.replace(/\p{Cc}+/gu, ' ');
}

const lengthMax = 500;
