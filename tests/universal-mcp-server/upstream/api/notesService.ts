/** A service with a tool for each way of making a request and of reading an answer. */
import type { ServiceDefinition } from '../../../../backend/src/catalog/serviceDefinition.js';
import { anApiService, aTool } from '../../../support/anApiService.js';

const anyObject = { type: 'object', properties: {} };

export function aNotesService(origin: string): ServiceDefinition {
  return anApiService(
    {
      baseUrl: `${origin}/base/`,
      query: { tenant: 'blue & green', key: { $credential: '{{region}}', omitIfEmpty: true } },
      headers: {
        Authorization: { $userToken: 'Bearer {{token}}' },
        'X-Region': { $credential: '{{region}}', omitIfEmpty: true },
        'X-Fixed': 'always',
      },
      tools: [
        aTool(
          'get_file',
          {
            method: 'GET',
            path: '/v1/files/{file_key}/raw',
            query: { depth: '{depth}', ids: '{ids}', q: 'a:{word}' },
          },
          {
            title: 'Get file',
            annotations: { readOnlyHint: true },
            inputSchema: {
              type: 'object',
              required: ['file_key'],
              additionalProperties: false,
              properties: {
                file_key: { type: 'string' },
                depth: { type: 'integer', minimum: 1, default: 2 },
                ids: { type: 'array', items: { type: 'string' } },
                word: { type: 'string', format: 'email' },
              },
            },
          },
        ),
        aTool(
          'post_note',
          { method: 'POST', path: '/notes/{id}', query: { silent: '{silent}' }, bodyFrom: 'rest' },
          {
            inputSchema: {
              type: 'object',
              required: ['id', 'text'],
              properties: {
                id: { type: 'string' },
                text: { type: 'string' },
                silent: { type: 'boolean' },
                tags: { type: 'array' },
              },
            },
          },
        ),
        aTool('put_all', { method: 'PUT', path: '/all', bodyFrom: 'args' }, { inputSchema: anyObject }),
        aTool(
          'templated',
          {
            method: 'POST',
            path: '/templated',
            headers: { 'X-Fixed': 'here', 'content-type': 'application/vnd.notes+json' },
            body: {
              kind: 'note',
              nested: { text: { $arg: 'text' }, gone: { $arg: 'gone' } },
              list: [1, { $arg: 'gone' }],
              key: { $credential: '{{region}}' },
            },
          },
          { inputSchema: { type: 'object', properties: { text: {}, gone: {} } } },
        ),
        aTool(
          'form',
          {
            method: 'POST',
            path: '/form',
            bodyFrom: 'args',
            contentType: 'application/x-www-form-urlencoded',
          },
          { inputSchema: anyObject },
        ),
        aTool(
          'picked',
          { method: 'GET', path: '/picked' },
          { response: { pick: '/data/0/a~1b', okPath: '/ok', errorPath: '/why' } },
        ),
        aTool('text', { method: 'GET', path: '/text' }, { response: { format: 'text', maxBytes: 1024 } }),
        aTool('image', { method: 'GET', path: '/image' }, { response: { format: 'image' } }),
        aTool('small', { method: 'GET', path: '/small' }, { response: { maxBytes: 1024 } }),
        aTool(
          'formed',
          { method: 'GET', path: '/formed' },
          {
            outputSchema: {
              type: 'object',
              required: ['total'],
              properties: { total: { type: 'integer' } },
            },
          },
        ),
      ],
    },
    {
      credentials: {
        methods: [
          {
            id: 'key',
            type: 'fields',
            label: 'Key',
            tokenField: 'token',
            fields: [
              { name: 'token', label: 'Key', type: 'secret' },
              { name: 'region', label: 'Region', required: false },
            ],
          },
        ],
      },
    },
  );
}
