/**
 * The MCP revisions that we speak, in two eras: the legacy one opens with `initialize` and has sessions, the modern one
 * (2026-07-28) opens with `server/discover` and says everything in each request's `_meta`.
 */
export type Era = 'legacy' | 'modern';

/** Newest first. */
export const legacyRevisions = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'] as const;
export const modernRevisions = ['2026-07-28'] as const;

export type LegacyRevision = (typeof legacyRevisions)[number];

/** What a client that sends no version header is taken to speak (MCP 2025-03-26, "Protocol Version Header"). */
export const assumedRevision: LegacyRevision = '2025-03-26';

export function eraOf(revision: string): Era | null {
  if ((legacyRevisions as readonly string[]).includes(revision)) return 'legacy';
  return (modernRevisions as readonly string[]).includes(revision) ? 'modern' : null;
}

/** The revision to answer an `initialize` with: the client's own if we speak it, else our newest (MCP "Lifecycle"). */
export function negotiateRevision(asked: unknown): LegacyRevision {
  return legacyRevisions.find((revision) => revision === asked) ?? legacyRevisions[0];
}
