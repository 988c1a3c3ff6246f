/** A service that is a program of this machine: what is started for an instance, and how it is kept apart. */
import { z } from 'zod';
import {
  egressSchema,
  envMapSchema,
  isolationSchema,
  memorySize,
  protocolSchema,
  valueSchema,
} from './valueSchemas.js';

const text = (max: number) => z.string().min(1).max(max);
const sha256 = z.string().regex(/^[a-f0-9]{64}$/, 'must be 64 hex digits');

/** Of every upstream that is a process of its own. */
export const processLimits = {
  isolation: isolationSchema,
  idleTimeoutSec: z.int().min(1).max(86_400).default(300),
};

const hostPaths = z
  .array(
    z
      .string()
      .max(1_000)
      .regex(/^\/(?!.*(?:^|\/)\.\.(?:\/|$))/, 'must be an absolute path without ..'),
  )
  .max(50)
  .default([]);

const sandbox = z
  .strictObject({
    mode: z
      .enum(['auto', 'required', 'off'])
      .default('auto')
      .describe(
        'auto: kept apart as far as this machine allows. required: no child where it does not. off: a plain child.',
      ),
    readPaths: hostPaths.describe(
      'What it may read besides programs and packages: data of its own, programs outside of /usr.',
    ),
    writePaths: hostPaths,
    network: z
      .enum(['host', 'none'])
      .default('host')
      .describe('none: it has no network at all, not even the loopback of this machine; needs bubblewrap.'),
  })
  .meta({
    id: 'sandbox',
    description: 'How far a child is kept off the gateway, its siblings and the machine.',
  });

export const stdioSchema = z
  .strictObject({
    command: text(1_000)
      .regex(/^(?:\/|[^/]+$)/, 'must be the bare name of a command or an absolute path')
      .refine((command) => !command.startsWith('-'), 'must not begin with -'),
    args: z.array(valueSchema).max(200).default([]),
    env: envMapSchema.default({}),
    cwd: valueSchema.optional(),
    inheritEnv: z
      .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is no name of an environment variable'))
      .max(50)
      .default(['PATH', 'HOME', 'LANG', 'TZ']),
    package: z
      .strictObject({
        registryType: z.enum(['npm', 'pypi', 'oci', 'nuget', 'mcpb']),
        identifier: z
          .string()
          .max(214)
          .regex(/^(?!-)(?!.*\.\.)[A-Za-z0-9@][A-Za-z0-9@._~/:+-]*$/, 'is no package name'),
        version: z
          .string()
          .max(100)
          .regex(/^\d[0-9A-Za-z.+-]*$/, 'must be one exact version, no tag or range'),
        sha256: sha256.optional(),
      })
      .optional(),
    ...processLimits,
    startupTimeoutMs: z.int().min(100).max(300_000).default(15_000),
    maxProcesses: z.int().min(1).max(10_000).default(50),
    maxPerUser: z.int().min(1).max(1_000).default(3),
    memory: memorySize('2g').describe('Data that one process of the server may hold.'),
    tasksMax: z
      .int()
      .min(16)
      .max(32_768)
      .default(512)
      .describe('Processes and threads that a child may have; kept wherever children are kept apart.'),
    sandbox: sandbox.prefault({}),
    protocol: protocolSchema,
    egress: egressSchema
      .prefault({})
      .describe(
        'For its probe, its health check and what users enter as a URL; the program itself goes where it likes.',
      ),
  })
  .meta({ id: 'stdioUpstream' });

export type StdioConfig = z.output<typeof stdioSchema>;
