/**
 * Spool files by name: `<origin>.<number>.<spool id>.<holder>.spool`. The origin is the process that wrote the file, the
 * holder the one that ships it; they differ once a dead process's files were adopted. A process is named by its pid, its
 * start time and the machine's boot, so that a pid that is used again does not pass for its former owner.
 */
import { readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export interface SpoolFile {
  readonly path: string;
  readonly origin: string;
  /** Grows from file to file of one origin. */
  readonly number: number;
  readonly spoolId: string;
  readonly holder: string;
}

type Named = Omit<SpoolFile, 'path'>;

export function toSpoolPath(dir: string, { origin, number, spoolId, holder }: Named): string {
  return join(dir, `${origin}.${String(number).padStart(8, '0')}.${spoolId}.${holder}.spool`);
}

/** A file that is being begun has this ending until its first lines are in it. */
export const beginningSuffix = '.begin';

/** The spool files of a folder, by origin and then by number. Other files are not looked at. */
export function listSpoolFiles(dir: string): readonly SpoolFile[] {
  const files: SpoolFile[] = [];
  for (const entry of listEntries(dir)) {
    const [, origin, number, spoolId, holder] = namePattern.exec(entry) ?? [];
    if (!origin || !number || !spoolId || !holder) continue;
    files.push({ path: join(dir, entry), origin, number: Number(number), spoolId, holder });
  }
  return files.sort((one, other) => one.origin.localeCompare(other.origin) || one.number - other.number);
}

/**
 * Takes over the files of processes that are dead, one origin at a time and whole. Of several processes that try, the
 * one that renames an origin's first file has it; the others leave that origin alone, as are those already in hand.
 */
export function adoptDeadOrigins(
  dir: string,
  self: string,
  inHand: ReadonlySet<string>,
): readonly (readonly SpoolFile[])[] {
  removeDeadBeginnings(dir);
  const origins = groupByOrigin(listSpoolFiles(dir));
  const adopted: (readonly SpoolFile[])[] = [];
  for (const [origin, files] of origins) {
    if (inHand.has(origin) || isAlive(origin)) continue;
    // What this process took and could not read then is still its own to take.
    if (files.some(({ holder }) => holder !== self && isAlive(holder))) continue;
    const taken = take(dir, files, self);
    if (taken.length > 0) adopted.push(taken);
  }
  return adopted;
}

/** Names this process, or another by its pid: `<pid>-<start time in clock ticks>-<8 characters of the boot id>`. */
export function processMark(pid: number = process.pid): string {
  return `${pid}-${readStartTicks(pid) ?? '0'}-${readBoot()}`;
}

export function isAlive(mark: string): boolean {
  const [pid, ticks, boot] = mark.split('-');
  if (!isSignalable(Number(pid))) return false;
  const nowTicks = readStartTicks(Number(pid));
  // Where there is no /proc the pid alone has to do.
  return readBoot() === boot && (ticks === '0' || ticks === nowTicks);
}

const namePattern = /^(\d+-\d+-\w+)\.(\d{8})\.([\w-]+)\.(\d+-\d+-\w+)\.spool$/;

/** A folder that is not there yet has no files. */
function listEntries(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function groupByOrigin(files: readonly SpoolFile[]): Map<string, SpoolFile[]> {
  const origins = new Map<string, SpoolFile[]>();
  for (const file of files) origins.set(file.origin, [...(origins.get(file.origin) ?? []), file]);
  return origins;
}

function take(dir: string, files: readonly SpoolFile[], self: string): readonly SpoolFile[] {
  const taken: SpoolFile[] = [];
  for (const file of files) {
    const mine = { ...file, holder: self };
    const path = toSpoolPath(dir, mine);
    try {
      renameSync(file.path, path);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
    taken.push({ ...mine, path });
  }
  return taken;
}

function removeDeadBeginnings(dir: string): void {
  for (const entry of listEntries(dir)) {
    const mark = entry.split('.', 1)[0] ?? '';
    if (entry.endsWith(beginningSuffix) && !isAlive(mark)) rmSync(join(dir, entry), { force: true });
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function isSignalable(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Field 22 of /proc/<pid>/stat (proc(5)); null where there is none, or when the process is a zombie. */
function readStartTicks(pid: number): string | null {
  const stat = readText(`/proc/${pid}/stat`);
  // The command's name may hold spaces and brackets; the fields begin after the last bracket.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
}

function readBoot(): string {
  return readText('/proc/sys/kernel/random/boot_id')?.slice(0, 8) ?? 'unknown';
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
