import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { errorCodes } from '../../backend/src/errors/errorCodes.js';
import { readSources } from '../architecture/sourceFiles.js';
import { findExported, openAllMetrics, type Exported } from './exportedMetrics.js';
import { findNames, projectRoot, readDashboard, readRules, readText, readYaml } from './expressions.js';

const rules = readRules();
const alerts = rules.filter(({ alert }) => alert !== undefined);
const dashboard = readDashboard();
const expressions = [
  ...rules.map(({ alert, record, expr }) => ({ where: `rule ${alert ?? record}`, expr })),
  ...dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }) => ({ where: `panel ${title}`, expr })),
  ),
];
/** Put on every series by the scrape: by Prometheus, and by the list of targets. */
const targetLabels = ['job', 'instance', 'service', 'program'];
const ofPrometheus = new Set(['up']);
const recorded = new Set(rules.flatMap(({ record }) => (record === undefined ? [] : [record])));

describe('alerts and dashboard', () => {
  let exported: ReadonlyMap<string, Exported>;
  beforeAll(async () => {
    exported = await findExported();
  });
  const labelsOf = (metric: string) => [...(exported.get(metric)?.labels ?? []), ...targetLabels];
  const known = (metric: string) => exported.has(metric) || ofPrometheus.has(metric) || recorded.has(metric);

  it('X04 every metric that they name is exported by a registry of the programs', () => {
    const missing = expressions.flatMap(({ where, expr }) =>
      findNames(expr)
        .selectors.filter(({ metric }) => !known(metric))
        .map(({ metric }) => `${where}: ${metric}`),
    );
    expect(missing).toEqual([]);
    expect(expressions.length).toBeGreaterThan(35);
  });

  it('X04 every expression names at least one metric, and the check sees names that are wrong', () => {
    expect(expressions.filter(({ expr }) => findNames(expr).selectors.length === 0)).toEqual([]);
    const { selectors, groupings } = findNames(
      'sum by (service, le)(rate(no_such_metric{a=~"x|y",b!=""}[5m])) and on(job) other_name offset 1h > 2',
    );
    expect(selectors).toEqual([
      { metric: 'no_such_metric', matchers: { a: 'x|y', b: '' } },
      { metric: 'other_name', matchers: {} },
    ]);
    expect(groupings).toEqual(['service', 'le', 'job']);
    expect(known('no_such_metric')).toBe(false);
  });

  it('X04 every label that they match or group by is a label of the metrics that they name', () => {
    const wrong = expressions.flatMap(({ where, expr }) => {
      const { selectors, groupings } = findNames(expr);
      const all = new Set(selectors.flatMap(({ metric }) => labelsOf(metric)));
      return [
        ...selectors.flatMap(({ metric, matchers }) =>
          Object.keys(matchers).filter((label) => !labelsOf(metric).includes(label)),
        ),
        ...groupings.filter((label) => !all.has(label)),
      ].map((label) => `${where}: ${label}`);
    });
    expect(wrong).toEqual([]);
  });

  it('X04 every kind of error that they match is one that the programs count', () => {
    const kinds = [...Object.keys(errorCodes).map((code) => code.toLowerCase()), 'tool_error', 'cancelled'];
    const patterns = expressions.flatMap(({ expr }) =>
      findNames(expr).selectors.flatMap(({ matchers }) => (matchers['error_type'] ?? '').split('|')),
    );
    const used = [...new Set(patterns)].filter((pattern) => pattern !== '');
    expect(used.length).toBeGreaterThan(5);
    expect(used.filter((one) => !kinds.some((kind) => new RegExp(`^(?:${one})$`).test(kind)))).toEqual([]);
  });

  it('X04 the labels in their texts are there when they are shown', () => {
    const shown = [
      ...alerts.map(({ expr, annotations }) => ({ expr, text: Object.values(annotations ?? {}).join(' ') })),
      ...dashboard.panels.flatMap(({ targets }) =>
        targets.map(({ expr, legendFormat }) => ({ expr, text: legendFormat })),
      ),
    ];
    const wrong = shown.flatMap(({ expr, text }) => {
      const { selectors } = findNames(expr);
      const labels = selectors.flatMap(({ metric }) => [...(exported.get(metric)?.labels ?? [])]);
      return [...text.matchAll(/\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}/g)]
        .map(([, label = '']) => label)
        .filter((label) => ![...labels, ...targetLabels].includes(label));
    });
    expect(wrong).toEqual([]);
  });

  it('X04 the dashboard’s panels lie beside each other and have ids of their own', () => {
    const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, at) => `${x + (at % w)}/${y + Math.floor(at / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
  });
});

describe('alerts', () => {
  it('X04 each has a name of its own, a severity, a summary and its runbook', () => {
    const names = alerts.map(({ alert }) => alert);
    expect(new Set(names).size).toBe(names.length);
    for (const { alert, labels, annotations } of alerts) {
      expect({ alert, severity: labels?.['severity'] }).toEqual({
        alert,
        severity: expect.stringMatching(/^(?:page|ticket)$/),
      });
      expect(annotations?.['summary']).toBeTruthy();
      expect(annotations?.['runbook_url']).toBe(`docs/runbooks/${alert}.md`);
    }
  });

  it('X04 each runbook is there, says what it means, what to look at and what to do, and belongs to an alert', () => {
    for (const { alert, labels } of alerts) {
      const path = `docs/runbooks/${alert}.md`;
      expect({ path, isThere: existsSync(join(projectRoot, path)) }).toEqual({ path, isThere: true });
      const text = readText(path);
      expect(text).toMatch(new RegExp(`^# ${alert}\n\n\\*\\*${labels?.['severity']}\\*\\*`));
      for (const part of ['## Look at', '## Do', '```']) expect(text).toContain(part);
    }
    const pages = readdirSync(join(projectRoot, 'docs/runbooks')).map((file) => file.replace(/\.md$/, ''));
    expect(new Set(pages)).toEqual(new Set(alerts.map(({ alert }) => alert)));
  });

  it('X04 what runbooks link to and run is there', () => {
    const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
    for (const { alert } of alerts) {
      const text = readText(`docs/runbooks/${alert}.md`);
      for (const [, target = ''] of text.matchAll(/\]\(([^)#]+)\)/g)) {
        expect({ alert, target, isThere: existsSync(join(projectRoot, 'docs/runbooks', target)) }).toEqual({
          alert,
          target,
          isThere: true,
        });
      }
      for (const [, script = ''] of text.matchAll(/npm run ([a-z0-9-]+)/g))
        expect(scripts).toHaveProperty([script]);
    }
  });
});

describe('the example for Prometheus', () => {
  it('X04 scrapes the committed targets with the metrics token, and lets metrics keep their own labels', () => {
    const { rule_files, scrape_configs } = readYaml('deploy/prometheus/prometheus.yml') as {
      rule_files: string[];
      scrape_configs: {
        job_name: string;
        honor_labels: boolean;
        authorization: { credentials_file: string };
        file_sd_configs: { files: string[] }[];
      }[];
    };
    expect(rule_files).toEqual(['alerts.yml']);
    expect(scrape_configs).toHaveLength(1);
    const [scrape] = scrape_configs;
    // Without it the monitor's port_up{service="github"} would tell of the service "health-monitor".
    expect(scrape?.honor_labels).toBe(true);
    expect(scrape?.authorization.credentials_file).toBe('../../var/metrics-token');
    for (const file of scrape?.file_sd_configs.flatMap(({ files }) => files) ?? []) {
      const targets = JSON.parse(readText(`deploy/prometheus/${file}`)) as { labels: object }[];
      expect(targets.length).toBeGreaterThan(3);
      for (const { labels } of targets) expect(Object.keys(labels).sort()).toEqual(['program', 'service']);
    }
    const jobs = rules.flatMap(({ expr }) =>
      findNames(expr).selectors.map(({ matchers }) => matchers['job']),
    );
    expect(jobs.filter((job) => job !== undefined && job !== scrape?.job_name)).toEqual([]);
  });
});

describe('metrics', () => {
  it('X04 each one that is defined is fed somewhere in the programs', () => {
    const programs = readSources('backend/src').filter(
      ({ path }) => !path.startsWith('backend/src/telemetry/'),
    );
    const text = programs.map((file) => file.text).join('\n');
    const folders = {
      mainApi: 'main-api',
      service: 'mcp-servers',
      front: 'front',
      monitor: 'health-monitor',
    };
    for (const [program, metrics] of Object.entries(openAllMetrics())) {
      const room = `backend/src/${folders[program as keyof typeof folders]}/`;
      const own = programs.filter(({ path }) => path.startsWith(room)).map((file) => file.text);
      for (const name of Object.keys(metrics).filter((one) => one !== 'registry')) {
        const isFed = own.some((source) => new RegExp(`\\bmetrics\\.${name}\\b`).test(source));
        expect({ program, name, isFed }).toEqual({ program, name, isFed: true });
      }
    }
    expect(text).not.toMatch(/new (?:Counter|Gauge|Histogram|Summary)\(/);
  });
});
