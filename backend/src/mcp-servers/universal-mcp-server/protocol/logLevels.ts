/** The levels of `notifications/message`, least severe first (MCP "Logging", after RFC 5424). */
export const logLevels = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
] as const;

export type LogLevelName = (typeof logLevels)[number];

export function isLogLevel(value: unknown): value is LogLevelName {
  return logLevels.some((level) => level === value);
}

/** Whether something of this level passes a threshold; no threshold lets all pass, an unknown level always passes. */
export function isAtLeast(level: unknown, threshold: string | null): boolean {
  if (threshold === null || !isLogLevel(level) || !isLogLevel(threshold)) return true;
  return logLevels.indexOf(level) >= logLevels.indexOf(threshold);
}
