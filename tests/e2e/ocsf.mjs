// SPDX-License-Identifier: Apache-2.0
//
// What OCSF 1.8.0 demands of an event of class API Activity (6003) with the
// profile ai_operation: the class's members and no others, what is required,
// and what the objects in it require.
import assert from 'node:assert/strict';
import Ajv from 'ajv/dist/2020.js';

const text = { type: 'string', minLength: 1 }, number = { type: 'integer' };
const object = (properties, required = [], more = {}) =>
  ({ type: 'object', properties, required, additionalProperties: false, minProperties: 1, ...more });
const oneOf = (...names) => ({ anyOf: names.map((name) => ({ required: [name] })) });

const service = object({ name: text, uid: text }, [], oneOf('name', 'uid'));
const endpoint = object({ name: text, uid: text, svc_name: text, ip: text, port: number }, [],
  oneOf('name', 'uid', 'svc_name', 'ip'));
const user = object({ uid: text, name: text, type_id: { enum: [0, 1, 2, 3, 4, 99] },
  groups: { type: 'array', items: object({ name: text }, ['name']) } }, [], oneOf('uid', 'name'));

const schema = object({
  activity_id: { enum: [0, 1, 2, 3, 4, 99] }, activity_name: text,
  category_uid: { const: 6 }, category_name: { const: 'Application Activity' },
  class_uid: { const: 6003 }, class_name: { const: 'API Activity' },
  type_uid: number, type_name: text,
  time: { type: 'integer', minimum: 1577836800000 }, duration: number, count: number,
  severity_id: { enum: [0, 1, 2, 3, 4, 5, 6, 99] }, severity: text,
  status_id: { enum: [0, 1, 2, 99] }, status: text, status_code: text, status_detail: text,
  message: text, raw_data: text, unmapped: { type: 'object' },
  metadata: object({
    version: { const: '1.8.0' },
    product: object({ name: text, vendor_name: text, version: text }, ['name']),
    profiles: { type: 'array', contains: { const: 'ai_operation' } },
    uid: text, correlation_uid: text, event_code: text, log_name: text, original_time: text,
    sequence: { type: 'integer', minimum: 0 },
  }, ['version', 'product']),
  actor: object({ user, app_name: text, app_uid: text }, [], oneOf('user', 'app_name', 'app_uid')),
  api: object({ operation: text, service, request: object({ uid: text }, ['uid']),
    response: object({ code: number, error: text, error_message: text }) }, ['operation']),
  src_endpoint: endpoint, dst_endpoint: endpoint,
  http_request: object({ url: object({ path: text }, ['path']) }),
  http_response: object({ code: number, latency: number }, ['code']),
  resources: { type: 'array', minItems: 1, items: object({ name: text, type: text }, ['name']) },
  ai_model: object({ ai_provider: text, name: text, version: text }, ['ai_provider', 'name']),
  message_context: object({ ai_role_id: number, prompt_tokens: number, completion_tokens: number,
    total_tokens: number, service }, [], oneOf('service')),
}, ['activity_id', 'category_uid', 'class_uid', 'type_uid', 'severity_id', 'time', 'metadata', 'actor', 'api',
  'src_endpoint']);

const ajv = new Ajv({ allErrors: true });
const judge = ajv.compile(schema);

export function checkOcsf(event) {
  assert.ok(judge(event), `${ajv.errorsText(judge.errors)}\n${JSON.stringify(event)}`);
  assert.equal(event.type_uid, 600300 + event.activity_id);
  if (event.activity_id === 99) assert.ok(event.activity_name !== 'Other');
  return event;
}
