import { execFile } from 'node:child_process';
import { join } from 'node:path';

export interface ProgramResult {
  readonly code: number;
  /** Both streams, trimmed. */
  readonly output: string;
}

const timeoutMs = 300_000;

/** Runs one of our own scripts to its end, in the environment of this process. */
export function runProgram(
  projectRoot: string,
  name: string,
  args: readonly string[] = [],
): Promise<ProgramResult> {
  const program = join(projectRoot, 'dist', 'scripts', `${name}.js`);
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [program, ...args],
      { cwd: projectRoot, timeout: timeoutMs },
      (error, out, err) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, output: `${out}${err}`.trim() });
      },
    );
  });
}
