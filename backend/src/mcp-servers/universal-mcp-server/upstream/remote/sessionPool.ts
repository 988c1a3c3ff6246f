/**
 * Who has which session with a remote server. A conversation has its own, unless the file says that those of an instance
 * share one: then whoever cannot be asked anything by the server joins it, as at a shared child (spec 04), and it is kept
 * a while after the last one left.
 */
import { AppError } from '../../../../errors/appError.js';
import type { MayGoOn } from '../../../../services/oauth/sameGrant.js';
import type { ResolvedInstance } from '../../../../services/resolvedInstance.js';
import { abortable } from '../../protocol/abortable.js';
import type { SharedRouter } from '../stdio/childConnection.js';
import type { ClientTerms, ServerTerms } from '../upstream.js';
import { goOnAs } from './messageOwners.js';
import { ownTerms } from './ownTerms.js';
import type { MessageOwner } from './rawCall.js';

export interface RemoteSession extends SharedRouter {
  readonly server: ServerTerms;
  /** Hears the server outside of requests from now on. */
  listen(): void;
  /** Resolves when the server was told, in bounded time. */
  close(reason: AppError): Promise<void>;
}

export interface JoinTerms {
  readonly owner: MessageOwner;
  readonly client: ClientTerms;
  /** Speaks for `owner`, as it is then, with each message. */
  readonly begin: (client: ClientTerms, signal: AbortSignal) => Promise<RemoteSession>;
}

export interface JoinedSession {
  readonly session: RemoteSession;
  /** To be called once, when the conversation is over. */
  readonly leave: () => void;
}

interface Held {
  readonly owner: MessageOwner;
  /** Null for one that nobody may join. */
  key: string | null;
  readonly controller: AbortController;
  readonly started: Promise<RemoteSession>;
  session: RemoteSession | null;
  users: number;
  idle: NodeJS.Timeout | null;
}

/** How long a shared session is kept for the next conversation. */
const idleMs = 60_000;

/** Equal for what may share: the instance at one epoch, credential and overrides. */
export function toRevision({ id, epoch, credentialRevision, overridesRevision }: ResolvedInstance): string {
  return `${id}/${epoch}/${credentialRevision}/${overridesRevision}`;
}

export class SessionPool {
  readonly #isSharing: boolean;
  readonly #shared = new Map<string, Held>();
  readonly #all = new Set<Held>();
  readonly #ending = new Set<Promise<void>>();

  constructor(isSharing: boolean) {
    this.#isSharing = isSharing;
  }

  get size(): number {
    return this.#all.size;
  }

  async join(terms: JoinTerms, signal: AbortSignal): Promise<JoinedSession> {
    const isShared = this.#isSharing && !canBeAsked(terms.client);
    const key = isShared ? toRevision(terms.owner.instance) : null;
    const known = key === null ? undefined : this.#shared.get(key);
    const isUsable =
      known !== undefined && known.session?.isClosed !== true && !known.controller.signal.aborted;
    const held = isUsable ? known : this.#start(terms, key);
    held.users += 1;
    if (held.idle !== null) clearTimeout(held.idle);
    held.idle = null;
    let isJoined = true;
    const leave = (): void => {
      if (!isJoined) return;
      isJoined = false;
      held.users -= 1;
      if (held.users > 0) return;
      if (key === null || held.session === null)
        this.#end(held, new AppError('UPSTREAM_FAILED', 'nobody is left'));
      else
        held.idle = setTimeout(
          () => this.#end(held, new AppError('UPSTREAM_FAILED', 'idle')),
          idleMs,
        ).unref();
    };
    try {
      return { session: await abortable(held.started, signal), leave };
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Ends the sessions of an instance that may not go on as it is now; the others speak for it as it is now. */
  forget(instanceId: string, now: ResolvedInstance | null, mayGoOn: MayGoOn, reason: AppError): void {
    for (const held of Array.from(this.#all)) {
      if (held.owner.instance.id !== instanceId) continue;
      if (goOnAs(held.owner, now, mayGoOn)) this.#share(held);
      else this.#end(held, reason);
    }
  }

  /** Ends them all. Resolves when the servers were told, or could not be. */
  async close(reason: AppError): Promise<void> {
    for (const held of Array.from(this.#all)) this.#end(held, reason);
    await Promise.all(this.#ending);
  }

  #start({ owner, client, begin }: JoinTerms, key: string | null): Held {
    const controller = new AbortController();
    const started = begin(key === null ? client : ownTerms, controller.signal);
    const held: Held = { owner, key, controller, started, session: null, users: 0, idle: null };
    this.#all.add(held);
    if (key !== null) this.#shared.set(key, held);
    const drop = (): void => {
      this.#all.delete(held);
      if (held.key !== null && this.#shared.get(held.key) === held) this.#shared.delete(held.key);
    };
    controller.signal.addEventListener('abort', drop, { once: true });
    started.then(
      (session) => {
        held.session = session;
        return controller.signal.aborted ? session.close(controller.signal.reason as AppError) : undefined;
      },
      () => drop(),
    );
    return held;
  }

  /** Lets whoever comes with the instance as it is now join the session. */
  #share(held: Held): void {
    const key = toRevision(held.owner.instance);
    if (held.key === null || held.key === key) return;
    if (this.#shared.get(held.key) === held) this.#shared.delete(held.key);
    held.key = key;
    if (!this.#shared.has(key)) this.#shared.set(key, held);
  }

  #end(held: Held, reason: AppError): void {
    if (held.controller.signal.aborted) return;
    if (held.idle !== null) clearTimeout(held.idle);
    held.controller.abort(reason);
    if (held.session === null) return;
    const ending = held.session.close(reason).finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }
}

/** Whether the server could send requests to such a client, so that its session must be its own. */
function canBeAsked({ capabilities }: ClientTerms): boolean {
  return ['sampling', 'elicitation', 'roots'].some((name) => capabilities[name] !== undefined);
}
