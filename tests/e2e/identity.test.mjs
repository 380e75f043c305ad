// SPDX-License-Identifier: Apache-2.0
//
// Callers by signed tokens of a real OpenID provider: accepted, refused for
// each reason, through the provider's bad days, and cut off by an admin's hand.
// What is refused never reaches the engine.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { constants, createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { OAuth2Server } from 'oauth2-mock-server';
import { World, messages, until, dechunk, events } from './harness.mjs';
import { FakeEngine, endless } from './fake-engine.mjs';

let world, provider, river;
const audience = 'bailiff';

before(async () => {
  provider = new OAuth2Server();
  await provider.issuer.keys.generate('RS256');
  await provider.issuer.keys.generate('ES256');
  await provider.start(0, 'localhost');
  world = await World.make();
  river = await FakeEngine.make(endless);
  world.cli('engine', 'add', 'river', `http://127.0.0.1:${river.port}`, '--kind', 'openai');
  world.cli('model', 'add', 'river', '--engine', 'river', '--approve');
  for (const handle of ['corp:alice', 'corp:bob', 'corp:dora']) world.onboard(handle);
  world.cli('issuer', 'add', 'corp', provider.issuer.url, '--audience', audience, '--prefix', 'corp:',
    '--groups-claim', 'realm_access.roles', '--skew', '0');
  await until(async () => (await world.chat(await token({ sub: 'alice' }))).status === 200, 'the keys');
});
after(async () => {
  await world.end();
  await river.end();
  if (provider.listening) await provider.stop();
});

// A token of the provider; claims that are undefined are taken out.
async function token(claims = {}, options = {}) {
  const text = await provider.issuer.buildToken({ expiresIn: 3600, ...options,
    scopesOrTransform: (header, payload) => {
      Object.assign(payload, { aud: audience, sub: 'alice', ...claims });
      for (const [name, value] of Object.entries(claims)) if (value === undefined) delete payload[name];
      Object.assign(header, options.header);
    } });
  world?.secrets.push(text.split('.')[2]);
  return text;
}

const now = () => Math.floor(Date.now() / 1000);

async function refused(text, pattern) {
  const error = await world.untouched(async () =>
    world.client(text).chat.completions.create({ model: 'tiny', messages, max_tokens: 4 }).catch((caught) => caught));
  assert.ok(error instanceof OpenAI.AuthenticationError, `${error?.constructor?.name}: ${error?.message}`);
  assert.match(error.message, pattern);
  return error;
}

test('a token is a caller: with the SDK, as a stream, and on record', async () => {
  const alice = await token({ sub: 'alice' });
  const client = world.client(alice);
  const { data, response } = await client.chat.completions.create({ model: 'tiny', messages, max_tokens: 4 }).withResponse();
  assert.ok(data.usage.total_tokens > 0);
  const record = await world.record(response.headers.get('x-request-id'));
  assert.equal(record.decision, 'permit');
  assert.match(record.caller, /^cal_/);
  let text = '';
  for await (const chunk of await client.chat.completions.create({ model: 'tiny', messages, max_tokens: 4, stream: true }))
    text += chunk.choices[0]?.delta?.content ?? '';
  assert.ok(text.length > 0);
  const shown = JSON.stringify(world.json('audit', 'show', response.headers.get('x-request-id')));
  assert.match(shown, /"method":\s*"jwt"/);
  assert.match(shown, /"issuer":\s*"corp"/);
});

test('each algorithm of the provider, and an array of audiences', async () => {
  for (const { kid } of provider.issuer.keys.toJSON())
    assert.equal((await world.chat(await token({ aud: ['other', audience] }, { kid }))).status, 200, kid);
});

test('refused, each for one reason', async () => {
  await refused(await token({}, { expiresIn: -10 }), /expired/);
  await refused(await token({ aud: 'another' }), /aud_mismatch/);
  await refused(await token({ aud: undefined }), /aud_missing/);
  await refused(await token({ exp: String(now() + 100) }), /exp_invalid/);
  await refused(await token({ exp: undefined }), /exp_missing/);
  await refused(await token({ nbf: now() + 600 }), /not_yet_valid/);
  await refused(await token({ iat: now() + 600 }), /issued_in_future/);
  await refused(await token({ sub: undefined }), /sub_missing/);
  await refused(await token({ sub: 'mallory' }), /unknown_caller/);
  await refused(await token({ sub: 'x' }, { header: { typ: 'logout+jwt' } }), /type_mismatch/);
  await refused(await token({ cnf: { 'x5t#S256': '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU' } }), /certificate_missing/);
  await refused(await token({ realm_access: { roles: [7] } }), /groups_invalid/);
  await refused(await token({ realm_access: { roles: Array.from({ length: 65 }, (_, i) => `g${i}`) } }), /groups_invalid/);
  // Who has no token of the provider learns nothing.
  await refused(await token({ iss: 'https://elsewhere.example' }), /could not be verified/);
  await refused(await token({}, { header: { jwk: provider.issuer.keys.toJSON()[0] } }), /could not be verified/);
  const good = await token();
  await refused(`${good.slice(0, -4)}AAAA`, /could not be verified/);
  await refused(`${good}.`, /could not be verified/);
  const [header, payload] = good.split('.');
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  await refused(`${none}.${payload}.`, /could not be verified/);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await refused(`${header}.${payload}.${signBytes('sha256', Buffer.from(`${header}.${payload}`), privateKey).toString('base64url')}`,
    /could not be verified/);
});

// RFC 8725, sections 2 and 3, over the wire: the keys are the provider's own, so
// that nothing but the confusion is wrong.
test('algorithms that are mistaken for one another', async () => {
  const jwks = provider.issuer.keys.toJSON(true);
  const rsa = jwks.find((one) => one.kty === 'RSA'), ec = jwks.find((one) => one.kty === 'EC');
  const payload = Buffer.from(JSON.stringify({ iss: provider.issuer.url, aud: audience, sub: 'alice', exp: now() + 600 })).toString('base64url');
  const make = async (header, sign) => {
    const input = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${payload}`;
    const text = `${input}.${Buffer.from(sign(Buffer.from(input))).toString('base64url')}`;
    world.secrets.push(text.split('.')[2] || 'no signature at all');
    return text;
  };
  const rsaKey = createPrivateKey({ key: rsa, format: 'jwk' }), ecKey = createPrivateKey({ key: ec, format: 'jwk' });
  const rs256 = (bytes) => signBytes('sha256', bytes, rsaKey);
  const ps256 = (bytes) => signBytes('sha256', bytes, { key: rsaKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
  const es256 = (bytes) => signBytes('sha256', bytes, { key: ecKey, dsaEncoding: 'ieee-p1363' });
  assert.equal((await world.chat(await make({ alg: 'RS256', kid: rsa.kid }, rs256))).status, 200, 'the fixture itself');
  assert.equal((await world.chat(await make({ alg: 'ES256', kid: ec.kid }, es256))).status, 200);
  // The public key as a secret, in each form in which it is known.
  for (const secret of [createPublicKey(rsaKey).export({ type: 'spki', format: 'pem' }), createPublicKey(rsaKey).export({ type: 'spki', format: 'der' }),
    createPublicKey(rsaKey).export({ type: 'pkcs1', format: 'pem' }), JSON.stringify({ kty: 'RSA', n: rsa.n, e: rsa.e }), Buffer.from(rsa.n, 'base64url'), ''])
    await refused(await make({ alg: 'HS256', kid: rsa.kid }, (bytes) => createHmac('sha256', secret).update(bytes).digest()), /could not be verified/);
  for (const [header, sign] of [
    [{ alg: 'ES256', kid: ec.kid }, () => Buffer.alloc(64)],                       // r = s = 0
    [{ alg: 'ES256', kid: ec.kid }, () => Buffer.concat([Buffer.alloc(31), Buffer.from([1]), Buffer.alloc(31), Buffer.from([1])])],
    [{ alg: 'ES256', kid: ec.kid }, (bytes) => signBytes('sha256', bytes, ecKey)], // DER
    [{ alg: 'ES256', kid: ec.kid }, (bytes) => Buffer.concat([es256(bytes), Buffer.alloc(1)])],
    [{ alg: 'ES256', kid: rsa.kid }, es256], [{ alg: 'RS256', kid: ec.kid }, rs256], [{ alg: 'ES384', kid: ec.kid }, es256],
    [{ alg: 'PS256', kid: rsa.kid }, ps256], // the key says RS256
    [{ alg: 'RS512', kid: rsa.kid }, rs256], [{ alg: 'rs256', kid: rsa.kid }, rs256], [{ alg: 'RS256 ', kid: rsa.kid }, rs256],
    [{ alg: ['RS256'], kid: rsa.kid }, rs256], [{ kid: rsa.kid }, rs256],
    [{ alg: 'none', kid: rsa.kid }, () => ''], [{ alg: 'NoNe', kid: rsa.kid }, rs256], [{ alg: '', kid: rsa.kid }, rs256],
    [{ alg: 'RS256', kid: rsa.kid, crit: ['exp'] }, rs256], [{ alg: 'RS256', kid: rsa.kid, b64: false, crit: ['b64'] }, rs256],
    [{ alg: 'RS256', kid: rsa.kid, x5c: [] }, rs256], [{ alg: 'RS256', kid: rsa.kid, enc: 'A128GCM' }, rs256],
    [{ alg: 'RS256', kid: `../../${rsa.kid}` }, rs256], [{ alg: 'RS256', kid: [rsa.kid] }, rs256], [{ alg: 'RS256', kid: "' OR '1'='1" }, rs256],
    [{ alg: 'RS256', kid: rsa.kid, cty: 'JWT' }, rs256],
  ]) {
    const text = await make(header, sign);
    await until(async () => {
      const answer = await world.untouched(() => world.chat(text));
      assert.ok([401, 503].includes(answer.status), `${JSON.stringify(header)}: ${answer.status}`);
      return answer.status === 401; // 503: a key of that name is looked for
    }, JSON.stringify(header), 20000);
  }
});

test('the id of a caller is not the provider\'s to give', async () => {
  const id = world.json('caller', 'list').items.find((one) => one.handle === 'corp:bob' || one.name === 'corp:bob')?.id;
  assert.match(id, /^cal_/);
  await refused(await token({ sub: id }), /unknown_caller/);
});

test('two credentials that differ', async () => {
  const answer = await world.untouched(async () => world.request('POST', '/v1/chat/completions',
    { key: await token(), headers: { 'x-api-key': await token({ sub: 'bob' }) }, body: { model: 'tiny', messages } }));
  assert.equal(answer.status, 401);
});

test('rules may ask for the token\'s issuer, client and groups', async () => {
  const file = join(world.dir, 'groups.cedar');
  writeFileSync(file, `
@id("infer") @title("everybody may infer") permit (principal, action in Action::"infer", resource);
@id("list") @title("everybody may look") permit (principal, action in Action::"read", resource);
@id("guests") @title("guests may not")
forbid (principal, action in Action::"infer", resource)
when { context.auth has groups && context.auth.groups.contains("guest") };
@id("app") @title("not by that app")
forbid (principal, action in Action::"infer", resource)
when { context.auth has client && context.auth.client == "rogue" };
`);
  world.cli('policy', 'put', file, '--activate');
  assert.equal((await world.chat(await token({ realm_access: { roles: ['staff'] } }))).status, 200);
  for (const claims of [{ realm_access: { roles: ['staff', 'guest'] } }, { realm_access: { roles: 'guest' } }, { client_id: 'rogue' }, { azp: 'rogue' }]) {
    const text = await token(claims);
    const answer = await world.untouched(() => world.chat(text));
    assert.equal(answer.status, 403, JSON.stringify(claims));
  }
});

test('the same token again and again, from the cache, until it expires', async () => {
  const brief = await token({}, { expiresIn: 3 });
  const end = now() + 3;
  let served = 0;
  for (;;) {
    const answer = await world.chat(brief);
    if (answer.status !== 200) { assert.equal(answer.status, 401); break; }
    served++;
    assert.ok(now() <= end + 1, 'served after its end');
  }
  assert.ok(served > 3, `served ${served} times`);
});

test('a disabled caller: refused at once, cached token or not, and the stream is cut', async () => {
  const dora = await token({ sub: 'dora' });
  const line = await world.open();
  line.post(dora, { model: 'river', stream: true, max_tokens: 4000 });
  await line.sees(/data: [^]*data: /);
  world.cli('caller', 'disable', 'corp:dora');
  await line.sees(/\r\n0\r\n\r\n$/);
  assert.equal(JSON.parse(events(dechunk(line.text).body).at(-1)).error?.code, 'revoked');
  line.socket.destroy();
  await refused(dora, /caller_disabled/);
});

test('a new key is fetched when a token names it; made-up names bring no flood', async () => {
  const { kid } = await provider.issuer.keys.generate('EdDSA', { crv: 'Ed25519' });
  const fresh = await token({}, { kid });
  await until(async () => {
    const answer = await world.chat(fresh);
    if (answer.status === 503) assert.match(answer.headers['retry-after'], /^\d+$/);
    else assert.ok([200, 401].includes(answer.status));
    return answer.status === 200;
  }, 'the new key', 20000);
  const { keys } = provider.issuer, list = keys.toJSON;
  let fetches = 0;
  keys.toJSON = function counted(...args) { fetches++; return list.apply(this, args); };
  try {
    for (let i = 0; i < 20; i++) {
      const text = await token({}, { header: { kid: `made-up-${i}` } });
      const answer = await world.untouched(() => world.chat(text));
      assert.ok([401, 503].includes(answer.status), String(answer.status));
    }
  } finally { keys.toJSON = list; }
  assert.ok(fetches <= 2, `${fetches} fetches`);
});

test('the provider is down: what is known stays good; after a restart it is not known', async () => {
  const { port } = provider.address();
  const good = await token(), other = await token({ sub: 'bob' });
  await provider.stop();
  assert.equal((await world.chat(good)).status, 200);
  assert.equal((await world.chat(other)).status, 200); // not in the cache yet
  await world.stop();
  await world.serve();
  const answer = await world.untouched(() => world.chat(good));
  assert.equal(answer.status, 503);
  assert.equal(JSON.parse(answer.body).error.code, 'governance_unavailable');
  assert.ok(Number(answer.headers['retry-after']) > 0);
  await provider.start(port, 'localhost');
  await until(async () => (await world.chat(good)).status === 200, 'the provider to be back', 20000);
});

test('a key set from a file; its keys alone', async () => {
  const keys = provider.issuer.keys.toJSON();
  const file = join(world.dir, 'keys.json');
  writeFileSync(file, JSON.stringify({ keys: provider.issuer.keys.toJSON(true) }));
  assert.throws(() => world.cli('issuer', 'add', 'secret', 'https://other.example', '--audience', audience, '--jwks-file', file), /secret members/);
  writeFileSync(file, JSON.stringify({ keys }));
  world.cli('issuer', 'add', 'paper', 'https://other.example', '--audience', audience, '--jwks-file', file, '--prefix', 'corp:');
  await until(async () => (await world.chat(await token({ iss: 'https://other.example' }))).status === 200, 'the file');
  await refused(await token({ iss: 'https://other.example/' }), /could not be verified/);
});

test('an issuer that was removed: its tokens are refused at once, its streams are cut', async () => {
  const bob = await token({ sub: 'bob' });
  assert.equal((await world.chat(bob)).status, 200);
  const line = await world.open();
  line.post(bob, { model: 'river', stream: true, max_tokens: 4000 });
  await line.sees(/data: [^]*data: /);
  world.cli('issuer', 'remove', 'corp');
  await refused(bob, /could not be verified/);
  await line.sees(/\r\n0\r\n\r\n$/);
  line.socket.destroy();
  world.cli('issuer', 'remove', 'paper');
  assert.match(world.cli('issuer', 'list'), /no issuers/);
});

test('jwt verify says the same without a state directory', async () => {
  const file = join(world.dir, 'verify.json');
  writeFileSync(file, JSON.stringify({ keys: provider.issuer.keys.toJSON() }));
  const good = await token();
  const out = execFileSync(process.env.BAILIFF, ['jwt', 'verify', '--jwks', file, '--issuer', provider.issuer.url, '--audience', audience],
    { input: `${good}\n${good}x\n\n`, encoding: 'utf8', env: { PATH: process.env.PATH } });
  const lines = out.trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(lines.map((line) => [line.valid, line.reason]), [[true, 'ok'], [false, lines[1].reason], [false, 'malformed']]);
  assert.equal(lines[0].claims.sub, 'alice');
  assert.equal(lines[1].claims, null);
});
