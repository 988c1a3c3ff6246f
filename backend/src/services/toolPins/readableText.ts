/**
 * Text of an upstream as an admin has to see it: what cannot be seen, or looks like something else, is written as its code
 * point, `\u{200B}`. A change that hides in a zero-width space or in a Cyrillic "а" is a change that one reads.
 */

/** Formats, bidirectional marks, tags, surrogates, private and unassigned ones; letters that are drawn as nothing. */
const invisible = /[\p{C}\p{Zl}\p{Zp}\p{Variation_Selector}\p{Default_Ignorable_Code_Point}\u2800]/u;
const otherSpace = /\p{Zs}/u;
const letter = /\p{L}/u;
const latin = /\p{Script=Latin}/u;
const mark = /\p{M}/u;

/** Line feeds stay, so that text of several lines is compared by line. */
export function toReadableText(text: string): string {
  const isLatin = isMostlyLatin(text);
  let readable = '';
  for (const character of text) {
    const isPlain = character === '\n' || !needsEscape(character, isLatin);
    readable += isPlain ? character : escapeCharacter(character);
  }
  return readable;
}

/** What an admin should know before reading, in words; none for ordinary text. */
export function findOddities(text: string): string[] {
  const oddities: string[] = [];
  const characters = Array.from(text);
  if (characters.some((one) => one !== '\n' && one !== '\t' && invisible.test(one)))
    oddities.push('has invisible characters');
  if (isMostlyLatin(text) && characters.some((one) => letter.test(one) && !latin.test(one)))
    oddities.push('mixes letters of several scripts');
  return oddities;
}

function needsEscape(character: string, isLatin: boolean): boolean {
  const code = character.codePointAt(0) ?? 0;
  if (code >= 0x20 && code < 0x7f) return false;
  if (invisible.test(character) || otherSpace.test(character)) return true;
  // Full-width, mathematical and other letters that stand for plain ones.
  if (character.normalize('NFKC') !== character) return true;
  return isLatin && (mark.test(character) || (letter.test(character) && !latin.test(character)));
}

/** Among Latin letters others are suspicious; a text in Greek or Japanese is not. */
function isMostlyLatin(text: string): boolean {
  let ofLatin = 0;
  let ofOthers = 0;
  for (const character of text) {
    if (!letter.test(character)) continue;
    if (latin.test(character)) ofLatin += 1;
    else ofOthers += 1;
  }
  return ofLatin > ofOthers;
}

function escapeCharacter(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}}`;
}
