/** The credential that all users of a service share (12.19), for admins. A secret goes in and never out. */
import { z } from 'zod';
import type { SharedCredentials } from '../../services/sharedCredentials.js';
import { defineRoute, type Route } from '../defineRoute.js';
import { credentialBody, serviceParams, toTexts } from './instanceSchemas.js';

const tags = ['Credentials'];
const path = '/api/v1/services/:serviceType/shared-credential';

const view = z.object({
  serviceType: z.string(),
  title: z.string(),
  configured: z.boolean(),
  method: z.string().nullable(),
  fields: z
    .array(z.object({ name: z.string(), label: z.string(), isSet: z.boolean() }))
    .readonly()
    .describe('Which fields are set; their values never come back.'),
  identity: z.string().nullable().describe('Who the service says that it belongs to.'),
  isVerified: z.boolean().describe('False when the service has no way to check it beforehand.'),
  updatedAt: z.iso.datetime().nullable(),
});

export function createSharedCredentialRoutes({
  sharedCredentials,
}: {
  readonly sharedCredentials: SharedCredentials;
}): Route[] {
  return [
    defineRoute({
      method: 'get',
      path,
      operationId: 'get_shared_credential',
      summary: 'Show what is shared for a service, without its secrets',
      tags,
      auth: 'admin',
      problems: ['SERVICE_UNKNOWN', 'CONFLICT', 'CREDENTIAL_UNREADABLE', 'SEALED'],
      request: { params: serviceParams },
      responses: { 200: { description: 'What is set.', schema: view } },
      async handle({ actor, params }) {
        return { status: 200, body: await sharedCredentials.get(actor, params.serviceType) };
      },
    }),
    defineRoute({
      method: 'put',
      path,
      operationId: 'put_shared_credential',
      summary: 'Set the credential that all users of a service share',
      description:
        'For services whose scope is `shared`. Checked against the real service first; users then connect without a ' +
        'credential of their own, and calls use the new one within two seconds.',
      tags,
      auth: 'admin',
      limit: 'authenticate',
      problems: [
        'SERVICE_UNKNOWN',
        'SERVICE_UNAVAILABLE',
        'CREDENTIAL_REJECTED',
        'UPSTREAM_UNREACHABLE',
        'CONFLICT',
        'VERSION_CONFLICT',
        'SEALED',
      ],
      audit: { action: 'shared_credential.stored', target: 'service' },
      request: { params: serviceParams, body: credentialBody.omit({ label: true }) },
      responses: { 200: { description: 'It is stored.', schema: view } },
      async handle({ actor, params, body }) {
        const stored = await sharedCredentials.put(actor, params.serviceType, {
          ...(body.apiKey === undefined ? {} : { apiKey: body.apiKey }),
          ...(body.method === undefined ? {} : { method: body.method }),
          additionalCredentials: toTexts(body.additionalCredentials),
        });
        return { status: 200, body: stored };
      },
    }),
    defineRoute({
      method: 'delete',
      path,
      operationId: 'delete_shared_credential',
      summary: 'Delete the credential that all users of a service share',
      description: 'Instances keep their URLs and tell their users that an admin has to set one.',
      tags,
      auth: 'admin',
      limit: 'write',
      problems: ['SERVICE_UNKNOWN', 'NOT_FOUND'],
      audit: { action: 'shared_credential.deleted', target: 'service' },
      request: { params: serviceParams },
      responses: { 204: { description: 'It is gone.' } },
      async handle({ actor, params }) {
        await sharedCredentials.remove(actor, params.serviceType);
        return { status: 204 };
      },
    }),
  ];
}
