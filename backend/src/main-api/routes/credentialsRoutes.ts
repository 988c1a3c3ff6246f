/** Credentials by service (I06) and a user's own settings of a service (I08). A secret goes in and never out. */
import { z } from 'zod';
import type { InstanceManager } from '../../services/instanceManager/instanceManager.js';
import { defineRoute, type Route } from '../defineRoute.js';
import {
  credentialBody,
  inputFields,
  instanceStates,
  labelQuery,
  serviceParams,
  toTexts,
} from './instanceSchemas.js';
import { toName } from './instancesRoutes.js';

const summary = z.object({
  serviceType: z.string(),
  title: z.string(),
  label: z.string().nullable(),
  configured: z.boolean(),
  required: z.boolean().describe('Whether a call needs a credential of your own.'),
  method: z.string().nullable(),
  identity: z.string().nullable(),
  state: instanceStates,
});

const setup = z.object({
  displayName: z.string(),
  instructions: z.string(),
  helpUrl: z.string().nullable(),
  consoleUrl: z.string(),
});

const view = summary.extend({
  fields: z
    .array(z.object({ name: z.string(), label: z.string(), isSet: z.boolean() }))
    .readonly()
    .describe('Which fields are set; their values never come back.'),
  requiresSetup: z.boolean(),
  setup: setup.nullable(),
});

const overrides = z.object({
  serviceType: z.string(),
  label: z.string(),
  allowed: z.boolean(),
  merge: z.enum(['user-wins', 'admin-wins']),
  fields: inputFields,
  values: z.record(z.string(), z.string()),
  setKeys: z.array(z.string()).readonly(),
  adminKeys: z.array(z.string()).readonly(),
});

const credentials = ['Credentials'];
const onePath = '/api/v1/credentials/:serviceType';
const overridesPath = '/api/v1/services/:serviceType/instance/overrides';

export function createCredentialsRoutes({
  instanceManager,
}: {
  readonly instanceManager: InstanceManager;
}): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/v1/credentials',
      operationId: 'list_credentials',
      summary: 'List which services you have a credential for',
      tags: credentials,
      auth: 'user',
      responses: {
        200: { description: 'Every service.', schema: z.object({ credentials: z.array(summary) }) },
      },
      async handle({ actor }) {
        return { status: 200, body: { credentials: await instanceManager.listCredentials(actor) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: onePath,
      operationId: 'get_credential',
      summary: 'Show what is stored for a service, without its secrets',
      tags: credentials,
      auth: 'user',
      problems: ['SERVICE_UNKNOWN', 'CREDENTIAL_UNREADABLE'],
      request: { params: serviceParams, query: labelQuery },
      responses: { 200: { description: 'What is set, and how to set it up if nothing is.', schema: view } },
      async handle({ actor, params, query }) {
        return { status: 200, body: await instanceManager.getCredential(actor, toName(params, query)) };
      },
    }),
    defineRoute({
      method: 'put',
      path: onePath,
      operationId: 'put_credential',
      summary: 'Store a credential after checking it against the service',
      description: 'Makes the instance when there is none yet; its URL is shown by the routes of instances.',
      tags: credentials,
      auth: 'user',
      limit: 'authenticate',
      problems: [
        'SERVICE_UNKNOWN',
        'SERVICE_UNAVAILABLE',
        'CREDENTIAL_MISSING',
        'CREDENTIAL_REJECTED',
        'UPSTREAM_UNREACHABLE',
        'UPSTREAM_FAILED',
        'CONFLICT',
        'VERSION_CONFLICT',
        'SEALED',
      ],
      audit: { action: 'credential.stored', target: 'service' },
      request: { params: serviceParams, query: labelQuery, body: credentialBody },
      responses: {
        200: { description: 'The credential was replaced.', schema: view.extend({ message: z.string() }) },
        201: { description: 'The service is connected.', schema: view.extend({ message: z.string() }) },
      },
      async handle({ actor, params, query, body }) {
        const name = toName(params, query, body);
        const { isNew, message } = await instanceManager.authenticate(actor, name, {
          ...(body.apiKey === undefined ? {} : { apiKey: body.apiKey }),
          ...(body.method === undefined ? {} : { method: body.method }),
          additionalCredentials: toTexts(body.additionalCredentials),
        });
        const stored = await instanceManager.getCredential(actor, name);
        return { status: isNew ? 201 : 200, body: { ...stored, message } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: onePath,
      operationId: 'delete_credential',
      summary: 'Delete the credential and keep the instance URL',
      tags: credentials,
      auth: 'user',
      limit: 'write',
      problems: ['NOT_FOUND'],
      audit: { action: 'credential.deleted', target: 'service' },
      request: { params: serviceParams, query: labelQuery },
      responses: { 204: { description: 'It is gone.' } },
      async handle({ actor, params, query }) {
        await instanceManager.deleteCredential(actor, toName(params, query));
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: overridesPath,
      operationId: 'get_overrides',
      summary: 'Show your own settings of a service',
      tags: ['Instances'],
      auth: 'user',
      problems: ['NOT_FOUND', 'SERVICE_UNKNOWN', 'CREDENTIAL_UNREADABLE'],
      request: { params: serviceParams, query: labelQuery },
      responses: { 200: { description: 'The form and what is set.', schema: overrides } },
      async handle({ actor, params, query }) {
        return { status: 200, body: await instanceManager.getOverrides(actor, toName(params, query)) };
      },
    }),
    defineRoute({
      method: 'put',
      path: overridesPath,
      operationId: 'put_overrides',
      summary: 'Replace your own settings of a service',
      tags: ['Instances'],
      auth: 'user',
      limit: 'write',
      problems: ['NOT_FOUND', 'SERVICE_UNKNOWN', 'VERSION_CONFLICT', 'SEALED'],
      audit: { action: 'instance.overrides_changed', target: 'service' },
      request: {
        params: serviceParams,
        query: labelQuery,
        body: z.strictObject({
          values: z
            .record(z.string().max(64), z.union([z.string().max(16_384), z.number(), z.boolean()]))
            .describe('All of them; a key that is left out or empty is removed.'),
        }),
      },
      responses: { 200: { description: 'What is set now.', schema: overrides } },
      async handle({ actor, params, query, body }) {
        const values = toTexts(body.values);
        return {
          status: 200,
          body: await instanceManager.putOverrides(actor, toName(params, query), values),
        };
      },
    }),
  ];
}
