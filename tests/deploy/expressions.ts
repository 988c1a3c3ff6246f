/** The PromQL expressions of alerts and dashboard, and what they name: enough of the grammar to check names by. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

export const projectRoot = join(import.meta.dirname, '..', '..');

export interface AlertRule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Dashboard {
  readonly uid: string;
  readonly templating: { readonly list: readonly { readonly query: unknown }[] };
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
}

export const readText = (path: string): string => readFileSync(join(projectRoot, path), 'utf8');

export function readYaml(path: string): unknown {
  return parse(readText(path), { strict: true, uniqueKeys: true });
}

export function readRules(): readonly AlertRule[] {
  const { groups } = readYaml('deploy/prometheus/alerts.yml') as { groups: { rules: AlertRule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

export function readDashboard(): Dashboard {
  return JSON.parse(readText('deploy/grafana/portolan.json')) as Dashboard;
}

export interface Selector {
  readonly metric: string;
  /** Label → the pattern or value that it is matched with. */
  readonly matchers: Readonly<Record<string, string>>;
}

export interface Named {
  readonly selectors: readonly Selector[];
  /** Labels in `by (…)` and `on (…)`. */
  readonly groupings: readonly string[];
}

const words = new Set(['and', 'or', 'unless', 'by', 'on', 'offset', 'bool', 'without', 'ignoring']);

export function findNames(expression: string): Named {
  const groupings = [...expression.matchAll(/\b(?:by|on|without|ignoring)\s*\(([^)]*)\)/g)].flatMap(
    ([, list]) => (list ?? '').split(',').map((label) => label.trim()),
  );
  const rest = expression
    .replace(/\b(?:by|on|without|ignoring)\s*\([^)]*\)/g, ' ')
    .replace(/\[[^\]]*\]/g, ' ')
    .replace(/\boffset\s+\w+/g, ' ');
  const selectors: Selector[] = [];
  for (const [, name = '', after = ''] of rest.matchAll(/(?<![\w.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\()?/g)) {
    // What stands between quotes is seen only inside braces, which belong to the match of their metric.
    if (after === '(' || words.has(name)) continue;
    const pairs = [...after.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"/g)];
    selectors.push({ metric: name, matchers: Object.fromEntries(pairs.map(([, l, v]) => [l, v])) });
  }
  return { selectors, groupings };
}
