/**
 * Definitions of tools as services gave them: what of them is approved, rejected, or waits for an admin (decision 0016). A
 * service process reads them and reports what it saw; deciding is an admin's, in the main API.
 */
import type { Queryable } from '../database/queryable.js';

export type ToolPinState = 'waiting' | 'approved' | 'rejected';

export interface ToolPin {
  /** The upstream's own name of the tool. */
  readonly tool: string;
  /** `v1:` and the SHA-256 of the definition's canonical form, in hex. */
  readonly digest: string;
  readonly state: ToolPinState;
  /** Nothing was known of a tool of this name before it. */
  readonly isNew: boolean;
}

/** All of a service's, for its process. */
export async function readToolPins(db: Queryable, service: string): Promise<ToolPin[]> {
  const { rows } = await db.query<ToolPin>({
    name: 'read_tool_pins',
    text: 'select tool, digest, state, is_new as "isNew" from read_tool_pins($1)',
    values: [service],
  });
  return rows;
}

export interface ToolReport {
  readonly service: string;
  /** Whose upstream listed them. */
  readonly instanceId: string;
  /** At most `reportedToolsMax`. */
  readonly tools: readonly {
    readonly tool: string;
    /** In canonical form, at most `definitionBytesMax`. */
    readonly definition: string;
    /** The list had no other tool of this name. */
    readonly isPlain: boolean;
  }[];
  /** No page of the list comes after this one. */
  readonly isLast: boolean;
}

export const definitionBytesMax = 128 * 1024;
export const reportedToolsMax = 1_000;

export interface ReportedPin extends ToolPin {
  /** It is the first of this tool, or the first that waits; one report of it is told so. */
  readonly isFirst: boolean;
}

/**
 * Says what an upstream listed and answers what becomes of each: approved when it is of the first list that the service
 * ever gave, else waiting, or what was decided. Empty when the instance is gone.
 */
export async function reportTools(db: Queryable, report: ToolReport): Promise<ReportedPin[]> {
  const { rows } = await db.query<ReportedPin>(
    'select tool, digest, state, is_new as "isNew", is_first as "isFirst" from report_tools($1, $2, $3, $4, $5, $6)',
    [
      report.service,
      report.instanceId,
      report.tools.map(({ tool }) => tool),
      report.tools.map(({ definition }) => definition),
      report.tools.map(({ isPlain }) => isPlain),
      report.isLast,
    ],
  );
  return rows;
}

/** What an admin is shown of a definition. */
export interface ToolSighting extends ToolPin {
  /** Grows in the order in which definitions were first seen. */
  readonly sequence: number;
  readonly firstSeenAt: Date;
  readonly seenAt: Date;
  /** Null for what was trusted on first use, and for what waits. */
  readonly decidedBy: string | null;
  readonly decidedAt: Date | null;
}

export interface DefinedSighting extends ToolSighting {
  /** In canonical form. */
  readonly definition: string;
}

const sighting = `tool, digest, state, is_new as "isNew", sequence::float8 as sequence, first_seen_at as "firstSeenAt",
  seen_at as "seenAt", decided_by as "decidedBy", decided_at as "decidedAt"`;

/** Needs the scope `admin`, like all below. By tool, the newest definition first. */
export async function listToolSightings(db: Queryable, service: string): Promise<ToolSighting[]> {
  const { rows } = await db.query<ToolSighting>(
    `select ${sighting} from tool_pins where service = $1 order by tool, sequence desc`,
    [service],
  );
  return rows;
}

/** From when on a service's definitions are held to its first list; null before there was one. */
export async function findBaselineTime(db: Queryable, service: string): Promise<Date | null> {
  const { rows } = await db.query<{ begunAt: Date }>(
    'select begun_at as "begunAt" from tool_baselines where service = $1',
    [service],
  );
  return rows[0]?.begunAt ?? null;
}

/** Those of one tool, the newest first. `forUpdate` keeps others from deciding until the transaction ends. */
export async function findToolSightings(
  db: Queryable,
  { service, tool }: { readonly service: string; readonly tool: string },
  options: { readonly forUpdate?: boolean } = {},
): Promise<DefinedSighting[]> {
  const { rows } = await db.query<DefinedSighting>(
    `select ${sighting}, definition from tool_pins where service = $1 and tool = $2 order by sequence desc
     ${options.forUpdate === true ? 'for no key update' : ''}`,
    [service, tool],
  );
  return rows;
}

/** Every process of the service hears of it with the commit. */
export async function decideTool(
  db: Queryable,
  decision: {
    readonly service: string;
    readonly tool: string;
    readonly digest: string;
    readonly state: 'approved' | 'rejected';
    readonly decidedBy: string;
  },
): Promise<void> {
  await db.query(
    `update tool_pins set state = $4, decided_by = $5, decided_at = now()
     where service = $1 and tool = $2 and digest = $3`,
    [decision.service, decision.tool, decision.digest, decision.state, decision.decidedBy],
  );
}
