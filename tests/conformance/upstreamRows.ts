/** The rows of the matrix: each kind of upstream in each era that it has, served through instance URLs of one process. */
import { openInstallation } from '../support/installation.js';
import { modern, send } from '../support/mcpHttp.js';
import { openServiceSite } from '../support/serviceProcess.js';
import { fixtureCommand, startFixture, type FixtureEra, type RemoteFixture } from './fixtureProcess.js';

export interface UpstreamRow {
  readonly name: string;
  readonly kind: 'stdio' | 'streamable-http' | 'sse';
  readonly era: FixtureEra;
}

export const upstreamRows: readonly UpstreamRow[] = [
  { name: 'stdio-legacy', kind: 'stdio', era: 'legacy' },
  { name: 'stdio-modern', kind: 'stdio', era: 'modern' },
  { name: 'streamable-http-legacy', kind: 'streamable-http', era: 'legacy' },
  { name: 'streamable-http-modern', kind: 'streamable-http', era: 'modern' },
  { name: 'sse-legacy', kind: 'sse', era: 'legacy' },
];

export interface OpenRow extends AsyncDisposable {
  /** An instance URL of a new user. */
  aUrl(): Promise<string>;
  /** What the service process wrote. */
  output(): string;
}

const service = 'fixture';
const instancePrefix = 'fxt';

/** Starts the fixture behind a universal server, which is the program as PM2 would run it. */
export async function openRow(row: UpstreamRow): Promise<OpenRow> {
  const opened: AsyncDisposable[] = [];
  const closeAll = async (): Promise<void> => {
    for (const one of opened.toReversed()) await one[Symbol.asyncDispose]();
  };
  const keep = <T extends AsyncDisposable>(one: T): T => {
    opened.push(one);
    return one;
  };
  try {
    const site = keep(await openInstallation());
    const fixture = row.kind === 'stdio' ? null : keep(await startFixture(row.era, row.kind));
    const process = keep(await openServiceSite(site, toConfig(row, fixture)));
    const run = await process.start({ PUBLIC_URL: process.origin });
    if (run.child.exitCode !== null) throw new Error(`the service process ended: ${run.output()}`);
    return {
      async aUrl() {
        const made = await site.anInstance({ owner: await site.aUser(), service, prefix: instancePrefix });
        const url = `${process.origin}/${made.instanceId}/${service}`;
        // The suites give a first answer one second; a process that only starts for it takes longer on a busy machine.
        await send(url, modern('tools/call', { name: 'test_simple_text' }));
        return url;
      },
      output: () => run.output(),
      [Symbol.asyncDispose]: closeAll,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

function toConfig(row: UpstreamRow, fixture: RemoteFixture | null) {
  return {
    schemaVersion: 1,
    name: service,
    title: 'Fixture',
    kind: row.kind,
    port: 4990,
    instancePrefix,
    credentials: { scope: 'none', methods: [{ id: 'none', type: 'none', label: 'None' }] },
    ...upstreamOf(row, fixture),
    // A suite sends in two seconds what a person sends in an hour.
    limits: { requestsPerMinute: 1_000_000 },
  };
}

function upstreamOf({ kind, era }: UpstreamRow, fixture: RemoteFixture | null): object {
  if (kind === 'stdio' || fixture === null) {
    return {
      stdio: { ...fixtureCommand(era), isolation: 'per-instance', maxPerUser: 20, maxProcesses: 200 },
    };
  }
  return { remote: { url: fixture.url, auth: 'none', egress: { allowPrivate: true } } };
}
