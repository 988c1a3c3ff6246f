/**
 * One JSON line for each event, of typed fields only. A field that is not in `LogFields` does not reach the line, not
 * even when a cast smuggles it in: never a URL, header, body, query, argument, environment or instance id. An instance
 * is named by its uuid, a request by its route's pattern.
 */
import { pino, stdTimeFunctions, type DestinationStream, type Logger as PinoLogger } from 'pino';
import { toLoggedError } from './loggedError.js';
import { redact } from './redact.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LogFields {
  readonly service?: string | undefined;
  readonly requestId?: string | undefined;
  readonly traceId?: string | undefined;
  /** A uuid. */
  readonly userId?: string | undefined;
  /** The instance's uuid, never the id in its URL. */
  readonly instance?: string | undefined;
  /** MCP or HTTP method. */
  readonly method?: string | undefined;
  readonly tool?: string | undefined;
  /** The pattern of the route, such as `/api/v1/users/:id`. */
  readonly route?: string | undefined;
  readonly status?: number | undefined;
  /** A code of `errorCodes`, or a JSON-RPC code. */
  readonly errorCode?: string | number | undefined;
  /** How children are kept apart, in our own words. */
  readonly isolation?: string | undefined;
  readonly durationMs?: number | undefined;
  /** How many things the line is about. */
  readonly count?: number | undefined;
  /** Anything thrown; printed as class, code and stack frames. */
  readonly error?: unknown;
}

type Write = (message: string, fields?: LogFields) => void;

/** Messages are constant sentences; what varies is a field. */
export interface Logger {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** `main-api`, `front`, `mcp-<service>` … */
  readonly program: string;
  readonly service?: string;
  /** Standard output, unbuffered, unless told otherwise: a line written is not lost with the process. */
  readonly destination?: DestinationStream;
}

export function createLogger({ level, program, service, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { program, pid: process.pid, ...(service === undefined ? {} : { service }) },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return toLogger(pino(options, destination ?? pino.destination({ fd: 1, sync: true })));
}

function toLogger(lines: PinoLogger): Logger {
  return {
    debug: (message, fields) => lines.debug(toLine(fields), redact(message)),
    info: (message, fields) => lines.info(toLine(fields), redact(message)),
    warn: (message, fields) => lines.warn(toLine(fields), redact(message)),
    error: (message, fields) => lines.error(toLine(fields), redact(message)),
    child: (fields) => toLogger(lines.child(toLine(fields))),
  };
}

const lineNames = {
  service: 'service',
  requestId: 'request_id',
  traceId: 'trace_id',
  userId: 'user_id',
  instance: 'instance',
  method: 'method',
  tool: 'tool',
  route: 'route',
  status: 'status',
  errorCode: 'error_code',
  isolation: 'isolation',
  durationMs: 'duration_ms',
  count: 'count',
  error: 'error',
} as const satisfies Record<keyof LogFields, string>;

type FieldName = keyof LogFields;
const fieldNames = Object.keys(lineNames).filter((name): name is FieldName => name in lineNames);

function toLine(fields: LogFields | undefined): Record<string, unknown> {
  const line: Record<string, unknown> = {};
  if (fields === undefined) return line;
  for (const name of fieldNames) {
    const value = fields[name];
    if (value === undefined) continue;
    if (name === 'error') line['error'] = toLoggedError(value);
    else if (typeof value === 'string') line[lineNames[name]] = redact(value);
    else if (typeof value === 'number') line[lineNames[name]] = value;
  }
  return line;
}
