/**
 * Durations of MCP operations, by the OpenTelemetry semantic conventions for MCP, in a number of series that is bounded
 * whatever clients send: methods come from a fixed table, tool names from lists that an upstream gave, and what is
 * beyond the bounds is counted as `_other`. Each combination is bound once; observing is a map lookup.
 */
import { Histogram, type Registry } from 'prom-client';
import { errorCodes } from '../errors/errorCodes.js';

export interface OperationTimes {
  /** Lets these tool names stand in the label, as far as there is room; every other name becomes `_other`. */
  learnTools(names: Iterable<string>): void;
  /**
   * Counts one finished operation. `errorType` is '' for success, else an HTTP status, a JSON-RPC code, one of our error
   * codes in small letters, or `tool_error`, `cancelled`, `refused`.
   */
  observe(seconds: number, operation: Operation): void;
}

export interface Operation {
  readonly method: string;
  readonly tool?: string | undefined;
  readonly errorType?: string | undefined;
}

export interface OperationTimesOptions {
  readonly registry: Registry;
  readonly name: string;
  readonly help: string;
  readonly service: string;
  readonly withTools: boolean;
  /** Combinations of labels; each is 16 series. */
  readonly combinationsMax: number;
}

export function createOperationTimes(options: OperationTimesOptions): OperationTimes {
  const { registry, name, help, service, withTools, combinationsMax } = options;
  const labelNames = ['service', 'mcp_method_name', 'error_type', ...(withTools ? ['gen_ai_tool_name'] : [])];
  const histogram = new Histogram({
    name,
    help,
    labelNames,
    buckets: durationBuckets,
    registers: [registry],
  });
  const bound = new Map<string, Histogram.Internal<string>>();
  const tools = new Set<string>();

  const bind = (method: string, tool: string, errorType: string) => {
    const key = `${method}\n${tool}\n${errorType}`;
    const known = bound.get(key);
    if (known !== undefined) return known;
    // Names give way first, then the kind of failure; the last bucket of all is always there.
    if (bound.size >= combinationsMax - 1 && key !== lastKey) return null;
    const labels = { service, mcp_method_name: method, error_type: errorType };
    const child = histogram.labels(withTools ? { ...labels, gen_ai_tool_name: tool } : labels);
    bound.set(key, child);
    return child;
  };

  return {
    learnTools: (names) => {
      for (const tool of names) {
        if (tools.size >= toolsMax) return;
        if (toolPattern.test(tool)) tools.add(tool);
      }
    },
    observe: (seconds, { method, tool, errorType = '' }) => {
      const methodLabel = methods.has(method) ? method : other;
      const toolLabel = !withTools || tool === undefined ? '' : tools.has(tool) ? tool : other;
      const errorLabel = errorTypes.has(errorType) || codePattern.test(errorType) ? errorType : other;
      const child =
        bind(methodLabel, toolLabel, errorLabel) ??
        bind(methodLabel, toolLabel === '' ? '' : other, errorLabel) ??
        bind(other, other, other);
      child?.observe(seconds);
    },
  };
}

const other = '_other';
const lastKey = `${other}\n${other}\n${other}`;
const toolsMax = 50;
const toolPattern = /^[A-Za-z0-9_./-]{1,64}$/;
/** Success, our own error codes, and what is told apart besides. */
const errorTypes: ReadonlySet<string> = new Set([
  '',
  ...Object.keys(errorCodes).map((code) => code.toLowerCase()),
  'tool_error',
  'cancelled',
  'refused',
]);
/** An HTTP status, or a JSON-RPC code of a known range. */
const codePattern = /^(?:[1-5]\d\d|-32[0-7]\d\d)$/;

/** Seconds, from a cached answer to the longest deadline. */
const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Requests of all revisions from 2024-11-05 to 2026-07-28, notifications of clients, and what is no MCP: REST, probes. */
const methods: ReadonlySet<string> = new Set([
  'initialize',
  'server/discover',
  'ping',
  'tools/list',
  'tools/call',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/read',
  'resources/templates/list',
  'resources/subscribe',
  'resources/unsubscribe',
  'subscriptions/listen',
  'completion/complete',
  'logging/setLevel',
  'sampling/createMessage',
  'elicitation/create',
  'roots/list',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
  'rest',
  'probe',
]);
