/**
 * The values that a config file may hold: literals, references that are resolved when the file is loaded, and marked
 * templates that are rendered for each use. An unmarked text is never expanded.
 */
import { z } from 'zod';
import { isDeniedEnvName } from '../envNames.js';
import { isDeniedHeaderName } from '../headerNames.js';

const envRef = z
  .strictObject({
    $env: z.string().regex(/^[A-Z][A-Z0-9_]*$/, 'must be the name of an environment variable, as MY_SETTING'),
    default: z.string().optional(),
    optional: z.boolean().optional(),
  })
  .meta({
    id: 'envRef',
    description: 'The value of an environment variable, read when the service is loaded.',
  });

const fileRef = z
  .strictObject({
    $file: z.string().regex(/^\//, 'must be an absolute path'),
    trim: z.boolean().default(true),
  })
  .meta({ id: 'fileRef', description: 'The content of a file, read when the service is loaded.' });

const omitIfEmpty = z
  .boolean()
  .describe('Leave the whole header, variable, parameter or argument out when the value is empty.')
  .optional();

const userTokenRef = z
  .strictObject({ $userToken: z.string().min(1), omitIfEmpty })
  .meta({ id: 'userTokenRef', description: 'A text with {{token}}: the bearer token of the calling user.' });

const credentialRef = z
  .strictObject({
    $credential: z.string().min(1),
    encode: z.enum(['none', 'base64', 'url', 'json']).default('none'),
    prefix: z.string().describe('Put before the encoded text as it is, as "Basic ".').optional(),
    omitIfEmpty,
  })
  .meta({
    id: 'credentialRef',
    description: 'A text with {{field}}: fields of the credential, override keys, keys of adminConfig.',
  });

const instanceRef = z.strictObject({ $instance: z.string().min(1) }).meta({
  id: 'instanceRef',
  description: "A text with {{dataDir}}: the instance's private directory, 0700, gone with the instance.",
});

const literals = [z.string(), z.number(), z.boolean()] as const;

export const staticValueSchema = z
  .union([...literals, envRef, fileRef], {
    error: 'must be a text, a number, true, false, {"$env": …} or {"$file": …}',
  })
  .meta({ id: 'staticValue' });

export const valueSchema = z
  .union([...literals, envRef, fileRef, userTokenRef, credentialRef, instanceRef], {
    error:
      'must be a text, a number, true, false, or one of {"$env"}, {"$file"}, {"$userToken"}, {"$credential"}, {"$instance"}',
  })
  .meta({ id: 'value' });

export type StaticValue = z.output<typeof staticValueSchema>;
export type Value = z.output<typeof valueSchema>;
export type EnvRef = z.output<typeof envRef>;
export type FileRef = z.output<typeof fileRef>;

/** E09: what frames the message, or belongs to this hop, is not the config's to set. */
const headerName = z
  .string()
  .max(100)
  .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, 'is no header name')
  .refine(
    (name) => !isDeniedHeaderName(name),
    'is a header that Portolan sets itself; it cannot be configured',
  );

/** F06: names that change what a process loads or runs. */
export const envNameSchema = z
  .string()
  .max(100)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is no name of an environment variable')
  .refine(
    (name) => !isDeniedEnvName(name),
    'would change what the process loads or runs; it cannot be set here',
  );

export const headerMapSchema = z.record(headerName, valueSchema).meta({ id: 'headerMap' });
export const envMapSchema = z.record(envNameSchema, valueSchema).meta({ id: 'envMap' });
export const queryMapSchema = z.record(z.string().min(1).max(100), valueSchema).meta({ id: 'queryMap' });
export const bodySchema = z
  .json()
  .describe(
    'A JSON value; {"$userToken"}, {"$credential"}, {"$env"}, {"$file"} and {"$arg": "name"} may stand for any part of it.',
  );

export const globsSchema = z.array(z.string().min(1).max(200)).max(500);
export const webUrlSchema = z.url({ protocol: /^https?$/, error: 'must be an http or https URL' });
export const egressSchema = z
  .strictObject({
    allowHosts: z
      .array(
        z
          .string()
          .regex(
            /^(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*$/,
            'must be a host name in lower case, "*." in front allowed',
          ),
      )
      .max(100)
      .default([]),
    allowPrivate: z
      .boolean()
      .default(false)
      .describe(
        'Let this service reach loopback and private addresses. For services of your own network only.',
      ),
  })
  .meta({ id: 'egress' });

export const isolationSchema = z.enum(['per-instance', 'per-session', 'shared']).default('per-instance');
export const protocolSchema = z.enum(['auto', 'legacy', 'modern']).default('auto');
export const jsonPointerSchema = z
  .string()
  .regex(/^(?:\/(?:[^~/]|~[01])*)*$/, 'must be a JSON pointer, as /data/id');

/** Bytes as `512m` or `2g`. */
export const memorySize = (byDefault: string) =>
  z
    .string()
    .regex(/^[1-9]\d*[mg]$/, 'must be a number and m or g, as 256m')
    .default(byDefault);
