// SPDX-License-Identifier: Apache-2.0
//
// A gateway in front says for whom it asks: signed, by the organisation's
// provider or by itself. Rules and the record see both; what is not signed is
// never believed.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OAuth2Server } from 'oauth2-mock-server';
import { World, messages, until, dechunk, events } from './harness.mjs';
import { FakeEngine, endless } from './fake-engine.mjs';

let world, provider, river, portal, stranger;
const own = generateKeyPairSync('ed25519');
const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const now = () => Math.floor(Date.now() / 1000);

// What a gateway signs with a key of its own.
function signed(claims = {}, header = {}) {
  const input = `${b64({ alg: 'EdDSA', kid: 'portal', ...header })}.${b64({ iss: 'https://portal.example', aud: 'bailiff', sub: 'ada', exp: now() + 300, ...claims })}`;
  const text = `${input}.${signBytes(null, Buffer.from(input), own.privateKey).toString('base64url')}`;
  world?.secrets.push(text.split('.')[2]);
  return text;
}
async function token(claims = {}) {
  const text = await provider.issuer.buildToken({ expiresIn: 600, scopesOrTransform: (header, payload) => {
    Object.assign(payload, { aud: 'bailiff', sub: 'ada', ...claims });
  } });
  world?.secrets.push(text.split('.')[2]);
  return text;
}
const ask = (key, endUser, body = {}, headers = {}) => world.request('POST', '/v1/chat/completions', { key,
  headers: { ...(endUser === undefined ? {} : { 'x-bailiff-end-user': endUser }), ...headers }, body: { model: 'tiny', messages, max_tokens: 4, ...body } });

before(async () => {
  provider = new OAuth2Server();
  await provider.issuer.keys.generate('ES256');
  await provider.start(0, 'localhost');
  world = await World.make();
  river = await FakeEngine.make(endless);
  world.cli('engine', 'add', 'river', `http://127.0.0.1:${river.port}`, '--kind', 'openai');
  world.cli('model', 'add', 'river', '--engine', 'river', '--approve');
  portal = world.onboard('portal-service');
  stranger = world.onboard('stranger');
  world.onboard('corp:ada', 'research');
  const file = join(world.dir, 'portal.json');
  writeFileSync(file, JSON.stringify({ keys: [{ ...own.publicKey.export({ format: 'jwk' }), kid: 'portal', alg: 'EdDSA' }] }));
  world.cli('issuer', 'add', 'idp', provider.issuer.url, '--audience', 'bailiff', '--prefix', 'corp:', '--groups-claim', 'groups', '--end-users', 'also');
  world.cli('issuer', 'add', 'portal', 'https://portal.example', '--audience', 'bailiff', '--prefix', 'corp:', '--jwks-file', file, '--end-users', 'only');
  world.cli('gateway', 'add', 'portal-service');
  await until(async () => (await ask(portal, await token())).status === 200 && (await ask(portal, signed())).status === 200, 'the keys');
});
after(async () => {
  try { await world?.end(); } finally { await river?.end(); await provider.stop(); }
});

async function refused(key, endUser, pattern, headers) {
  const answer = await world.untouched(() => ask(key, endUser, {}, headers));
  assert.equal(answer.status, 403, answer.body);
  const { error } = JSON.parse(answer.body);
  assert.equal(error.code, 'invalid_end_user');
  assert.match(error.message, pattern);
  return answer;
}

test('the record and the rules see the service and the person', async () => {
  const answer = await ask(portal, await token({ groups: ['staff'], sub: 'ada' }));
  const shown = JSON.stringify(world.json('audit', 'show', answer.headers['x-request-id']));
  const ada = world.json('caller', 'list').items.find((one) => one.handle === 'corp:ada').id;
  assert.match(shown, /"endUser":\s*\{[^}]*"verified":\s*true|"verified":\s*true/);
  assert.ok(shown.includes(ada), shown);
  assert.match(shown, /"issuer":\s*"idp"/);
  // Nobody here of that name: verified all the same, without a caller.
  const other = await ask(portal, await token({ sub: 'grace-the-unknown' }));
  assert.equal(other.status, 200);
  world.secrets.push('grace-the-unknown');
});

test('refused: who may not say so, what is not signed well, what is no end user\'s', async () => {
  await refused(stranger, await token(), /may not say/);
  await refused(portal, await token({ aud: 'other' }), /aud_mismatch/);
  await refused(portal, signed({ exp: now() - 600 }), /expired/);
  await refused(portal, signed({ exp: undefined }), /exp_missing/);
  await refused(portal, signed({ cnf: { jkt: 'x' } }), /confirmation_invalid/);
  await refused(portal, signed({ iss: 'https://other.example' }), /could not be verified/);
  await refused(portal, signed({}, { alg: 'none' }), /could not be verified/);
  await refused(portal, signed({}, { alg: 'HS256' }), /could not be verified/);
  await refused(portal, signed({}, { crit: ['x'] }), /could not be verified/);
  await refused(portal, `${signed().slice(0, -6)}AAAAAA`, /could not be verified/);
  await refused(portal, [signed(), signed({ sub: 'bob' })], /more than once/);
  // The denial is the gateway's, and on record.
  const answer = await refused(portal, 'eyJx.eyJx.x', /could not be verified/);
  const record = await world.record(answer.headers['x-request-id']);
  assert.equal(record.decision, 'deny');
});

test('a gateway\'s own signature makes nobody a caller', async () => {
  const answer = await world.untouched(() => world.chat(signed()));
  assert.equal(answer.status, 401);
  const known = await world.chat(await token()); // an issuer that is also for callers: known, and then it is for the rules
  assert.equal(JSON.parse(known.body).error?.code ?? 'ok', known.status === 200 ? 'ok' : 'policy_denied');
  // And what was believed of an end user is not remembered as a credential, nor the other way round.
  const both = signed();
  assert.equal((await ask(portal, both)).status, 200);
  for (let i = 0; i < 6; i++) assert.equal((await world.untouched(() => world.chat(both))).status, 401);
});

test('what is not signed is a claim: served as nobody, sealed, and on no rule\'s lips', async () => {
  world.secrets.push('eve-the-claimed', 'eve-in-the-body');
  const answer = await ask(portal, 'eve-the-claimed', { user: 'eve-in-the-body' });
  assert.equal(answer.status, 200);
  const shown = JSON.stringify(world.json('audit', 'show', answer.headers['x-request-id']));
  assert.ok(!/"verified"/.test(shown));
  assert.equal((await ask(stranger, 'eve-the-claimed')).status, 200);
});

test('rules decide by the person', async () => {
  const file = join(world.dir, 'chain.cedar');
  writeFileSync(file, `
@id("research") @title("for people of research, through the portal")
permit (principal, action in Action::"infer", resource)
when { context has endUser && context.endUser.verified && context.endUser has caller && context.endUser.caller in Team::"research" };
@id("guests") @title("not for guests") forbid (principal, action in Action::"infer", resource)
when { context has endUser && context.endUser.groups.contains("guest") };
`);
  world.cli('policy', 'put', file, '--activate');
  assert.equal((await ask(portal, await token())).status, 200);
  for (const [key, endUser] of [[portal, undefined], [portal, 'corp:ada'], [portal, await token({ sub: 'nobody' })], [portal, await token({ groups: ['guest'] })]])
    assert.equal((await world.untouched(() => ask(key, endUser))).status, 403);
});

test('a gateway that must say for whom; a disabled person; what went cuts streams', async () => {
  world.cli('gateway', 'remove', 'portal-service');
  await refused(portal, await token(), /may not say/);
  world.cli('gateway', 'add', 'portal-service', '--required');
  await refused(portal, undefined, /must say/);
  await refused(portal, 'corp:ada', /must say/);
  assert.equal((await ask(portal, await token())).status, 200);
  const stream = async (endUser) => {
    const line = await world.open(), text = JSON.stringify({ model: 'river', messages, stream: true, max_tokens: 4000 });
    line.socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${portal}\r\nX-Bailiff-End-User: ${endUser}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    await line.sees(/data: [^]*data: /);
    return line;
  };
  for (const [cut, again] of [[['caller', 'disable', 'corp:ada'], ['caller', 'enable', 'corp:ada']], [['gateway', 'remove', 'portal-service'], ['gateway', 'add', 'portal-service']], [['issuer', 'remove', 'portal'], null]]) {
    const line = await stream(signed());
    world.cli(...cut);
    await line.sees(/\r\n0\r\n\r\n$/);
    assert.equal(JSON.parse(events(dechunk(line.text).body).at(-1)).error?.code, 'revoked');
    line.socket.destroy();
    await refused(portal, signed(), /caller_disabled|may not say|could not be verified/);
    if (again) world.cli(...again);
  }
});
