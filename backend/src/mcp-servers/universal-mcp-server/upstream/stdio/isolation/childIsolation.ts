/**
 * How the children of this process are kept off the gateway's files and off each other (F09). Which form this machine
 * allows is found out at start by really trying each, best first: see `findIsolation`.
 */
import type { ResourceLimits } from './resourceLimits.js';

/**
 * `bubblewrap`: namespaces of their own, a file system that holds only what they need, and, for a gateway that runs as
 * root, a uid of their own. `own uid`: that uid alone. `none`: a plain process with a clean environment.
 */
export type IsolationForm = 'bubblewrap' | 'own uid' | 'none';

/** What is to run, without regard to how it is kept apart. */
export interface ChildCommand {
  /** A bare name is looked for in the child's own PATH. */
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** The one directory that it may write to; also its HOME. */
  readonly dataDir: string;
  /** Whose child it is: children of one owner may share a uid, others never. */
  readonly owner: string;
  readonly limits: ResourceLimits;
  /** Besides what every child may read: what the service's config names. */
  readonly readPaths: readonly string[];
  readonly writePaths: readonly string[];
  /** `none`: not even the loopback of the host. */
  readonly network: 'host' | 'none';
}

/** What is spawned for a command. */
export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** The process that is spawned only watches over the child: a signal to it would take the child's grace away. */
  readonly isWatched: boolean;
}

export interface ChildIsolation {
  readonly form: IsolationForm;
  /** For operators: why there is no better form; null when there is none. */
  readonly lacks: string | null;
  /**
   * What to spawn. Directories and the uid that it needs are there afterwards.
   * @throws AppError UPSTREAM_FAILED when the command is not there, SERVICE_UNAVAILABLE when this form cannot keep what the
   * service asks for.
   */
  readonly launch: (command: ChildCommand) => Launch;
}

/** What nobody but the gateway may see, and what every child may. */
export interface IsolationPlaces {
  readonly stateDir: string;
  /** It may lie outside of the state directory. */
  readonly keyRing: string;
  readonly instanceDataDir: string;
  readonly childUidsDir: string;
  readonly packagesDir: string;
  readonly projectRoot: string;
}
