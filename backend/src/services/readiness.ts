/**
 * Whether this process can do its work: it reaches the database, the schema is that of this version or newer, the vault
 * is open, and it is not on its way out. An upstream's failure is no reason not to be ready.
 */
import { isMigrated } from '../database/migrate.js';
import type { Queryable } from '../database/queryable.js';
import type { VaultGate } from './vaultKeys.js';

export interface ReadinessCheck {
  readonly status: 'ok' | 'failed';
  /** A word for operators; names no value. */
  readonly reason?: string;
}

export interface ReadinessReport {
  readonly isReady: boolean;
  readonly checks: Readonly<Record<'database' | 'migrations' | 'keys' | 'draining', ReadinessCheck>> & {
    /** How children are kept apart, where there are any. */
    readonly isolation?: ReadinessCheck;
  };
}

export interface Readiness {
  /** Never throws; answers within 2 s. */
  check(): Promise<ReadinessReport>;
}

export interface ReadinessOptions {
  readonly db: Queryable;
  readonly vault: Pick<VaultGate, 'isOpen'>;
  readonly projectRoot: string;
  readonly isDraining: () => boolean;
  /** Found once, at start; null for a program without children. */
  readonly isolation?: ReadinessCheck | null;
  /** Monotonic, in ms. */
  readonly now?: () => number;
}

/** Probes come from several sides; they share an answer this old, so that they cost the database next to nothing. */
const reportAgeMsMax = 500;
const timeLimitMs = 2_000;
const ok: ReadinessCheck = { status: 'ok' };

export function createReadiness(options: ReadinessOptions): Readiness {
  const { db, vault, projectRoot, isDraining, isolation = null, now = () => performance.now() } = options;
  let asked: { readonly at: number; readonly answer: Promise<'ready' | 'not migrated' | 'away'> } | null =
    null;

  const askDatabase = (): Promise<'ready' | 'not migrated' | 'away'> => {
    if (asked === null || now() - asked.at > reportAgeMsMax) {
      const answer = withinLimit(
        isMigrated(db, projectRoot).then(
          (migrated) => (migrated ? ('ready' as const) : ('not migrated' as const)),
          (thrown: unknown) => (isUnknownFunction(thrown) ? ('not migrated' as const) : ('away' as const)),
        ),
      );
      asked = { at: now(), answer };
    }
    return asked.answer;
  };

  return {
    async check() {
      const database = await askDatabase();
      const checks = {
        database: database === 'away' ? failed('the database cannot be used') : ok,
        migrations:
          database === 'ready' ? ok : failed(database === 'away' ? 'not known' : 'the schema is too old'),
        keys: vault.isOpen ? ok : failed('the vault is sealed: see KEYRING_FILE'),
        draining: isDraining() ? failed('the process is on its way out') : ok,
        ...(isolation === null ? {} : { isolation }),
      };
      return { isReady: Object.values(checks).every(({ status }) => status === 'ok'), checks };
    },
  };
}

function failed(reason: string): ReadinessCheck {
  return { status: 'failed', reason };
}

/** SQLSTATE undefined_function, invalid_schema_name: the database is there, and nothing was migrated into it yet. */
function isUnknownFunction(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && (thrown.code === '42883' || thrown.code === '3F000');
}

async function withinLimit<T>(answer: Promise<T>): Promise<T | 'away'> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<'away'>((resolve) => {
    timer = setTimeout(() => resolve('away'), timeLimitMs);
  });
  try {
    return await Promise.race([answer, limit]);
  } finally {
    clearTimeout(timer);
  }
}
