/**
 * Finds literals that look like keys. A config file is read, committed and copied by many; a secret in it is refused,
 * and the problem says where it stands and what to write instead, never what it is.
 */
import { toPointer } from './configText.js';
import type { FoundProblem } from './configProblem.js';
import { isSecretName } from './envNames.js';

/** Forms that issuers publish for secret scanning. */
const knownForms: readonly RegExp[] = [
  /\bgh[pousr]_[A-Za-z0-9]{20,}/,
  /\bgithub_pat_[A-Za-z0-9_]{20,}/,
  /\bglpat-[A-Za-z0-9_-]{16,}/,
  /\bxox[abeoprs]-[A-Za-z0-9-]{10,}/,
  /\bxapp-[A-Za-z0-9-]{10,}/,
  /\bsk-(?:[a-z]+-)*[A-Za-z0-9_-]{20,}/,
  /\b[rs]k_(?:live|test)_[A-Za-z0-9]{10,}/,
  /\bwhsec_[A-Za-z0-9+/=]{20,}/,
  /\bfig[dou]_[A-Za-z0-9_-]{20,}/,
  /\b(?:ntn|secret)_[A-Za-z0-9]{30,}/,
  /\blin_(?:api|oauth)_[A-Za-z0-9]{20,}/,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/,
  /\bAIza[A-Za-z0-9_-]{30,}/,
  /\bya29\.[A-Za-z0-9_-]{20,}/,
  /\bnpm_[A-Za-z0-9]{30,}/,
  /\bhf_[A-Za-z0-9]{30,}/,
  /\bdop_v1_[a-f0-9]{40,}/,
  /\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}/,
  /\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\./,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
  /\bAGE-SECRET-KEY-1[A-Z0-9]{20,}/,
  /\b[a-z][a-z0-9+.-]*:\/\/[^/\s:@]*:[^/\s@]+@/i,
];

const headerSecret = /^(?:Bearer|Basic|Token|ApiKey|Bot)\s+\S{8,}$/i;
const optionWithSecret = /^--?([A-Za-z0-9][A-Za-z0-9_-]*)=(.+)$/;
const queryWithSecret = /[?&]([A-Za-z0-9_-]+)=([^&#{}]+)/g;

const remedy =
  'looks like a key. Remove it here, revoke it, and write {"$userToken"} or {"$credential"} for a key of each user, or {"$env"} or {"$file"} for one of yours';

/** Where values stand that reach an upstream: there the name beside a value counts as well. */
const valuePlaces = /\/(?:env|headers|query|adminConfig|extraAuthParams|args|command|clientSecret)(?:\/|$)/;

export function findSecretLiterals(config: unknown): FoundProblem[] {
  const found: FoundProblem[] = [];
  const look = (value: unknown, pointer: string, name: string, before: unknown): void => {
    if (typeof value === 'string') {
      if (looksLikeSecret(value, pointer, name, before)) found.push({ pointer, message: remedy });
    } else if (Array.isArray(value)) {
      value.forEach((item, index) => look(item, toPointer(pointer, index), name, value[index - 1]));
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, member] of Object.entries(value)) look(member, toPointer(pointer, key), key, null);
    }
  };
  look(config, '', '', null);
  return found;
}

function looksLikeSecret(text: string, pointer: string, name: string, before: unknown): boolean {
  if (knownForms.some((form) => form.test(text))) return true;
  for (const [, parameter = '', value = ''] of text.matchAll(queryWithSecret)) {
    if (/^\w+:\/\//.test(text) && namesSecret(parameter) && looksRandom(value)) return true;
  }
  if (!valuePlaces.test(pointer) || pointer.endsWith('/$env') || pointer.endsWith('/$file')) return false;
  if (headerSecret.test(text) && !text.includes('{{')) return true;
  const option = optionWithSecret.exec(text);
  if (option !== null) return namesSecret(option[1] ?? '') && looksRandom(option[2] ?? '');
  if (typeof before === 'string' && /^--?[A-Za-z]/.test(before)) {
    return namesSecret(before.replace(/^-+/, '')) && looksRandom(text);
  }
  // The name that counts is the nearest one that an admin chose: `default` of {"$env"} stands for its variable.
  const named = name === 'default' ? (pointer.split('/').at(-2) ?? '') : name;
  return namesSecret(named) && looksRandom(text);
}

/** `TOKEN_URL` and `AUTH_MODE` speak of a secret and hold none. */
function namesSecret(name: string): boolean {
  const speaksOfOne =
    /(?:url|uri|file|path|mode|type|name|id|header|endpoint|host|version|scheme|method|prefix|ttl)$/i;
  return isSecretName(name) && !speaksOfOne.test(name);
}

/** Long, without blanks, no URL, path or template, with digits and letters mixed: words and settings are not. */
function looksRandom(text: string): boolean {
  return (
    text.length >= 12 &&
    !/\s|\{\{|^\w+:\/\/|^[./]/.test(text) &&
    /\d/.test(text) &&
    /[A-Za-z]/.test(text) &&
    new Set(text).size >= 8
  );
}
