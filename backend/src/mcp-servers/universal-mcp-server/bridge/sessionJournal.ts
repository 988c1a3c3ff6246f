/**
 * The little that a session settles after `initialize` (its log level, its subscriptions, its renewal, its end) outlives the process
 * in an append-only file of the service, so that a restarted process restores it, and a deleted session stays deleted
 * (12.18). It holds session uuids, levels, resource URIs and sealed ids; entries older than a session may be are dropped at start.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { sessionAgeMsMax } from './sessionIds.js';

export interface SessionMemory {
  logLevel: string | null;
  readonly subscriptions: Set<string>;
  /** The upstream's session that stands in the place of the one in the session's id, sealed; null where none does. */
  renewed: string | null;
}

export interface SessionJournal {
  isEnded(session: string): boolean;
  /** What is known of a session; it is empty for one that settled nothing. */
  memoryOf(session: string): SessionMemory;
  setLevel(session: string, level: string): void;
  subscribe(session: string, uri: string): void;
  unsubscribe(session: string, uri: string): void;
  /** @param sealed what only this installation can open: an upstream's session id lets its holder act in it. */
  renew(session: string, sealed: string): void;
  end(session: string): void;
}

interface Entry {
  readonly t: number;
  readonly s: string;
  readonly k: 'level' | 'sub' | 'unsub' | 'new' | 'end';
  readonly v?: string;
}

/** @throws what the file system throws when the file cannot be read or its folder not made. */
export function openSessionJournal(path: string, now: () => number): SessionJournal {
  const memories = new Map<string, SessionMemory>();
  const ended = new Set<string>();
  let isFolderThere = existsSync(dirname(path));

  const apply = ({ s, k, v = '' }: Entry): void => {
    if (k === 'end') {
      ended.add(s);
      memories.delete(s);
      return;
    }
    let memory = memories.get(s);
    if (memory === undefined) memories.set(s, (memory = noMemory()));
    if (k === 'level') memory.logLevel = v;
    else if (k === 'sub') memory.subscriptions.add(v);
    else if (k === 'new') memory.renewed = v;
    else memory.subscriptions.delete(v);
  };

  const kept = readEntries(path).filter((entry) => now() - entry.t < sessionAgeMsMax);
  kept.forEach(apply);
  if (kept.length > compactAbove) {
    const live = kept.filter((entry) => entry.k === 'end' || !ended.has(entry.s));
    writeFileSync(`${path}.new`, live.map(toLine).join(''), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  const add = (entry: Omit<Entry, 't'>): void => {
    const dated: Entry = { t: now(), ...entry };
    apply(dated);
    if (!isFolderThere) mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    isFolderThere = true;
    appendFileSync(path, toLine(dated), { mode: 0o600 });
  };

  return {
    isEnded: (session) => ended.has(session),
    memoryOf: (session) => memories.get(session) ?? noMemory(),
    setLevel: (session, level) => add({ s: session, k: 'level', v: level }),
    subscribe: (session, uri) => add({ s: session, k: 'sub', v: uri }),
    unsubscribe: (session, uri) => add({ s: session, k: 'unsub', v: uri }),
    renew: (session, sealed) => add({ s: session, k: 'new', v: sealed }),
    end: (session) => add({ s: session, k: 'end' }),
  };
}

const noMemory = (): SessionMemory => ({ logLevel: null, subscriptions: new Set(), renewed: null });
const compactAbove = 1_000;
const toLine = (entry: Entry): string => `${JSON.stringify(entry)}\n`;

/** A torn last line, as a killed process leaves it, is left out. */
function readEntries(path: string): Entry[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line) => {
      if (line === '') return [];
      try {
        return [JSON.parse(line) as Entry];
      } catch {
        return [];
      }
    });
}
