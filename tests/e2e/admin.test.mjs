// SPDX-License-Identifier: Apache-2.0
//
// The admin API as schema/openapi.yaml describes it: every operation is called
// on a running server and its answer judged by the document's own schemas;
// members of bodies, queries, roles and the table of operations are compared
// both ways. Then the command line, as an administrator meets it.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import Ajv from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import { World, until } from './harness.mjs';
import { Authority } from './pki.mjs';

const source = readFileSync(new URL('../../schema/openapi.yaml', import.meta.url), 'utf8');
const api = parse(source);
const ajv = new Ajv({ allErrors: true, strict: false });
ajv.addSchema(api, 'api');
const METHODS = ['get', 'put', 'post', 'patch', 'delete'];
const pointer = (...parts) => parts.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
const resolve = (node) => (node?.$ref
  ? node.$ref.slice(2).split('/').reduce((at, part) => at[part.replaceAll('~1', '/')], api) : node);

// operationId -> { method, path, at, roles, parameters, body }
const operations = new Map();
for (const [path, item] of Object.entries(api.paths))
  for (const method of METHODS.filter((one) => item[one])) {
    const one = item[method];
    assert.ok(!operations.has(one.operationId), one.operationId);
    operations.set(one.operationId, { ...one, method: method.toUpperCase(), path, at: ['paths', path, method],
      parameters: [...(item.parameters ?? []), ...(one.parameters ?? [])].map(resolve),
      body: resolve(resolve(one.requestBody)?.content['application/json'].schema) });
  }

let world;
const tokens = {};
const called = new Set();
before(async () => { world = await World.make(); });
after(async () => { await world.end(); });

function send(method, path, { body, token, raw } = {}) {
  return new Promise((done, fail) => {
    const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const request = http.request({ socketPath: join(world.state, 'admin.sock'), method, path, agent: false,
      headers: { ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }) } },
    (answer) => {
      let got = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece) => { got += piece; });
      answer.on('end', () => done({ status: answer.statusCode, type: answer.headers['content-type'], text: got }));
    });
    request.on('error', fail);
    request.end(text);
  });
}

function judge(at, value, what) {
  const valid = ajv.compile({ $ref: `api#${pointer(...at)}` });
  assert.ok(valid(value), `${what}: ${ajv.errorsText(valid.errors)}\n${JSON.stringify(value, null, 1).slice(0, 1500)}`);
}

// Where the schema of an answer stands.
function answerAt(operation, answer) {
  const name = operation.responses[answer.status] ? String(answer.status) : 'default';
  let at = [...operation.at, 'responses', name];
  const found = at.reduce((node, part) => node[part], api);
  assert.ok(found, `${operation.operationId} answered ${answer.status}: ${answer.text}`);
  if (found.$ref) at = found.$ref.slice(2).split('/');
  const type = answer.type.split(';')[0];
  const content = at.reduce((node, part) => node[part], api).content[type];
  assert.ok(content, `${operation.operationId}: ${answer.status} is ${type}`);
  return [...at, 'content', type, 'schema'];
}

// Calls an operation; what comes back fits the document. Gives the answer.
async function call(id, { params = {}, query, body, token, status } = {}) {
  const operation = operations.get(id);
  assert.ok(operation, id);
  const path = operation.path.replace(/\{(\w+)\}/g, (all, name) => encodeURIComponent(params[name] ?? `{${name}}`)) +
    (query ? `?${new URLSearchParams(query)}` : '');
  const answer = await send(operation.method, path, { body, token });
  const json = answer.type.includes('json');
  const value = json ? JSON.parse(answer.text) : answer.text;
  judge(answerAt(operation, answer), value, `${id} ${answer.status}`);
  if (answer.status >= 400 && json && answer.type.includes('problem')) assert.equal(value.status, answer.status);
  if (answer.status < 400) {
    called.add(id);
    if (body !== undefined && operation.body) {
      const valid = ajv.compile({ ...operation.body, components: api.components });
      assert.ok(valid(body), `the body of ${id}: ${ajv.errorsText(valid.errors)}`);
    }
  }
  if (status) assert.equal(answer.status, status, `${id}: ${answer.text}`);
  else assert.ok(answer.status < 400, `${id}: ${answer.status} ${answer.text}`);
  return value;
}

const rule = (id) => `@id("${id}") @title("t") permit (principal in Team::"everyone", action in Action::"infer", resource);`;

test('the document is the one that the program serves, and the table of operations', async () => {
  assert.equal((await send('GET', '/v1/openapi.yaml')).text, source);
  assert.ok(!/bl[afk]_[A-Za-z0-9]{8}/.test(source));
  const table = readFileSync(new URL('../../proxy/admin/operations.c', import.meta.url), 'utf8');
  const rows = [...table.matchAll(/\{\s*"([A-Z]+)",\s*"([^"]+)",\s*"(\w+)",/g)].map(([, method, path, action]) => `${method} ${path} ${action}`);
  assert.ok(rows.length > 50);
  const described = [...operations.values()].filter((one) => !one.security).map((one) => `${one.method} ${one.path} ${one.operationId}`);
  assert.deepEqual(described.sort(), rows.sort());
});

test('teams, callers and keys', async () => {
  await call('addTeam', { body: { name: 'lab', title: 'The lab' }, status: 201 });
  await call('addTeam', { body: { name: 'lab/night', parent: 'lab' }, status: 201 });
  await call('listTeams');
  assert.equal((await call('weighTeam', { params: { team: 'lab' }, body: { weight: 5 } })).weight, 5);
  assert.equal((await call('weighTeam', { params: { team: 'lab' }, body: { weight: 0 } })).weight, null);
  assert.equal((await call('getTeam', { params: { team: 'lab/night' } })).parent, 'lab');
  await call('addCaller', { body: { handle: 'bob@example.org', name: 'Bob', kind: 'service', teams: ['lab'] }, status: 201 });
  assert.equal((await call('listCallers', { query: { team: 'lab' } })).items.length, 1);
  await call('getCaller', { params: { caller: 'bob@example.org' } });
  const caller = { caller: 'bob@example.org' };
  assert.deepEqual((await call('changeCaller', { params: caller, body: { join: ['everyone'], leave: ['lab'] } })).teams, ['everyone']);
  const key = await call('issueKey', { params: caller, body: { label: 'ci', expires: '90d' }, status: 201 });
  world.keys.push(key.key);
  await call('issueKey', { params: caller, status: 201 }).then((one) => world.keys.push(one.key));
  assert.equal((await call('listKeys', { query: { caller: 'bob@example.org' } })).items.length, 2);
  assert.equal((await world.chat(key.key)).status, 200);
  await call('disableCaller', { params: caller, body: { reason: 'left' } });
  assert.equal((await world.chat(key.key)).status, 401);
  await call('enableCaller', { params: caller });
  assert.equal((await world.chat(key.key)).status, 200);
  const narrowed = await call('changeKey', { params: { key: key.id }, body: { label: 'night', expires: '60d', addresses: ['127.0.0.1'],
    models: ['tiny'], routes: ['/v1/chat/completions'], reason: 'ci needs no more' } });
  assert.deepEqual([narrowed.addresses, narrowed.models], [['127.0.0.1/32'], ['tiny']]);
  const next = await call('rotateKey', { params: { key: key.id }, body: { until: '2h', expires: '90d', reason: 'quarter' }, status: 201 });
  world.keys.push(next.key);
  assert.equal((await call('getKey', { params: { key: key.id } })).replacedBy, next.id);
  await call('revokeKey', { params: { key: next.id }, body: {} });
  const limited = await call('issueKey', { params: caller, body: { addresses: ['10.0.0.0/8'], models: ['tiny'], routes: ['/v1/models'] }, status: 201 });
  world.keys.push(limited.key);
  await call('revokeKey', { params: { key: limited.id }, body: {} });
  await call('revokeKey', { params: { key: key.id }, body: { reason: 'leaked' } });
  const use = await call('getKeyUse', { params: { key: key.id } });
  assert.ok(use.requests > 0 && use.addresses[0].address === '127.0.0.1');
  assert.equal((await world.chat(key.key)).status, 401);
  assert.equal((await call('listKeys', { query: { all: 'true' } })).items.filter((one) => one.state === 'revoked').length, 3);
  const eve = await call('onboard', { body: { handle: 'eve', name: 'Eve', kind: 'person', team: 'lab', models: ['big'],
    tokensPerDay: 5000, requestsPerMinute: 60, label: 'x', expires: '30d' }, status: 201 });
  world.keys.push(eve.key.key);
  assert.equal((await world.chat(eve.key.key, { model: 'big' })).status, 200);
  assert.equal(eve.policyActive, true);
  await call('removeTeam', { params: { team: 'lab/night' } });
  await call('removeTeam', { params: { team: 'lab' }, status: 409 });
});

test('engines, models and groups', async () => {
  const engine = { engine: 'second' };
  await call('addEngine', { body: { name: 'second', url: 'http://127.0.0.1:9', kind: 'vllm', healthPath: '/h', region: 'eu', weight: 2, maxConcurrent: 3 }, status: 201 });
  await call('listEngines');
  await call('getEngine', { params: engine });
  assert.equal((await call('changeEngine', { params: engine, body: { weight: 5 } })).region, 'eu');
  const model = { model: 'new' };
  await call('addModel', { body: { name: 'new', version: '1', owner: 'us', licence: 'MIT', riskClass: 'high', region: 'eu', status: 'draft',
    defaultMaxTokens: 10, templateTokens: 1, messageTokens: 1, engine: 'local', upstream: 'tiny', aliases: ['gpt-new'], groups: ['large'], reason: 'r' }, status: 201 });
  await call('listModels');
  assert.equal((await call('getModel', { params: { model: 'gpt-new' } })).name, 'new');
  await call('approveModel', { params: model, body: { reason: 'tested' } });
  await call('addAlias', { params: model, body: { alias: 'newer' }, status: 201 });
  await call('removeAlias', { params: { ...model, alias: 'newer' } });
  await call('addTarget', { params: model, body: { engine: 'second', upstream: 'n', priority: 1 }, status: 201 });
  await call('removeTarget', { params: { ...model, ...engine }, query: { upstream: 'n' } });
  await call('retireModel', { params: model });
  await call('addGroup', { body: { name: 'g', models: ['new'] }, status: 201 });
  await call('listGroups');
  await call('addMember', { params: { group: 'g' }, body: { model: 'tiny' }, status: 201 });
  await call('removeMember', { params: { group: 'g', model: 'tiny' } });
  await call('removeGroup', { params: { group: 'g' } });
  await call('removeEngine', { params: engine });
});

test('policies', async () => {
  const count = (await call('listPolicies')).items.length;
  const good = await call('validatePolicy', { body: { text: rule('a'), name: 'a.cedar' } });
  assert.equal(good.valid, true);
  const bad = await call('validatePolicy', { body: { text: 'permit (principal', name: 'b.cedar' } });
  assert.match(bad.findings[0], /^b\.cedar:1:/);
  const problem = await call('putPolicy', { body: { text: 'permit (principal in Team::"everyon", action, resource);' }, status: 400 });
  assert.ok(problem.errors.length >= 1);
  const { version } = await call('putPolicy', { body: { text: `${rule('a')}\n${rule('b')}`, name: 'a.cedar', note: 'two' }, status: 201 });
  await call('submitPolicy', { params: { version }, body: { reason: 'please' } });
  await call('activatePolicy', { params: { version }, body: { reason: 'go' } });
  assert.equal((await call('getPolicy', { params: { version: 'active' } })).version, version);
  const decision = await call('tryPolicy', { body: { caller: 'eve', action: 'chat', model: 'tiny', stream: true, at: '2026-11-23T10:00:00Z',
    address: '10.0.0.1', inputTokens: 5, inputBytes: 5, messages: 2, images: 1, audios: 0, maxTokens: 7, choices: 1, tools: ['t'] } });
  assert.equal(decision.policyVersion, version);
  await call('tryPolicy', { body: { caller: 'eve', model: 'tiny', version } });
  await call('tryPolicy', { body: { caller: 'eve', model: 'draft', text: rule('z'), name: 'z.cedar' } });
  const diff = await call('diffPolicies', { body: { text: rule('z'), name: 'z.cedar', language: 'zh', address: '10.0.0.1', at: '2026-11-23T10:00:00Z' } });
  assert.deepEqual(diff.rules.added.map((one) => one.id), ['z']);
  await call('diffPolicies', { body: { from: version, to: version } });
  const tested = await call('testPolicy', { body: { text: rule('z'), name: 'z.cedar', testsName: 'z.json',
    tests: JSON.stringify({ cases: [{ name: 'one', caller: 'eve', model: 'tiny', expect: 'permit' }, { name: 'two', caller: 'eve', model: 'tiny', expect: 'deny' }] }) } });
  assert.deepEqual([tested.passed, tested.failed], [1, 1]);
  await call('testPolicy', { body: { version }, status: 404 });
  const explained = await call('tryPolicy', { body: { caller: 'eve', model: 'tiny', version, explain: true, language: 'en' } });
  assert.deepEqual(explained.explanation.rules.map((one) => one.outcome), ['principal', 'principal']);
  const beside = await call('putPolicy', { body: { text: rule('beside') }, status: 201 });
  assert.equal((await call('startShadow', { body: { version: beside.version, reason: 'r' } })).running, true);
  assert.equal((await call('getShadow')).counts.asked, 0);
  await call('getPolicyStats', { query: { since: '1h' } });
  await call('getPolicyStats', { query: { rule: 'a' } });
  assert.equal((await call('stopShadow')).running, false);
  const [asked] = world.json('audit', 'query', '--type', 'request', '--caller', 'eve').rows;
  assert.equal((await call('explainPolicy', { body: { record: asked.id, language: 'zh' } })).id, asked.id);
  const replayed = await call('replayPolicy', { body: { text: rule('z'), name: 'z.cedar', since: '1h', until: '2100-01-01', samples: 3, requests: 1000, addresses: true } });
  assert.equal(replayed.notReplayed.unreadable, 0);
  await call('replayPolicy', { body: { version, against: version, caller: 'eve', model: 'tiny' } });
  await call('rollbackPolicy', { body: { version: version - 1, reason: 'no' } });
  await call('rollbackPolicy');
  assert.equal((await call('listPolicies')).items.length, count + 2);
});

test('quotas', async () => {
  const quota = await call('setQuota', { body: { scope: 'caller', subject: 'eve', model: 'tiny', dimension: 'output_tokens', window: 'month', amount: 7, warnPercent: 80, zone: 'Asia/Tokyo' } });
  await call('setQuota', { body: { scope: 'organisation', dimension: 'requests', window: 'day', amount: 100000 } });
  await call('setQuota', { body: { scope: 'organisation', modelGroup: 'large', dimension: 'cost', window: 'month', amount: 100000 } });
  assert.ok((await call('listQuotas', { query: { scope: 'caller', subject: 'eve' } })).items.length >= 1);
  assert.ok((await call('getUsage')).items.length >= 2);
  await call('getUsage', { query: { scope: 'organisation' } });
  await call('removeQuota', { params: { quota: quota.id } });
  const price = await call('setPrice', { body: { model: 'tiny', validFrom: '1d', input: 150000, cached: 1, output: 600000, request: 1, image: 2, audioSecond: 3 }, status: 201 });
  assert.equal(price.inForce, false);
  assert.equal((await call('listPrices', { query: { model: 'tiny' } })).items.length, 1);
  assert.equal((await call('getPrice', { params: { version: price.version } })).hash, price.hash);
});

test('settings, status and administrators', async () => {
  await call('listSettings');
  await call('putSetting', { params: { key: 'contact' }, body: { value: 'it@example.org', reason: 'x' } });
  await call('putSetting', { params: { key: 'zone' }, body: { value: 'Mars' }, status: 400 });
  const status = await call('getStatus');
  assert.equal(status.running, true);
  assert.equal(status.server.engines.length, 1);
  for (const role of ['admin', 'policy-author', 'approver', 'auditor', 'operator']) {
    const made = await call('addAdministrator', { body: { name: `a-${role}`, role, token: true }, status: 201 });
    tokens[role] = made.secret;
    world.keys.push(made.secret);
  }
  await call('addAdministrator', { body: { name: 'mapped', role: 'auditor', uid: 4242, token: false }, status: 201 });
  await call('listAdministrators');
  const one = new Authority(world.dir, 'staff').issue(), administrator = { administrator: 'a-auditor' };
  const { fingerprint } = await call('pinAdministratorCertificate', { params: administrator, body: { certificate: one.pem, label: 'l', reason: 'x' }, status: 201 });
  assert.equal((await call('listAdministratorCertificates', { params: administrator })).items[0].fingerprint, fingerprint);
  assert.equal((await call('changeAdministrator', { params: administrator, body: { certificateAlone: true } })).certificateAlone, true);
  assert.equal((await call('changeAdministrator', { params: administrator, body: { certificateAlone: false } })).role, 'auditor');
  await call('unpinAdministratorCertificate', { params: { ...administrator, fingerprint } });
  await call('unpinAdministratorCertificate', { params: { ...administrator, fingerprint }, status: 404 });
  await call('disableAdministrator', { params: { administrator: 'mapped' }, body: { reason: 'x' } });
  await call('getDescription');
});

test('two people where approvals are required', async () => {
  const author = { token: tokens['policy-author'] };
  await call('putSetting', { params: { key: 'require_approvals' }, body: { value: '1' } });
  await call('putSetting', { params: { key: 'require_approvals' }, body: { value: '0' }, status: 403 });
  const { version } = await call('putPolicy', { ...author, body: { text: rule('c') }, status: 201 });
  const params = { version };
  await call('activatePolicy', { ...author, params, status: 403 });
  await call('submitPolicy', { ...author, params });
  await call('approvePolicy', { ...author, params, status: 403 });
  assert.equal((await call('approvePolicy', { token: tokens.approver, params, body: { reason: 'read it' } })).state, 'approved');
  await call('activatePolicy', { ...author, params });
  await call('rollbackPolicy', { ...author });
});

test('changes that wait, and tokens of administrators', async () => {
  const author = { token: tokens.admin }, other = { token: tokens.approver };
  await call('putSetting', { ...author, params: { key: 'two_person_for' }, body: { value: 'quotas,teams' } });
  const wait = (name) => call('addTeam', { ...author, body: { name }, status: 202 });
  const one = await wait('one');
  assert.equal((await call('listProposals')).items.length, 1);
  await call('listProposals', { query: { all: true } });
  assert.deepEqual((await call('getProposal', { params: { proposal: one.id } })).request, { method: 'POST', path: '/v1/teams', query: '', body: { name: 'one' } });
  assert.equal((await call('approveProposal', { ...other, params: { proposal: one.id }, body: { reason: 'fine' } })).result.name, 'one');
  await call('rejectProposal', { ...other, params: { proposal: (await wait('two')).id } });
  await call('withdrawProposal', { ...author, params: { proposal: (await wait('two')).id } });
  const administrator = { administrator: 'a-auditor' };
  const role = await call('changeAdministrator', { ...author, params: administrator, body: { role: 'operator', reason: 'x' }, status: 202 });
  await call('approveProposal', { ...other, params: { proposal: role.id } });
  const token = await call('issueToken', { ...author, params: administrator, body: { label: 'l', expires: '1d', reason: 'x' }, status: 202 });
  await call('applyProposal', { ...author, params: { proposal: token.id }, status: 409 });
  await call('approveProposal', { ...other, params: { proposal: token.id } });
  const { result } = await call('applyProposal', { ...author, params: { proposal: token.id } });
  world.keys.push(result.secret);
  const own = await call('issueToken', { ...author, params: { administrator: 'a-admin' }, status: 201 });
  world.keys.push(own.secret);
  await call('listTokens', { params: administrator });
  await call('revokeToken', { params: { token: own.id } });
  await call('disableAdministrator', { params: administrator });
  const enabled = await call('enableAdministrator', { ...author, params: administrator, status: 202 });
  await call('approveProposal', { ...other, params: { proposal: enabled.id } });
  const back = await call('changeAdministrator', { ...author, params: administrator, body: { role: 'auditor' }, status: 202 });
  await call('approveProposal', { ...other, params: { proposal: back.id } });
  const end = await call('putSetting', { ...author, params: { key: 'two_person_for' }, body: { value: '' }, status: 202 });
  await call('approveProposal', { ...other, params: { proposal: end.id } });
});

test('emergencies', async () => {
  const author = { token: tokens.operator };
  const { version } = await call('putPolicy', { body: { text: rule('emergency') }, status: 201 });
  const one = await call('activateInEmergency', { ...author, params: { version }, body: { reason: 'x', expires: '1h' }, status: 201 });
  await call('listEmergencies');
  await call('endEmergency', { ...author, params: { emergency: one.id }, body: { reason: 'over' } });
  await call('reviewEmergency', { token: tokens.approver, params: { emergency: one.id }, body: { reason: 'seen' } });
  const two = await call('letThrough', { ...author, body: { callers: ['eve'], model: 'tiny', reason: 'x', expires: '1h' }, status: 201 });
  assert.deepEqual((await call('getEmergency', { params: { emergency: two.id } })).callers.map((caller) => caller.handle), ['eve']);
  await call('letThrough', { ...author, body: { callers: [], reason: 'x', expires: '1h' }, status: 400 });
  await call('endEmergency', { ...author, params: { emergency: two.id } });
  await call('reviewEmergency', { token: tokens.operator, params: { emergency: two.id }, body: { reason: 'seen' }, status: 403 });
});

test('issuers', async () => {
  const body = { name: 'corp', issuer: 'https://id.corp.example/', audiences: ['bailiff'], jwksUrl: 'https://127.0.0.1:9/keys',
    callerClaim: 'email', prefix: 'corp:', groupsClaim: 'groups', accessTokenType: true, skewSeconds: 5 };
  await call('addIssuer', { body: { ...body, jwksUrl: 'http://keys.example/' }, status: 400 });
  await call('addIssuer', { body: { ...body, jwksFile: '/etc/passwd' }, status: 400 });
  await call('addIssuer', { body: { ...body, audiences: [] }, status: 400 });
  await call('addIssuer', { body, status: 201 });
  await call('addIssuer', { body: { ...body, name: 'again' }, status: 409 });
  assert.deepEqual((await call('listIssuers')).items.map((one) => [one.name, one.audiences]), [['corp', ['bailiff']]]);
  await call('addTeam', { body: { name: 'by-group' }, status: 201 });
  const map = { params: { issuer: 'corp' }, body: { group: '/staff/by group', team: 'by-group' } };
  assert.deepEqual((await call('mapIssuerGroup', { ...map, status: 201 })).groups, [map.body]);
  await call('mapIssuerGroup', { ...map, status: 409 });
  await call('mapIssuerGroup', { ...map, body: { group: 'x', team: 'nowhere' }, status: 404 });
  await call('removeTeam', { params: { team: 'by-group' }, status: 409 });
  assert.deepEqual((await call('unmapIssuerGroup', { params: { issuer: 'corp', group: '/staff/by group' } })).groups, []);
  await call('unmapIssuerGroup', { params: { issuer: 'corp', group: '/staff/by group' }, status: 404 });
  await call('removeTeam', { params: { team: 'by-group' } });
  const administrator = { administrator: 'a-auditor' };
  const wait = await call('addSignIn', { token: tokens.admin, params: administrator, body: { issuer: 'corp', subject: 's', audience: 'cli', reason: 'x' }, status: 202 });
  await call('approveProposal', { token: tokens.approver, params: { proposal: wait.id } });
  await call('removeSignIn', { params: { ...administrator, issuer: 'corp' } });
  const change = { params: { issuer: 'corp' } };
  await call('changeIssuer', { ...change, body: { justInTime: true, justInTimeTeam: 'nowhere' }, status: 404 });
  await call('changeIssuer', { ...change, body: { reason: 'none' }, status: 400 });
  await call('changeIssuer', { params: { issuer: 'none' }, body: { justInTimeMost: 7 }, status: 404 });
  const changed = await call('changeIssuer', { ...change, body: { justInTime: true, justInTimeTeam: 'lab', justInTimeMost: 7, reason: 'r' } });
  assert.deepEqual([changed.justInTime, changed.justInTimeTeam, changed.justInTimeMost, changed.justInTimePerMinute, changed.justInTimeKind],
    [true, 'lab', 7, 60, 'person']);
  await call('changeIssuer', { ...change, body: { justInTime: false } });
  const application = { params: { issuer: 'corp' }, body: { client: 'the app/1', caller: 'eve' } };
  const known = await call('mapIssuerClient', { ...application, status: 201 });
  assert.match(known.clients[0].caller, /^cal_/);
  await call('mapIssuerClient', { ...application, status: 409 });
  await call('mapIssuerClient', { ...application, body: { client: 'x', caller: 'nobody' }, status: 404 });
  assert.equal((await call('changeIssuer', { ...change, body: { clientsOnly: true } })).clientsOnly, true);
  const one = { params: { issuer: 'corp', client: 'the app/1' } };
  assert.deepEqual((await call('unmapIssuerClient', one)).clients, []);
  await call('unmapIssuerClient', { ...one, status: 404 });
  const claim = { params: { issuer: 'corp' }, body: { claim: 'org.department', attribute: 'department', type: 'string' } };
  assert.deepEqual((await call('mapIssuerClaim', { ...claim, status: 201 })).claims, [claim.body]);
  await call('mapIssuerClaim', { ...claim, status: 409 });
  assert.deepEqual((await call('listClaims')).items, [{ name: 'department', type: 'string', issuers: ['corp'] }]);
  await call('mapIssuerClaim', { ...claim, body: { ...claim.body, attribute: 'a b' }, status: 400 });
  await call('mapIssuerClaim', { ...claim, body: { ...claim.body, attribute: 'x', type: 'number' }, status: 400 });
  const attribute = { params: { issuer: 'corp', attribute: 'department' } };
  assert.deepEqual((await call('unmapIssuerClaim', attribute)).claims, []);
  await call('unmapIssuerClaim', { ...attribute, status: 404 });
  await call('removeIssuer', { params: { issuer: 'corp' } });
});

test('gateways', async () => {
  await call('addGateway', { body: { caller: 'nobody-here' }, status: 404 });
  await call('addGateway', { body: { caller: 'eve', required: true }, status: 201 });
  await call('addGateway', { body: { caller: 'eve' }, status: 409 });
  assert.deepEqual((await call('listGateways')).items.map((one) => [one.callerName, one.required]), [['eve', true]]);
  await call('removeGateway', { params: { caller: 'eve' } });
  await call('removeGateway', { params: { caller: 'eve' }, status: 404 });
});

test('client certificates', async () => {
  const bundle = readFileSync(join(world.state, 'tls/ca.pem'), 'utf8');
  await call('addTrustDomain', { body: { name: 'td', bundle: 'no PEM' }, status: 400 });
  await call('addTrustDomain', { body: { name: 'td', bundle, crlFile: '/etc/passwd' }, status: 400 });
  const domain = await call('addTrustDomain', { body: { name: 'td', bundle, spiffe: 'prod.example' }, status: 201 });
  assert.equal(domain.authorities.length, 1);
  await call('addTrustDomain', { body: { name: 'td2', bundle }, status: 400 });
  await call('changeTrustDomain', { params: { domain: 'td' }, body: { bundle, crlFile: '' } });
  await call('changeTrustDomain', { params: { domain: 'nowhere' }, body: { bundle }, status: 404 });
  assert.deepEqual((await call('listTrustDomains')).items.map((one) => one.spiffe), ['prod.example']);
  const mapping = await call('addCertificateMapping', { body: { trustDomain: 'td', field: 'uri', pattern: 'spiffe://prod.example/*', prefix: 'p:' }, status: 201 });
  await call('addCertificateMapping', { body: { trustDomain: 'td', field: 'uri', pattern: 'spiffe://prod.example/*' }, status: 409 });
  await call('addCertificateMapping', { body: { trustDomain: 'td', field: 'CN', pattern: 'host', caller: 'eve' }, status: 201 });
  assert.equal((await call('listCertificateMappings')).items.length, 2);
  await call('removeCertificateMapping', { params: { mapping: mapping.id } });
  await call('setCertificateMode', { body: { listener: '*', mode: 'optional' } });
  await call('setCertificateMode', { body: { listener: '127.0.0.1:1', mode: 'off' }, status: 400 });
  assert.equal((await call('listCertificateModes')).items.length, 1);
  await call('removeTrustDomain', { params: { domain: 'td' } });
  assert.equal((await call('listCertificateMappings')).items.length, 0);
});

test('audit and anchors', async () => {
  const rows = (await call('queryRecords', { query: { limit: 500 } })).rows;
  assert.ok(rows.some((row) => row.kind === 'request') && rows.some((row) => row.kind === 'event'));
  const request = rows.find((row) => row.kind === 'request');
  await call('getRecord', { params: { record: request.id } });
  assert.match((await call('getProof', { params: { record: request.id } })).proofs[0].proof, /tlog-proof/);
  assert.equal((await call('getContent', { params: { record: request.id } })).request.state, 'none');
  await call('listEntries', { query: { limit: 5 } });
  await call('listEntries', { query: { from: 0, limit: 5 } });
  await call('takeCheckpoint');
  await call('exportRecords', { query: { limit: 3 } });
  await call('exportRecords', { query: { decision: 'permit', limit: 3 } });
  await call('getStoredPolicy', { params: { version: '1' } });
  await call('countRecords');
  await call('countRecords', { query: { by: 'caller', type: 'request' } });
  await call('findGaps', { query: { longer: '1m' } });
  await call('drawSample', { query: { seed: 'x', count: 2 } });
  await call('reviewAccess', { query: { model: 'tiny' } });
  await call('getIndex');
  await call('rebuildIndex');
  assert.equal((await call('findText', { body: { text: 'a text that nobody sent' } })).items.length, 0);
  assert.equal((await call('findContent', { query: { caller: request.caller }, body: { terms: ['nobody', 'said this'] } })).items.length, 0);
  await call('addAnchor', { body: { name: 'copy', kind: 'file', target: join(world.dir, 'anchor'), everyMinutes: 5 }, status: 201 });
  await call('listAnchors');
  await until(async () => (await call('getStatus')).server.anchors.some((one) => one.name === 'copy'), 'the anchor in the status');
  await until(async () => (await call('getStatus')).server.anchors.some((one) => one.handed), 'the checkpoint at the anchor');
  await call('removeAnchor', { params: { anchor: 'copy' } });
  await call('addSink', { body: { name: 'siem', kind: 'https', url: 'http://127.0.0.1:9/in', format: 'ocsf' }, status: 201 });
  await call('listSinks');
  await until(async () => (await call('getStatus')).server.sinks.some((one) => one.failing && one.why), 'the failing sink in the status');
  await call('testSink', { params: { sink: 'siem' }, status: 502 });
  await call('removeSink', { params: { sink: 'siem' } });
  const receiver = http.createServer((request, answer) => answer.end()).listen(0, '127.0.0.1');
  await new Promise((done) => { receiver.once('listening', done); });
  await call('addSink', { body: { name: 'lake', kind: 'https', url: `http://127.0.0.1:${receiver.address().port}/` }, status: 201 });
  assert.equal((await call('testSink', { params: { sink: 'lake' } })).delivered, true);
  await call('removeSink', { params: { sink: 'lake' } });
  receiver.closeAllConnections();
  receiver.close();
  const key = execFileSync(process.env.BAILIFF, ['witness', 'init', join(world.dir, 'witness'), 'w.example/1'], { encoding: 'utf8' }).trim().split('\n').at(-1);
  await call('addWitness', { body: { name: 'w1', url: 'http://127.0.0.1:9', key }, status: 201 });
  await call('listWitnesses');
  await call('setWitnessPolicy', { body: { quorum: 1, everySeconds: 1 } });
  assert.equal((await call('getWitnessPolicy')).everySeconds, 1);
  await until(async () => (await call('getStatus')).server.witnesses.items.some((one) => one.failing && one.why), 'the failing witness in the status');
  await call('setWitnessPolicy', { body: { quorum: 0 } });
  await call('removeWitness', { params: { witness: 'w1' } });
  assert.match(await call('getLogFile', { params: { file: 'checkpoint' } }), /\n\d+\n/);
  await call('getLogFile', { params: { file: 'tile/x/000' }, status: 404 });
  await call('rotateLogKey', { body: { overlapDays: 2, reason: 'yearly' } });
  await call('rotateLogKey', { status: 409 });
  assert.match(await call('getLogFile', { params: { file: 'key-rotations' } }), /^bailiff\.key-rotation\/v1\n/);
  // Every filter that the document names is one.
  const filters = { since: '1d', until: '2099-01-01', caller: 'eve', key: request.key, team: 'lab', model: 'big', engine: 'local', decision: 'permit',
    policy: 'x', version: '1', code: 'policy_denied', stage: 'decide', quota: 'quo_x', text: 'no rule', status: '2xx', outcome: 'ok', type: 'request', route: '/v1/chat/completions', action: 'chat', id: request.id, actor: 'a-admin',
    object: 'big', order: 'oldest', after: 0, limit: 1 };
  assert.deepEqual(Object.keys(filters).sort(), operations.get('queryRecords').parameters.map((one) => one.name).sort());
  for (const [name, value] of Object.entries(filters)) await call('queryRecords', { query: { [name]: value } });
  const help = world.run('audit', 'query', '--help');
  const known = [...help.matchAll(/^ {2}--([a-z-]+)/gm)].map((match) => match[1]);
  for (const name of Object.keys(filters)) assert.ok(known.includes(name), `--${name}`);
});

test('a decision repeated, and a state of then', async () => {
  const { rows } = await call('queryRecords', { query: { type: 'request', limit: 1 } });
  const [request] = rows;
  const { result, checks } = await call('redecideRecord', { params: { record: request.id } });
  assert.equal(result, 'same', JSON.stringify(checks));
  const { items } = await call('getPastState', { query: { before: 20 } });
  assert.ok(items.length > 0);
});

test('both ends of a backup', async () => {
  const moment = await call('beginBackup', { body: { keys: 'without' } });
  assert.ok(existsSync(join(moment.folder, 'control.db')));
  await call('endBackup', { params: { backup: moment.id }, body: { manifest: 'a'.repeat(64), files: 1, bytes: 2, entries: moment.entries } });
  assert.ok(!existsSync(moment.folder));
});

test('retention, holds, and what persons may ask for', async () => {
  await call('getRetention');
  await call('setRetentionClass', { params: { class: 'six-years' }, body: { profile: 'hipaa', exempt: false, reason: 'r' } });
  await call('setRetentionClass', { params: { class: 'six-years' }, body: { days: 2500 } });
  await call('setTeamRetention', { params: { team: 'lab' }, body: { class: 'six-years', reason: 'r' } });
  assert.equal((await call('getRetention')).teams[0].class, 'six-years');
  await call('removeTeamRetention', { params: { team: 'lab' } });
  await call('raiseRetentionLock', { body: { days: 100, reason: 'r' } });
  await call('raiseRetentionLock', { body: { days: 99 }, status: 409 });
  await call('setRetentionClass', { params: { class: 'default' }, body: { days: 99 }, status: 409 });
  assert.equal((await call('rotateDigestKey')).number, 2);
  assert.equal((await call('runRetention')).destroyed, 0);
  const plan = await call('planPruning', { query: { before: '1d' } });
  assert.deepEqual([plan.allowed, plan.would, plan.pruned], [false, null, null]);
  assert.ok(plan.limits.some((one) => one.kind === 'period'));
  await call('pruneLog', { body: { before: '1d', reason: 'r', basis: 'b' }, status: 409 });
  const hold = { name: 'case-1', caller: 'eve', team: 'lab', since: '2020-01-01', until: '2099-01-01', reason: 'r', basis: 'b' };
  await call('addHold', { body: hold, status: 201 });
  await call('addHold', { body: hold, status: 409 });
  await call('listHolds');
  assert.ok((await call('getHold', { params: { hold: 'case-1' } })).keys >= 0);
  await call('releaseHold', { params: { hold: 'case-1' }, body: { reason: 'r' } });
  await call('addCaller', { body: { handle: 'gone-soon' }, status: 201 });
  assert.equal((await call('exportSubject', { params: { caller: 'gone-soon' } })).person.handle, 'gone-soon');
  assert.ok((await call('exportSubject', { params: { caller: 'gone-soon' }, query: { of: 'acts', after: 0 } })).records.length > 0);
  await call('eraseSubject', { params: { caller: 'gone-soon' }, body: { reason: 'r', basis: 'b' } });
});

test('health', async () => {
  await call('getHealth');
  await call('getReadiness');
  await call('getMetrics');
});

test('every change that may wait says so', () => {
  const schema = readFileSync(new URL('../../schema/admin.cedarschema', import.meta.url), 'utf8');
  const changes = [...schema.matchAll(/action\s([^;{]*?)\s+in\s+\[(operate|author|approve|administer|propose)\]\s+appliesTo/g)]
    .flatMap(([, names]) => names.split(',').map((name) => name.trim()));
  const guard = readFileSync(new URL('../../proxy/admin/guard.c', import.meta.url), 'utf8');
  const never = [...guard.match(/never\[\] = \{([^}]*)\}/)[1].matchAll(/"(\w+)"/g)].map(([, name]) => name);
  for (const [id, operation] of operations)
    assert.equal('202' in operation.responses, changes.includes(id) && !never.includes(id) && !/^\/v1\/(policies|emergencies)/.test(operation.path), id);
});

test('every operation of the document was called, and did what it is for', () => {
  const elsewhere = ['pruneLog']; // which takes a log of some age: tests/durability/prune.test.mjs
  assert.deepEqual([...operations.keys()].filter((id) => !called.has(id) && !elsewhere.includes(id)), []);
});

// The program names the members that it knows; so does the document.
test('bodies and queries have the members of the document, no more and no fewer', async () => {
  const params = { key: 'contact', team: 'lab', caller: 'eve', engine: 'local', model: 'tiny', alias: 'gpt-4o-mini', group: 'large',
    version: '1', hold: 'case-1', class: 'six-years', quota: 'quo_x', anchor: 'x', sink: 'x', witness: 'x', file: 'x', issuer: 'x', domain: 'x', mapping: 'map_x', administrator: 'a-auditor', record: '0' };
  params.key = 'contact';
  const knownOf = (answer) => answer.errors?.find((one) => one.field === 'qqqqqqqqqqqq')?.message.match(/known: (.*)$/)?.[1].split(', ').sort();
  for (const [id, operation] of operations) {
    if (operation.body) {
      const answer = await call(id, { params, body: { qqqqqqqqqqqq: 1 }, status: 400 });
      assert.deepEqual(knownOf(answer), Object.keys(operation.body.properties).sort(), `members of ${id}`);
      const missing = answer.errors.filter((one) => one.message === 'is missing').map((one) => one.field);
      assert.deepEqual(missing.sort(), [...(operation.body.required ?? [])].sort(), `required by ${id}`);
      assert.equal(operation.body.additionalProperties, false, id);
      // Types: what the document says is no string, number ... is refused.
      for (const [name, schema] of Object.entries(operation.body.properties)) {
        const type = resolve(schema).type ?? 'string';
        const wrong = type === 'string' ? 5 : 'x';
        const problem = await call(id, { params, body: { [name]: wrong }, status: 400 });
        assert.ok(problem.errors.some((one) => one.field === name && /must be|is no|none of/.test(one.message)), `${name} of ${id}: ${JSON.stringify(problem)}`);
        for (const [limit, value] of [['minimum', -1], ['maximum', 1]]) {
          if (resolve(schema)[limit] === undefined) continue;
          const beyond = await call(id, { params, body: { [name]: resolve(schema)[limit] + value }, status: 400 });
          assert.ok(beyond.errors.some((one) => one.field === name), `${limit} of ${name} of ${id}`);
        }
        for (const choice of resolve(schema).enum ?? []) {
          const fits = await call(id, { params, body: { [name]: choice, qqqqqqqqqqqq: 1 }, status: 400 });
          assert.ok(!fits.errors.some((one) => one.field === name), `"${choice}" for ${name} of ${id}`);
        }
      }
    }
    const queried = operation.parameters.filter((one) => one.in === 'query').map((one) => one.name).sort();
    // (Those that take the filters of a search name what they know in other words.)
    if (queried.length > 0 && !queried.includes('since'))
      assert.deepEqual(knownOf(await call(id, { params, query: { qqqqqqqqqqqq: 1 }, status: 400 })), queried, `query of ${id}`);
  }
});

test('each role may what the document says, and nothing else', async () => {
  for (const operation of operations.values()) {
    if (operation.security) continue;
    for (const [role, token] of Object.entries(tokens)) {
      const answer = await send(operation.method, operation.path, { token, ...(operation.method === 'GET' ? {} : { body: { qqqqqqqqqqqq: 1 } }) });
      assert.equal(answer.status !== 403, operation['x-roles'].includes(role), `${role}: ${operation.operationId} ${answer.status} ${answer.text}`);
    }
  }
});

test('bad requests get a problem that says what to do', async () => {
  const refused = async (status, detail, ...rest) => {
    const answer = await send(...rest);
    assert.equal(answer.status, status, answer.text);
    const problem = JSON.parse(answer.text);
    judge(['components', 'schemas', 'Problem'], problem, rest.join(' '));
    assert.match(problem.detail, detail);
  };
  await refused(404, /has no \/v1\/nothing/, 'GET', '/v1/nothing');
  await refused(405, /offered: GET, POST/, 'PATCH', '/v1/teams', { body: {} });
  await refused(400, /no JSON/, 'POST', '/v1/teams', { raw: '{' });
  await refused(400, /must be a JSON object/, 'POST', '/v1/teams', { raw: '[]' });
  await refused(400, /duplicate/, 'POST', '/v1/teams', { raw: '{"name":"a","name":"b"}' });
  await refused(413, /longer than/, 'POST', '/v1/teams', { raw: `{"name":"${'a'.repeat(5 << 20)}"}` });
  await refused(401, /not known here/, 'GET', '/v1/teams', { token: 'bla_nonsense' });
});

// --- The command line ----------------------------------------------------------

const program = process.env.BAILIFF;
function run(args, { token, input, state = world.state } = {}) {
  const environment = { ...process.env, BAILIFF_STATE: state, ...(token ? { BAILIFF_ADMIN_TOKEN: token } : {}) };
  const { status, stdout, stderr } = spawnSync(program, args, { env: environment, input, encoding: 'utf8' });
  return { status, stdout, stderr, all: stdout + stderr };
}

const COMMANDS = ['init', 'serve', 'check', 'demo-engine', 'status', 'onboard', 'can',
  ...Object.entries({ team: 'add list remove', caller: 'add list show disable enable', key: 'issue list revoke', engine: 'add list remove',
    model: 'add list alias approve retire', policy: 'validate put activate rollback list show try', quota: 'set list remove usage', price: 'set list show',
    audit: 'query show tail verify checkpoint', admin: 'add list' })
    .flatMap(([noun, verbs]) => verbs.split(' ').map((verb) => `${noun} ${verb}`))];

test('every command is there, with help, and lists as a table and as JSON', () => {
  const overview = run(['help']);
  assert.equal(overview.status, 0);
  for (const line of overview.stdout.split('\n')) assert.ok(line.length <= 120, line);
  for (const command of COMMANDS) {
    const words = command.split(' ');
    assert.match(overview.stdout, new RegExp(`^  ${command}( |$)`, 'm'));
    const help = run([...words, '--help'], { state: '' });
    assert.equal(help.status, 0, command);
    assert.match(help.stdout, new RegExp(`^[Uu]sage: bailiff ${command}`), command);
    if (command !== 'demo-engine') assert.equal(run(['help', ...words]).stdout, help.stdout);
    if (words[1] !== 'list') continue;
    const table = run(words);
    assert.equal(table.status, 0, table.all);
    assert.ok(Array.isArray(JSON.parse(run([...words, '--json']).stdout).items), command);
    // -C goes before the variable, wherever it stands.
    assert.equal(run([...words, '-C', world.state], { state: '/nowhere' }).stdout, table.stdout);
    assert.equal(run(['-C', world.state, ...words], { state: '/nowhere' }).stdout, table.stdout);
  }
});

test('wrong use says what is right, with 2; what cannot be done says why, with 1', () => {
  const cases = [
    [2, /usage: bailiff \[-C DIR\] COMMAND/],
    [2, /no command "tem"; did you mean "team"/, 'tem', 'list'],
    [2, /no command "team lst"; did you mean "team list"[^]*team has: add list weight remove/, 'team', 'lst'],
    [2, /bailiff team add NAME/, 'team'],
    [2, /an argument is missing: NAME/, 'team', 'add'],
    [2, /"c" is one argument too many/, 'team', 'add', 'b', 'c'],
    [2, /unknown option --titel; did you mean --title/, 'team', 'add', 'b', '--titel', 'x'],
    [2, /--title wants a value/, 'team', 'add', 'b', '--title'],
    [2, /--title is given twice/, 'team', 'add', 'b', '--title', 'x', '--title', 'y'],
    [2, /--all takes no value/, 'key', 'list', '--all=1'],
    [2, /"1x" is no number/, 'quota', 'set', '--team', 'lab', '--tokens-per-day', '1x'],
    [2, /whose quota\?/, 'quota', 'set', '--tokens-per-day', '1'],
    [2, /a quota is of one of them/, 'quota', 'set', '--team', 'lab', '--caller', 'eve', '--tokens-per-day', '1'],
    [2, /how much\?/, 'quota', 'set', '--team', 'lab'],
    [2, /no DIMENSION\/WINDOW=N/, 'quota', 'set', '--team', 'lab', '--limit', 'tokens'],
    [2, /two amounts are given for tokens\/day/, 'quota', 'set', '--team', 'lab', '--tokens-per-day', '1', '--limit', 'requests/day=1,tokens/day=2'],
    [2, /no DIMENSION\/WINDOW=N/, 'quota', 'set', '--team', 'lab', '--tokens-per-day', '1', '--limit', 'tokens'], // and nothing was set
    [2, /--just-in-time and --not-just-in-time contradict/, 'issuer', 'set', 'x', '--just-in-time', '--not-just-in-time'],
    [2, /--clients-only and --any-client contradict/, 'issuer', 'set', 'x', '--any-client', '--clients-only'],
    [1, /--model-group: a quota is for one model or for one group/, 'quota', 'set', '--team', 'lab', '--tokens-per-day', '1', '--model', 'tiny', '--model-group', 'large'],
    [2, /"x" is no policy version/, 'policy', 'activate', 'x'],
    [2, /an argument is missing: CALLER ACTION MODEL/, 'can', 'eve', 'chat'],
    [2, /it is: list \| add GROUP/, 'model', 'group', 'jon', 'x'],
    [2, /--adopt wants --reason/, 'check', '--adopt'],
    [1, /there is a team "lab" already/, 'team', 'add', 'lab'],
    [1, /no team "labb"; did you mean "lab"/, 'team', 'remove', 'labb'],
    [1, /no caller "evee"; did you mean "eve"/, 'caller', 'show', 'evee'],
    [1, /no engine "locl"; did you mean "local"/, 'model', 'add', 'x', '--engine', 'locl'],
    [1, /no model "tinny"; did you mean "tiny"/, 'can', 'eve', 'chat', 'tinny'],
    [1, /"chatt" is none of: chat/, 'can', 'eve', 'chatt', 'tiny'],
    [1, /--kind: "robot" is none of: person service/, 'caller', 'add', 'r', '--kind', 'robot'],
    [1, /--default-max-tokens: 0; it must be from 1[^]*|--risk-class/, 'model', 'add', 'x', '--default-max-tokens', '0', '--risk-class', 'x'],
    [1, /--expires: "soon" is no time/, 'key', 'issue', 'eve', '--expires', 'soon'],
    [1, /expected http:\/\/HOST:PORT/, 'engine', 'add', 'x', '127.0.0.1:1'],
    [1, /no policy version 99/, 'policy', 'activate', '99'],
    [1, /cannot open \/nowhere/, 'policy', 'put', '/nowhere'],
    [1, /no quota "quo_x"/, 'quota', 'remove', 'quo_x'],
    [1, /nothing would change/, 'caller', 'update', 'eve'],
    [1, /does not exist; `bailiff init/, 'check', '/nowhere/state'],
  ];
  for (const [status, words, ...args] of cases) {
    const got = run(args);
    assert.equal(got.status, status, `${args.join(' ')}: ${got.all}`);
    assert.match(got.all, words, args.join(' '));
    if (args.length > 0 && args[0] !== 'check') assert.equal(got.stdout, '', args.join(' '));
  }
  assert.equal(run(['team', 'list'], { state: '' }).status, 2);
  // A help names each option once, or says where which is meant; questions end as such.
  const help = run(['quota', 'set', '--help']).stdout;
  assert.match(help, /--key KEY-ID[^]*before the command's words:\n {2}--key FILE/);
  assert.equal(help.match(/--key /g).length, 2);
  assert.match(run(['audit', 'find-content', '--help']).stdout, /have these words\?\n/);
});

test('an auditor reads by command, and changes nothing', async () => {
  const token = tokens.auditor;
  const before = await call('listTeams');
  for (const command of ['team list', 'caller list', 'key list', 'engine list', 'model list', 'policy list', 'policy show', 'quota list',
    'quota usage', 'admin list', 'anchor list', 'sink list', 'witness list', 'witness quorum', 'status', 'audit query', 'audit tail', 'audit checkpoint'])
    assert.equal(run(command.split(' '), { token }).status, 0, command);
  for (const command of ['team add x', 'team remove lab', 'caller add x', 'caller disable eve', 'caller enable eve', 'key issue eve',
    'engine add x http://127.0.0.1:1', 'engine remove local', 'model add x', 'model retire tiny', 'model alias tiny x', 'policy activate 1',
    'policy rollback', 'policy require-approvals 5', 'quota set --team lab --tokens-per-day 1', 'admin add x --role admin',
    'admin disable a-admin', 'anchor add x file /x', 'sink add x syslog tcp://127.0.0.1:9', 'onboard x --team lab']) {
    const got = run(command.split(' '), { token });
    assert.equal(got.status, 1, command);
    assert.match(got.stderr, /the role "auditor" may not/, command);
  }
  assert.deepEqual(await call('listTeams'), before);
  assert.match(run(['team', 'list'], { token: 'bla_wrong' }).stderr, /not known here/);
});

test('nothing that a terminal obeys comes out, and tables are straight', () => {
  run(['team', 'add', 'odd', '--title', 'a\u001b[31mred\u0007\u009b\u202eevil']);
  run(['team', 'add', 'wide', '--title', '研究所']);
  const { stdout } = run(['team', 'list']);
  // eslint-disable-next-line no-control-regex
  assert.ok(!/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/.test(stdout));
  const lines = stdout.trimEnd().split('\n').filter((line) => !line.includes('研究所'));
  const at = lines[0].indexOf('CREATED');
  for (const line of lines.slice(1)) assert.match(line.slice(at), /^\d{4}-\d\d-\d\d \d\d:/, line);
});

test('check, beside the running server, finds an engine that others can reach', async () => {
  const good = run(['check']);
  assert.equal(good.status, 0, good.all);
  assert.match(good.stdout, /at work here/);
  assert.ok(!good.stdout.includes('answers without a credential'));
  const elsewhere = Object.values(networkInterfaces()).flat().some((one) => !one.internal && one.family === 'IPv4');
  const { enginePort, engine } = world;
  await engine.stop();
  await world.startEngine(['--host', '0.0.0.0'], enginePort);
  const bad = run(['check']);
  if (elsewhere) assert.match(bad.stdout, /warning: engine local answers without a credential on [0-9.]+:\d+ too: anyone who reaches it goes round Bailiff/);
  writeFileSync(world.settings, `${readFileSync(world.settings, 'utf8')}\nworkerz = 3;\n`);
  const wrong = run(['check']);
  assert.equal(wrong.status, 1);
  assert.match(wrong.stdout, /error: bailiff\.conf:\d+: unknown key "workerz"; did you mean "workers"\?/);
  writeFileSync(world.settings, readFileSync(world.settings, 'utf8').replace('workerz = 3;', ''));
  assert.ok(existsSync(world.settings));
});

test('the certificate that init made passes openssl verify -x509_strict', () => {
  const at = (name) => join(world.state, 'tls', name);
  const verified = spawnSync('openssl', ['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_ip', '127.0.0.1', '-CAfile', at('ca.pem'), at('server.pem')], { encoding: 'utf8' });
  assert.equal(verified.status, 0, verified.stdout + verified.stderr);
});
