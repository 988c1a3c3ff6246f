/**
 * Installs one npm package at exactly one version into a folder of its own, ahead of the first call that needs it.
 * Nothing of the package runs while it is installed (`--ignore-scripts`).
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PackageReference } from '../../backend/src/catalog/mcpServerDefinitions.js';
import { packageFolder } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/packageBin.js';

const installMsMax = 300_000;

/** @throws Error that says what npm said, or that the archive is not the one with the declared SHA-256. */
export async function installPackage(reference: PackageReference, packagesDir: string): Promise<void> {
  const target = join(packagesDir, packageFolder(reference));
  const fresh = `${target}.${process.pid}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  try {
    const exact = `${reference.identifier}@${reference.version}`;
    const source = reference.sha256 === null ? exact : await fetchArchive(exact, reference.sha256, fresh);
    writeFileSync(join(fresh, 'package.json'), '{ "private": true }\n');
    await runNpm(['install', '--save-exact', '--omit=dev', source], fresh);
    rmSync(target, { recursive: true, force: true });
    renameSync(fresh, target);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    throw error;
  }
}

/** @returns the path of the archive, held to its digest before anything of it is unpacked. */
async function fetchArchive(exact: string, sha256: string, folder: string): Promise<string> {
  await runNpm(['pack', '--pack-destination', folder, exact], folder);
  const name = readdirSync(folder).find((entry) => entry.endsWith('.tgz')) ?? '';
  const archive = join(folder, name);
  const digest = createHash('sha256').update(readFileSync(archive)).digest('hex');
  if (digest !== sha256)
    throw new Error(`the archive of ${exact} has SHA-256 ${digest}, not the declared one`);
  return archive;
}

async function runNpm(args: readonly string[], cwd: string): Promise<void> {
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];
  const child = spawn('npm', [...args, ...quiet], {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: installMsMax,
    killSignal: 'SIGKILL',
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-2_000)));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`npm ${args[0] ?? ''} ended with ${code ?? 'a signal'}: ${said.trim()}`);
}
