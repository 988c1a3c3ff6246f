/**
 * Checks the arguments of a call against the tool's JSON Schema before anything is sent, fills in its defaults, and says
 * what is wrong in words that a model can act on.
 */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import ajvFormats from 'ajv-formats';
import { AppError, type InvalidField } from '../../../../errors/appError.js';
import { withinTime } from '../../../../lifecycle/timeLimit.js';
import { isJsonObject, type JsonObject } from '../../protocol/jsonRpc.js';
import { isLight, isPlainSchema } from './checkCost.js';

export type ArgumentCheck =
  | { readonly kind: 'fits'; readonly given: JsonObject }
  | { readonly kind: 'wrong'; readonly problems: readonly InvalidField[] }
  /** Not checked to the end: it took too long, or would need more time than a short check does. */
  | { readonly kind: 'tooLong' };

/** @param isShort nothing is tried that may take long. */
export type CheckArguments = (given: unknown, isShort?: boolean) => ArgumentCheck;

/** Listing every fault of a huge document is a way to exhaust us: above this size only the first is named. */
const fullReportCharsMax = 16_384;
const problemsMax = 8;
const expectedCharsMax = 240;
/** How long the event loop may stand for one check (R28), and for what a schema is made into. */
const checkMsMax = 100;
const compileMsMax = 2_000;
/** After a check that took too long. */
const holdOffMs = 10_000;

const settings = {
  strict: false,
  validateSchema: false,
  addUsedSchema: false,
  useDefaults: true,
  logger: false,
} as const;

const dialects = new Map<string, Ajv>();

/** @throws AppError CONFIG_INVALID when the schema cannot be compiled. */
export function compileArguments(schema: JsonObject): CheckArguments {
  const validate = compileSchema(schema, false);
  let explain: ValidateFunction | null = null;
  const copy = toCopy(schema);
  const isPlain = isPlainSchema(schema);
  const check = (given: JsonObject): ArgumentCheck => {
    const filled = copy(given);
    if (validate(filled)) return { kind: 'fits', given: filled };
    return { kind: 'wrong', problems: toProblems(validate.errors ?? []) };
  };
  const findAllProblems = (given: JsonObject): InvalidField[] | null => {
    explain ??= compileSchema(schema, true);
    const whole = explain;
    return withinTime(checkMsMax, () => {
      whole(structuredClone(given));
      return toProblems(whole.errors ?? []);
    });
  };
  return (raw, isShort = false) => {
    const given = raw ?? {};
    if (!isJsonObject(given)) {
      return { kind: 'wrong', problems: [{ pointer: '', message: 'must be an object' }] };
    }
    const isCheap = isPlain && isLight(given);
    if (isShort && !isCheap) return { kind: 'tooLong' };
    const checked = isCheap ? check(given) : withinTime(checkMsMax, () => check(given));
    if (checked === null) return { kind: 'tooLong' };
    if (checked.kind !== 'wrong' || JSON.stringify(given).length > fullReportCharsMax) return checked;
    return { kind: 'wrong', problems: findAllProblems(given) ?? checked.problems };
  };
}

/** Defaults are written into the arguments, which belong to the caller: as much is copied as they can reach. */
function toCopy(schema: JsonObject): (given: JsonObject) => JsonObject {
  const { properties, ...rest } = schema;
  const inner = Object.values(isJsonObject(properties) ? properties : {}).map((property) => {
    const { default: _, ...below } = isJsonObject(property) ? property : {};
    return below;
  });
  if (JSON.stringify([rest, inner]).includes('"default":')) return (given) => structuredClone(given);
  if (!JSON.stringify(schema).includes('"default":')) return (given) => given;
  // A spread makes an object to which members are added some ten times slower (V8, Node 20).
  return (given) => Object.assign<JsonObject, JsonObject>({}, given);
}

/** For answers: whether a value has the declared form; none has it that takes too long. @throws AppError CONFIG_INVALID */
export function compileCheck(schema: JsonObject): (value: unknown) => boolean {
  const validate = compileSchema(schema, false, { useDefaults: false });
  const isPlain = isPlainSchema(schema);
  let heldOffUntil = 0;
  return (value) => {
    if (isPlain && isLight(value)) return validate(value);
    if (performance.now() < heldOffUntil) return false;
    const fits = withinTime(checkMsMax, () => validate(value));
    if (fits === null) heldOffUntil = performance.now() + holdOffMs;
    return fits ?? false;
  };
}

function compileSchema(
  schema: JsonObject,
  allErrors: boolean,
  more: { readonly useDefaults?: boolean } = {},
): ValidateFunction {
  const { $id: _, ...rest } = schema;
  const legacy = /draft-0[467]/.test(typeof schema.$schema === 'string' ? schema.$schema : '');
  const compile = (unicode: boolean): ValidateFunction => {
    const ajv = dialectOf({ legacy, allErrors, unicode, ...more });
    const made = withinTime(compileMsMax, () => ajv.compile(rest));
    if (made === null) throw new AppError('CONFIG_INVALID', 'the schema of a tool takes too long to compile');
    return made;
  };
  try {
    return compile(true);
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown;
    // Patterns of OpenAPI documents are often no valid `u` expressions; they may still be valid without.
    try {
      return compile(false);
    } catch (error) {
      if (error instanceof AppError) throw error;
      throw new AppError('CONFIG_INVALID', 'the schema of a tool cannot be compiled', { cause: error });
    }
  }
}

function dialectOf(choice: {
  readonly legacy: boolean;
  readonly allErrors: boolean;
  readonly unicode: boolean;
  readonly useDefaults?: boolean;
}): Ajv {
  const key = JSON.stringify(choice);
  let ajv = dialects.get(key);
  if (ajv === undefined) {
    const Dialect = choice.legacy ? Ajv : Ajv2020;
    ajv = new Dialect({
      ...settings,
      verbose: choice.allErrors,
      allErrors: choice.allErrors,
      unicodeRegExp: choice.unicode,
      useDefaults: choice.useDefaults ?? true,
    });
    ajvFormats.default(ajv);
    dialects.set(key, ajv);
  }
  return ajv;
}

function toProblems(errors: readonly ErrorObject[]): InvalidField[] {
  const problems = new Map<string, InvalidField>();
  for (const error of errors) {
    const problem = toProblem(error);
    if (problems.size < problemsMax) problems.set(`${problem.pointer} ${problem.message}`, problem);
  }
  return [...problems.values()];
}

function toProblem(error: ErrorObject): InvalidField {
  const { instancePath: at, keyword, message = 'is not valid' } = error;
  const parameters = error.params as Readonly<Record<string, unknown>>;
  const under = (name: unknown): string =>
    `${at}/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`;
  switch (keyword) {
    case 'required': {
      const name = String(parameters.missingProperty);
      return { pointer: under(name), message: `is required${toExpected(propertyOf(error, name))}` };
    }
    case 'additionalProperties':
    case 'unevaluatedProperties': {
      const known = Object.keys(propertiesOf(error));
      const hint = known.length === 0 ? '' : `; known are ${known.slice(0, 40).join(', ')}`;
      const name = parameters.additionalProperty ?? parameters.unevaluatedProperty;
      return { pointer: under(name), message: `is not known${hint}` };
    }
    case 'enum': {
      const allowed = Array.isArray(parameters.allowedValues) ? parameters.allowedValues : [];
      return { pointer: at, message: `must be one of ${JSON.stringify(allowed).slice(0, expectedCharsMax)}` };
    }
    default:
      return { pointer: at, message: `${message}${toExpected(error.parentSchema)}` };
  }
}

function propertiesOf({ parentSchema }: ErrorObject): JsonObject {
  const properties: unknown = parentSchema?.properties;
  return isJsonObject(properties) ? properties : {};
}

const propertyOf = (error: ErrorObject, name: string): unknown => propertiesOf(error)[name];

/** The schema of the place, cut to a length that helps. */
function toExpected(schema: unknown): string {
  if (!isJsonObject(schema)) return '';
  const { title: _title, default: _default, examples: _examples, ...form } = schema;
  const text = JSON.stringify(form);
  return text.length > expectedCharsMax ? '' : ` (expected: ${text})`;
}
