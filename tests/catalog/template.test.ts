import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  isHeaderSafe,
  parseArgumentTemplate,
  parseTemplate,
  renderTemplate,
  TemplateError,
  type TemplatePlace,
} from '../../backend/src/catalog/template.js';
import { AppError } from '../../backend/src/errors/appError.js';

const known = new Set(['a', 'b', 'token']);
const withFields = (fields: Record<string, string>, token: string | null = null) => ({
  token,
  fields: new Map(Object.entries(fields)),
});
const places: TemplatePlace[] = ['header', 'environment', 'argument', 'url', 'query', 'body'];

describe('a template', () => {
  it('puts values between its literals', () => {
    const template = parseTemplate('credential', 'x={{a}}; y={{b}}!', known);
    expect(renderTemplate(template, withFields({ a: '1', b: '2' }), 'environment')).toBe('x=1; y=2!');
  });

  it('never looks at a value again, whatever it contains', () => {
    const template = parseTemplate('credential', '<{{a}}|{{b}}>', known);
    fc.assert(
      fc.property(fc.string(), fc.string(), (first, second) => {
        fc.pre(!/\0/.test(first + second));
        for (const a of [first, `{{b}}${first}`, `$HOME${first}`, `{{token}}{{a}}`]) {
          expect(renderTemplate(template, withFields({ a, b: second }), 'environment')).toBe(
            `<${a}|${second}>`,
          );
        }
      }),
    );
  });

  it('F04 keeps shell text of a value literal', () => {
    const template = parseTemplate('credential', '--name={{a}}', known);
    const value = '; $(id) || && `id`\n';
    expect(renderTemplate(template, withFields({ a: value }), 'argument')).toBe(`--name=${value}`);
  });

  it.each([
    '{{constructor}}',
    '{{__proto__}}',
    '{{constructor.constructor}}',
    '{{toString}}',
    '{{hasOwnProperty}}',
    '{{prototype}}',
    '{{other_instance.token}}',
    '{{ a }}',
    '{{}}',
    '{{a.b}}',
    '{{a[0]}}',
    '{{A}}',
  ])('F10 refuses the placeholder of %s when it is parsed', (text) => {
    const declared = new Set([...known, 'constructor', '__proto__', 'toString', 'prototype']);
    for (const names of [known, declared]) {
      expect(() => parseTemplate('credential', text, names)).toThrow(TemplateError);
    }
  });

  it.each(['{{a', 'a}} {{', '{{a}', '{{{{a}}', 'no placeholder at all'])(
    'refuses the unbalanced text %s',
    (text) => {
      expect(() => parseTemplate('credential', text, known)).toThrow(TemplateError);
    },
  );

  it('F10 names the placeholders that there are, never the text around one', () => {
    expect(() => parseTemplate('credential', 'canary-5f1 {{nope}}', known)).toThrow(
      /known here: \{\{a\}\}, \{\{b\}\}, \{\{token\}\}$/,
    );
  });

  it('writes values as JSON where the text around them is JSON', () => {
    const template = parseTemplate(
      'userToken',
      '{"Authorization":"Bearer {{token}}","v":["{{token}}"]}',
      known,
    );
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (token) => {
        const text = renderTemplate(template, withFields({}, token), 'environment');
        expect(JSON.parse(text ?? '')).toEqual({ Authorization: `Bearer ${token}`, v: [token] });
      }),
    );
  });

  it.each(['{"n": {{a}} }', '[{{a}}]', '{"{{a}}": }', '{ {{a}} }'])(
    'refuses %s: a placeholder in JSON has to stand inside a string',
    (text) => {
      expect(() => parseTemplate('credential', text, known)).toThrow(/JSON/);
    },
  );

  it('E08 refuses what no header can carry, and does not say what it was', () => {
    const template = parseTemplate('userToken', 'Bearer {{token}}', known);
    for (const token of ['q7x\r\nX-Evil: 1', 'q7x\n', 'q7x\0', 'q7x\u2028', 'q7xä€', 'q7x\x7f']) {
      const refused = attempt(() => renderTemplate(template, withFields({}, token), 'header'));
      expect(refused).toBeInstanceOf(AppError);
      expect(JSON.stringify([(refused as AppError).message, (refused as AppError).options])).not.toContain(
        'q7x',
      );
    }
    expect(renderTemplate(template, withFields({}, 'grün'), 'header')).toBe('Bearer grün');
  });

  it('E08 calls a value header-safe only when it has neither control characters nor more than latin1', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const isSafe = Array.from(value).every((character) => {
          const code = character.codePointAt(0) ?? 0;
          return code === 9 || (code >= 0x20 && code <= 0xff && code !== 0x7f);
        });
        expect(isHeaderSafe(value)).toBe(isSafe);
      }),
    );
  });

  it('F03 refuses a value that would become an option, unless a literal stands before it', () => {
    const bare = parseTemplate('credential', '{{a}}', known);
    const after = parseTemplate('credential', '--path={{a}}', known);
    for (const a of ['-e', '--call=x', '-']) {
      expect(() => renderTemplate(bare, withFields({ a }), 'argument')).toThrow(AppError);
      expect(renderTemplate(after, withFields({ a }), 'argument')).toBe(`--path=${a}`);
    }
    expect(renderTemplate(bare, withFields({ a: 'plain' }), 'argument')).toBe('plain');
  });

  it('encodes the values in a URL, so that none leaves its segment', () => {
    const template = parseTemplate('credential', 'https://{{a}}.example.com/x/{{b}}', known);
    const url = renderTemplate(template, withFields({ a: 'evil.com/', b: '../?#@//' }), 'url');
    expect(url).toBe('https://evil.com%2F.example.com/x/..%2F%3F%23%40%2F%2F');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (b) => {
        fc.pre(!b.includes('\0'));
        const text = renderTemplate(template, withFields({ a: 'site', b }), 'url') ?? '';
        expect(text.split('/')).toHaveLength(5);
        expect(text).not.toMatch(/[?#]/);
      }),
    );
  });

  it('encodes the whole text for HTTP Basic, with its prefix outside', () => {
    const template = parseTemplate('credential', '{{a}}:{{b}}', known, {
      encode: 'base64',
      prefix: 'Basic ',
    });
    const header = renderTemplate(template, withFields({ a: 'user', b: 'pä€ss\n' }), 'header') ?? '';
    expect(Buffer.from(header.slice('Basic '.length), 'base64').toString()).toBe('user:pä€ss\n');
  });

  it('is left out when it is to be and a value is empty', () => {
    const template = parseTemplate('credential', 'k={{a}}', known, { omitIfEmpty: true });
    for (const place of places) {
      expect(renderTemplate(template, withFields({}), place)).toBeNull();
      expect(renderTemplate(template, withFields({ a: '' }), place)).toBeNull();
    }
  });

  it('A09 stops without the bearer token that it needs', () => {
    const template = parseTemplate('userToken', 'Bearer {{token}}', known);
    expect(
      attempt(() => renderTemplate(template, withFields({ token: 'of a field' }), 'header')),
    ).toMatchObject({
      code: 'CREDENTIAL_MISSING',
    });
  });

  it('refuses NUL in every place', () => {
    const template = parseTemplate('credential', '-{{a}}', known);
    for (const place of places.filter((one) => one !== 'url')) {
      expect(() => renderTemplate(template, withFields({ a: 'x\0y' }), place)).toThrow(AppError);
    }
  });
});

describe('an argument template', () => {
  it('knows the arguments that the tool declares, and no others', () => {
    expect(parseArgumentTemplate('/v1/files/{a}/x-{b}', known).parts).toEqual([
      { literal: '/v1/files/' },
      { placeholder: 'a' },
      { literal: '/x-' },
      { placeholder: 'b' },
    ]);
    for (const text of ['/{c}', '/{constructor}', '/{__proto__}', '/{', '/}', '/{a', '/{}']) {
      expect(() => parseArgumentTemplate(text, known)).toThrow(TemplateError);
    }
  });
});

function attempt(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    return error;
  }
}
