// SPDX-License-Identifier: Apache-2.0
//
// Administrators who sign in with a real OpenID provider: `bailiff login` with
// PKCE and a redirect to this machine, and what is refused.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OAuth2Server } from 'oauth2-mock-server';
import { World, until } from './harness.mjs';

let world, provider, exchange;
const client = 'bailiff-cli';
before(async () => {
  provider = new OAuth2Server();
  await provider.issuer.keys.generate('RS256');
  await provider.start(0, 'localhost');
  provider.service.on('beforeResponse', (answer, request) => { exchange = { ...request.body, answer: answer.body }; });
  provider.service.on('beforeTokenSigning', (token) => { token.payload.sub ??= 'johndoe'; token.payload.aud ??= client; });
  world = await World.make();
  world.cli('issuer', 'add', 'corp', provider.issuer.url, '--audience', 'models');
});
after(async () => {
  await world.end();
  await provider.stop();
});

function as(token, ...args) {
  const file = join(world.dir, 'token');
  writeFileSync(file, token);
  const { status, stdout, stderr } = spawnSync(process.env.BAILIFF, ['-C', world.state, ...args, '--token-file', file], { encoding: 'utf8' });
  return { status, out: stdout, err: stderr };
}
async function token(claims = {}) {
  const text = await provider.issuer.buildToken({ expiresIn: 3600,
    scopesOrTransform: (header, payload) => { Object.assign(payload, { aud: client, sub: 'johndoe', ...claims }); } });
  world.secrets.push(text.split('.')[2]);
  return text;
}
function refused(text, why) {
  const { status, err } = as(text, 'team', 'list');
  assert.equal(status, 1);
  assert.match(err, why);
}

test('a mapping has an audience of its own', async () => {
  assert.throws(() => world.cli('admin', 'sign-in', 'nobody', '--issuer', 'corp', '--subject', 'x', '--audience', client), /no administrator/);
  world.cli('admin', 'add', 'ada', '--role', 'operator', '--json');
  assert.throws(() => world.cli('admin', 'sign-in', 'ada', '--issuer', 'korp', '--subject', 'x', '--audience', client), /did you mean "corp"/);
  assert.throws(() => world.cli('admin', 'sign-in', 'ada', '--issuer', 'corp', '--subject', 'x', '--audience', 'models'), /that of callers/);
  refused(await token(), /subject is no administrator|keys are not there yet/);
  world.cli('admin', 'sign-in', 'ada', '--issuer', 'corp', '--subject', 'johndoe', '--audience', client);
  assert.throws(() => world.cli('admin', 'sign-in', 'ada', '--issuer', 'corp', '--subject', 'johndoe', '--audience', client), /already/);
});

test('a token of the issuer is the administrator, with the role', async () => {
  const good = await token();
  await until(() => as(good, 'team', 'list').status === 0, 'the keys');
  const { status, err } = as(good, 'team', 'add', 'x');
  assert.equal(status, 1);
  assert.match(err, /the role "operator" may not/);
  world.cli('engine', 'add', 'other', 'http://127.0.0.1:9');
  assert.equal(as(good, 'engine', 'remove', 'other').status, 0);
});

test('what is refused, and why', async () => {
  refused(await token({ aud: 'models' }), /does not sign an administrator in: .*audience|aud/i);
  refused(await token({ sub: 'mallory' }), /subject is no administrator/);
  refused(await token({ exp: 1000 }), /"exp" has passed/);
  refused(await token({ iss: 'https://elsewhere.example' }), /issuer is not believed/);
  const good = await token();
  refused(`${good.slice(0, -8)}AAAAAAAA`, /signature/);
  const [header, payload] = good.split('.');
  refused(`${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`, /does not sign/);
  refused(`${header}.${payload}`, /not known|does not sign/);
});

test('bailiff login brings one home', async () => {
  const file = join(world.dir, 'mine');
  const login = spawn(process.env.BAILIFF, ['login', '--issuer', provider.issuer.url, '--client-id', client, '--write-token', file]);
  let text = '';
  login.stdout.on('data', (data) => { text += data; });
  login.stderr.on('data', (data) => { text += data; });
  const ended = new Promise((resolve) => { login.once('close', resolve); });
  const url = new URL((await until(() => text.match(/^ {4}(http\S+)$/m), () => `the address in ${text}`))[1]);
  assert.deepEqual([url.searchParams.get('code_challenge_method'), url.searchParams.get('client_id'), url.searchParams.get('scope')], ['S256', client, 'openid']);
  const back = new URL(url.searchParams.get('redirect_uri'));
  assert.equal(back.hostname, '127.0.0.1');
  // Somebody else's code is not taken.
  assert.equal((await fetch(`${back}?code=stolen&state=guessed`)).status, 400);
  assert.equal((await fetch(new URL('/other', back))).status, 404);
  const page = await fetch(url); // the provider sends the browser back
  assert.equal(page.status, 200);
  assert.match(await page.text(), /close this window/);
  assert.equal(await ended, 0, text);
  assert.match(exchange.code_verifier, /^[\w-]{43}$/);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const brought = readFileSync(file, 'utf8');
  world.secrets.push(brought.trim().split('.')[2]);
  const list = as(brought, 'admin', 'list');
  assert.equal(list.status, 0, list.err);
});

test('no sign-in any more', async () => {
  const good = await token();
  world.cli('admin', 'no-sign-in', 'ada', 'corp');
  refused(good, /subject is no administrator/);
});
