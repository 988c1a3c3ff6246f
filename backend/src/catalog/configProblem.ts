/** What is wrong with a service's configuration, in words for an admin: the file, the place in it and the remedy. */
export interface FoundProblem {
  /** JSON pointer (RFC 6901) into the file; empty for the file as a whole. */
  readonly pointer: string;
  /** Never quotes a value: it could be a secret. */
  readonly message: string;
  /** The file is right; this installation lacks a variable or file that it refers to. */
  readonly isMissingReference?: true;
}

export interface ConfigProblem extends FoundProblem {
  /** The name of the folder. */
  readonly service: string;
  readonly file: string;
}

/** One line for a terminal or a log. */
export function describeProblem(problem: ConfigProblem): string {
  const place = problem.pointer === '' ? '' : ` ${problem.pointer}`;
  return `${problem.file}${place}: ${problem.message}`;
}
