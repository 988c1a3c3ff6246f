/** The access keys of an instance (05, "Access modes"): made, listed and deleted by its owner alone. */
import { z } from 'zod';
import type { InstanceManager } from '../../services/instanceManager/instanceManager.js';
import type { AccessKey } from '../../stores/accessKeysStore.js';
import { defineRoute, type Route } from '../defineRoute.js';
import { labelQuery, noStore, serviceParams } from './instanceSchemas.js';
import { toName } from './instancesRoutes.js';

const tags = ['Instances'];
const path = '/api/v1/services/:serviceType/instance/keys';

const time = z.iso.datetime();
const keyShape = z
  .object({
    id: z.uuid(),
    name: z.string(),
    hint: z.string().meta({ description: 'The first characters of the key.' }),
    createdAt: time,
    expiresAt: time.nullable(),
    lastUsedAt: time.nullable(),
  })
  .meta({ id: 'AccessKey' });
const newKeyShape = keyShape.extend({
  key: z.string().meta({
    description: 'Shown this once. MCP clients send it to the instance URL as Authorization: Bearer.',
  }),
});

export function createAccessKeysRoutes({
  instanceManager,
}: {
  readonly instanceManager: InstanceManager;
}): Route[] {
  return [
    defineRoute({
      method: 'post',
      path,
      operationId: 'create_access_key',
      summary: 'Create an access key of an instance',
      description:
        'With the access mode `url+token` a caller needs the instance URL and one of its keys. A key opens this ' +
        'instance and nothing else. Needs a sign-in of the last 15 minutes.',
      tags,
      auth: 'user',
      personalKeys: false,
      limit: 'write',
      problems: ['NOT_FOUND', 'CONFLICT', 'REAUTHENTICATION_REQUIRED', 'SEALED'],
      audit: { action: 'access_key.created', target: 'service' },
      request: {
        params: serviceParams,
        query: labelQuery,
        body: z.strictObject({
          name: z.string().trim().min(1).max(100).describe('Whose or for what it is.'),
          expiresAt: z.iso
            .datetime({ offset: true })
            .nullish()
            .describe('A time in the future. None: until it is deleted.'),
        }),
      },
      responses: { 201: { description: 'The key.', schema: newKeyShape } },
      async handle({ actor, params, query, body }) {
        const wanted = {
          name: body.name,
          expiresAt: body.expiresAt == null ? null : new Date(body.expiresAt),
        };
        const created = await instanceManager.createKey(actor, toName(params, query), wanted);
        return { status: 201, headers: noStore, body: { ...toKeyBody(created), key: created.key } };
      },
    }),
    defineRoute({
      method: 'get',
      path,
      operationId: 'list_access_keys',
      summary: 'List the access keys of an instance',
      tags,
      auth: 'user',
      problems: ['NOT_FOUND'],
      request: { params: serviceParams, query: labelQuery },
      responses: {
        200: {
          description: 'Newest first, without the keys themselves.',
          schema: z.object({ keys: z.array(keyShape) }),
        },
      },
      async handle({ actor, params, query }) {
        const keys = await instanceManager.listKeys(actor, toName(params, query));
        return { status: 200, body: { keys: keys.map(toKeyBody) } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: `${path}/:id`,
      operationId: 'delete_access_key',
      summary: 'Delete an access key of an instance',
      description: 'It opens nothing any more, and what is open under it is cut, within two seconds.',
      tags,
      auth: 'user',
      limit: 'write',
      problems: ['NOT_FOUND'],
      audit: { action: 'access_key.revoked', target: 'access_key' },
      request: { params: serviceParams.extend({ id: z.uuid() }), query: labelQuery },
      responses: { 204: { description: 'It is gone.' } },
      async handle({ actor, params, query }) {
        await instanceManager.revokeKey(actor, toName(params, query), params.id);
        return { status: 204 };
      },
    }),
  ];
}

function toKeyBody(key: AccessKey): z.input<typeof keyShape> {
  return {
    id: key.id,
    name: key.name,
    hint: key.hint,
    createdAt: key.createdAt.toISOString(),
    expiresAt: key.expiresAt?.toISOString() ?? null,
    lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
  };
}
