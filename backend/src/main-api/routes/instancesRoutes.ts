/** The routes of a user's instances (rows I01–I04): each names the service, and a label where there are several. */
import { z } from 'zod';
import { AppError } from '../../errors/appError.js';
import { accessModes } from '../../services/accessModes.js';
import type { InstanceManager } from '../../services/instanceManager/instanceManager.js';
import { defaultLabel, type InstanceName } from '../../services/instanceManager/instanceParts.js';
import { graceSecondsMax } from '../../services/instanceManager/changeInstance.js';
import { defineRoute, type Route } from '../defineRoute.js';
import {
  authenticated,
  credentialBody,
  instanceView,
  label,
  labelBody,
  labelQuery,
  noStore,
  revealedUrl,
  serviceParams,
  shownInstance,
  toTexts,
} from './instanceSchemas.js';

const tags = ['Instances'];
const one = '/api/v1/services/:serviceType/instance';

export function createInstancesRoutes({
  instanceManager,
}: {
  readonly instanceManager: InstanceManager;
}): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: '/api/v1/services/:serviceType/authenticate',
      operationId: 'connect_service',
      summary: 'Connect a service with a credential',
      description:
        'Checks the credential against the real service and stores it sealed. The first time it makes an instance and ' +
        'answers 201 with its URL; afterwards it replaces the credential, keeps the URL and answers 200.',
      tags,
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
      request: { params: serviceParams, query: labelQuery, body: credentialBody.optional() },
      responses: {
        200: { description: 'The credential was replaced; the URL is the same.', schema: authenticated },
        201: { description: 'A new instance, with its URL.', schema: authenticated },
      },
      async handle({ actor, params, query, body }) {
        const name = toName(params, query, body);
        const result = await instanceManager.authenticate(actor, name, {
          ...(body?.apiKey === undefined ? {} : { apiKey: body.apiKey }),
          ...(body?.method === undefined ? {} : { method: body.method }),
          additionalCredentials: toTexts(body?.additionalCredentials),
        });
        return {
          status: result.isNew ? 201 : 200,
          headers: noStore,
          body: { ...result.view, ...result.url, message: result.message },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: one,
      operationId: 'get_instance',
      summary: 'Show one instance',
      tags,
      auth: 'user',
      problems: ['NOT_FOUND'],
      request: { params: serviceParams, query: labelQuery },
      responses: { 200: { description: 'The instance.', schema: shownInstance } },
      async handle({ actor, params, query }) {
        return {
          status: 200,
          headers: noStore,
          body: { ...(await instanceManager.show(actor, toName(params, query))) },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/user/instances',
      operationId: 'list_instances',
      summary: 'List your instances',
      tags,
      auth: 'user',
      responses: {
        200: { description: 'All of them.', schema: z.object({ instances: z.array(shownInstance) }) },
      },
      async handle({ actor }) {
        const instances = await instanceManager.list(actor);
        return { status: 200, headers: noStore, body: { instances: instances.map((item) => ({ ...item })) } };
      },
    }),
    defineRoute({
      method: 'patch',
      path: one,
      operationId: 'change_instance',
      summary: 'Pause, resume or rename an instance, or change who may use it',
      description:
        'What lets more callers in (a lesser mode, further addresses, a later end) needs a sign-in of the last 15 ' +
        'minutes. What lets in fewer cuts what is open, where it would not be let in again.',
      tags,
      auth: 'user',
      limit: 'write',
      problems: ['NOT_FOUND', 'CONFLICT', 'REAUTHENTICATION_REQUIRED'],
      audit: { action: 'instance.changed', target: 'service' },
      request: {
        params: serviceParams,
        query: labelQuery,
        body: z
          .strictObject({
            isActive: z.boolean().optional().describe('False pauses: the URL answers like none at all.'),
            label: label.optional().describe('The new label.'),
            accessMode: z
              .enum([...accessModes, 'oauth'])
              .optional()
              .describe('`url`: the URL is enough. `url+token`: an access key as well. `oauth`: not yet.'),
            allowedCidrs: z
              .array(z.string().max(64))
              .max(32)
              .optional()
              .describe('IP addresses and CIDR blocks that it may be used from; empty: from anywhere.'),
            expiresAt: z.iso
              .datetime({ offset: true })
              .nullable()
              .optional()
              .describe('When the URL stops working, a time in the future; null: never.'),
          })
          .refine((change) => Object.keys(change).length > 0, 'send what is to be changed'),
      },
      responses: { 200: { description: 'The instance as it is now.', schema: instanceView } },
      async handle({ actor, params, query, body }) {
        const change = {
          ...(body.isActive === undefined ? {} : { isActive: body.isActive }),
          ...(body.label === undefined ? {} : { label: body.label }),
          ...(body.accessMode === undefined ? {} : { accessMode: body.accessMode }),
          ...(body.allowedCidrs === undefined ? {} : { allowedCidrs: body.allowedCidrs }),
          ...(body.expiresAt === undefined
            ? {}
            : { expiresAt: body.expiresAt === null ? null : new Date(body.expiresAt) }),
        };
        return { status: 200, body: await instanceManager.change(actor, toName(params, query), change) };
      },
    }),
    defineRoute({
      method: 'delete',
      path: one,
      operationId: 'delete_instance',
      summary: 'Disconnect: delete an instance, its credential and its URL',
      tags,
      auth: 'user',
      limit: 'write',
      problems: ['NOT_FOUND'],
      audit: { action: 'instance.deleted', target: 'service' },
      request: { params: serviceParams, query: labelQuery, body: labelBody },
      responses: { 204: { description: 'It is gone.' } },
      async handle({ actor, params, query, body }) {
        await instanceManager.disconnect(actor, toName(params, query, body));
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: `${one}/rotate`,
      operationId: 'rotate_instance_url',
      summary: 'Give an instance a new URL',
      description: 'The old URL is dead at once, or after the grace.',
      tags,
      auth: 'user',
      personalKeys: false,
      limit: 'write',
      problems: ['NOT_FOUND', 'SERVICE_UNKNOWN', 'VERSION_CONFLICT', 'SEALED'],
      audit: { action: 'instance.url_rotated', target: 'service' },
      request: {
        params: serviceParams,
        query: labelQuery,
        body: z
          .strictObject({
            graceSeconds: z
              .int()
              .min(0)
              .max(graceSecondsMax)
              .optional()
              .describe('How long the old URL works as well: 0 (at once), 3600, 86400, at most a week.'),
            label: label.optional(),
          })
          .optional(),
      },
      responses: {
        200: { description: 'The new URL.', schema: instanceView.extend(revealedUrl.shape) },
      },
      async handle({ actor, params, query, body }) {
        const options = { graceSeconds: body?.graceSeconds ?? 0 };
        const rotated = await instanceManager.rotate(actor, toName(params, query, body), options);
        return { status: 200, headers: noStore, body: { ...rotated } };
      },
    }),
    defineRoute({
      method: 'post',
      path: `${one}/reveal`,
      operationId: 'reveal_instance_url',
      summary: 'Show the URL of an instance again',
      description: 'Needs a sign-in of the last 15 minutes.',
      tags,
      auth: 'user',
      personalKeys: false,
      limit: 'reveal',
      problems: ['NOT_FOUND', 'REAUTHENTICATION_REQUIRED', 'SEALED', 'CREDENTIAL_UNREADABLE'],
      audit: { action: 'instance.url_revealed', target: 'service' },
      request: { params: serviceParams, query: labelQuery, body: labelBody },
      responses: {
        200: {
          description: 'The URL.',
          schema: revealedUrl.extend({ id: z.uuid(), label: z.string() }),
        },
      },
      async handle({ actor, params, query, body }) {
        const revealed = await instanceManager.reveal(actor, toName(params, query, body));
        return { status: 200, headers: noStore, body: revealed };
      },
    }),
    defineRoute({
      method: 'post',
      path: `${one}/test`,
      operationId: 'test_instance',
      summary: 'Check whether the stored credential still works',
      tags,
      auth: 'user',
      limit: 'connect',
      problems: ['NOT_FOUND', 'SERVICE_UNKNOWN', 'CREDENTIAL_MISSING', 'CONFLICT', 'SERVICE_UNAVAILABLE'],
      audit: { action: 'instance.tested', target: 'service' },
      request: { params: serviceParams, query: labelQuery, body: labelBody },
      responses: {
        200: {
          description: 'What the service said, and the instance as it is now.',
          schema: instanceView.extend({
            outcome: z.enum(['accepted', 'rejected', 'unverified', 'unreachable']),
            reason: z.string().nullable(),
          }),
        },
      },
      async handle({ actor, params, query, body }) {
        const { outcome, reason, view } = await instanceManager.probe(actor, toName(params, query, body));
        return { status: 200, body: { ...view, outcome, reason } };
      },
    }),
  ];
}

/** `label` may stand in the query or in the body; two different ones say nothing. */
export function toName(
  params: { readonly serviceType: string },
  query: { readonly label?: string | undefined },
  body?: { readonly label?: string | undefined },
): InstanceName {
  if (query.label !== undefined && body?.label !== undefined && query.label !== body.label) {
    throw new AppError('INVALID_REQUEST', 'two labels', {
      publicDetail: 'The query and the body name different labels; send one.',
      fields: [{ pointer: '/label', message: 'differs from the label in the query' }],
    });
  }
  return { service: params.serviceType, label: body?.label ?? query.label ?? defaultLabel };
}
