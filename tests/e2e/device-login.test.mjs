// SPDX-License-Identifier: Apache-2.0
//
// `bailiff login --device` (RFC 8628) with a real OpenID provider: the code is
// entered in a browser elsewhere, which these tests are.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Provider from 'oidc-provider';
import { World, until } from './harness.mjs';

const client = 'bailiff-cli', DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
let world, server, plain, polls, lifetime;
const children = [];
// What the token endpoint says to the next polls before the provider does.
const interjections = [];

async function serveProvider(port, features) {
  const issuer = `http://localhost:${port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: client, token_endpoint_auth_method: 'none', application_type: 'native', grant_types: features.deviceFlow ? [DEVICE] : ['authorization_code'],
      response_types: features.deviceFlow ? [] : ['code'], redirect_uris: features.deviceFlow ? [] : ['http://127.0.0.1/callback'] }],
    features: { devInteractions: { enabled: true }, ...features },
    ttl: { DeviceCode: () => lifetime },
    cookies: { keys: ['of these tests'] },
    findAccount: (context, sub) => ({ accountId: sub, claims: async () => ({ sub }) }),
  });
  const answer = provider.callback();
  const listener = http.createServer((request, response) => {
    if (request.method !== 'POST' || request.url !== '/token') return answer(request, response);
    polls.push(performance.now());
    const word = interjections.shift();
    if (!word) return answer(request, response);
    if (word === 'cut') return request.socket.destroy();
    response.writeHead(word === 'unavailable' ? 503 : 400, { 'content-type': 'application/json' });
    return response.end(JSON.stringify({ error: word }));
  });
  await new Promise((done) => { listener.listen(port, 'localhost', done); });
  return { issuer, listener };
}
async function freePort() {
  const one = http.createServer();
  await new Promise((done) => { one.listen(0, 'localhost', done); });
  const { port } = one.address();
  await new Promise((done) => { one.close(done); });
  return port;
}

before(async () => {
  server = await serveProvider(await freePort(), { deviceFlow: { enabled: true } });
  plain = await serveProvider(await freePort(), {});
  world = await World.make();
  world.cli('issuer', 'add', 'corp', server.issuer, '--audience', 'models');
  world.json('admin', 'add', 'ada', '--role', 'operator');
  world.cli('admin', 'sign-in', 'ada', '--issuer', 'corp', '--subject', 'johndoe', '--audience', client);
});
after(async () => {
  for (const child of children) child.kill();
  await world.end();
  for (const one of [server, plain]) { one.listener.closeAllConnections(); one.listener.close(); }
});

// A browser with cookies that follows redirects and sends forms.
class Browser {
  cookies = new Map();

  async open(url, form) {
    for (let hops = 0; hops < 20; hops++) {
      const answer = await fetch(url, { redirect: 'manual', method: form ? 'POST' : 'GET', body: form && new URLSearchParams(form),
        headers: { cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ') } });
      for (const line of answer.headers.getSetCookie()) {
        const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
        if (value) this.cookies.set(name, value); else this.cookies.delete(name);
      }
      if (answer.status < 300 || answer.status >= 400) return { status: answer.status, url: String(url), text: await answer.text() };
      url = new URL(answer.headers.get('location'), url);
      form = undefined;
    }
    throw new Error('redirected without end');
  }

  // The page's form with what is hidden in it, and what the user adds.
  submit(page, fields) {
    const tag = page.text.match(/<form[^>]*method="post"[^>]*>/)?.[0];
    assert.ok(tag, page.text);
    const hidden = [...page.text.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)].map((match) => [match[1], match[2]]);
    return this.open(new URL(tag.match(/action="([^"]+)"/)[1], page.url), { ...Object.fromEntries(hidden), ...fields });
  }
}

function login(issuer = server.issuer, ...more) {
  polls = [];
  const file = join(world.dir, `token-${Math.random()}`);
  const child = spawn(process.env.BAILIFF, ['login', '--device', '--issuer', issuer, '--client-id', client, '--write-token', file, ...more]);
  const one = { file, text: '' };
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { one.text += data; });
  one.ended = new Promise((resolve) => { child.once('close', resolve); });
  children.push(child);
  one.code = async () => (await until(() => one.text.match(/^ {4}([A-Z]{4}-[A-Z]{4})$/m), () => `the code in ${one.text}`))[1];
  return one;
}
async function enter(code, abort = false) {
  const browser = new Browser();
  let page = await browser.open(`${server.issuer}/device`);
  page = await browser.submit(page, { user_code: code });
  assert.match(page.text, new RegExp(code)); // to compare with
  page = await browser.submit(page, abort ? { abort: 'yes' } : {});
  if (abort) return page;
  page = await browser.submit(page, { prompt: 'login', login: 'johndoe', password: 'any' });
  page = await browser.submit(page, { prompt: 'consent' });
  assert.match(page.text, /Sign-in Success|signed in|continue/i);
  return page;
}

test('a code is entered elsewhere, and the token is the administrator', { timeout: 240000 }, async () => {
  lifetime = 600;
  interjections.push('authorization_pending', 'slow_down', 'unavailable');
  const one = login();
  const code = await one.code();
  assert.match(one.text, new RegExp(`^ {4}${server.issuer}/device$`, 'm'));
  assert.match(one.text, /good for 10 minutes/);
  await enter(code);
  assert.equal(await one.ended, 0, one.text);
  // 5 s, 5 s, then 10 s (slow_down), then twice as long while it is out of reach.
  const waits = polls.slice(1).map((at, i) => at - polls[i]);
  assert.equal(waits.length, 3);
  for (const [i, least] of [5, 10, 20].entries()) assert.ok(waits[i] > least * 1000 - 200, `${waits}`);
  assert.match(one.text, /answered 503: unavailable/);
  assert.equal(statSync(one.file).mode & 0o777, 0o600);
  const token = readFileSync(one.file, 'utf8').trim();
  world.secrets.push(token.split('.')[2]);
  const as = (...args) => spawnSync(process.env.BAILIFF, ['-C', world.state, ...args, '--token-file', one.file], { encoding: 'utf8' });
  await until(() => as('team', 'list').status === 0, () => as('team', 'list').stderr);
  assert.match(as('team', 'add', 'x').stderr, /the role "operator" may not/);
});

test('refused in the browser', { timeout: 60000 }, async () => {
  const one = login();
  await enter(await one.code(), true);
  assert.equal(await one.ended, 1);
  assert.match(one.text, /refused.*access_denied/);
  assert.ok(!existsSync(one.file));
});

test('too late, by the provider and by the clock here', { timeout: 60000 }, async () => {
  lifetime = 600;
  interjections.push('expired_token');
  const told = login();
  lifetime = 600;
  assert.equal(await told.ended, 1);
  assert.match(told.text, /the code has expired.*again for a new one/);
  lifetime = 4; // shorter than the first wait
  const one = login();
  assert.equal(await one.ended, 1);
  assert.match(one.text, /nobody entered the code in time/);
  assert.match(one.text, /good for [1-4] seconds/);
  assert.deepEqual(polls, []);
});

test('another error ends it with its name', { timeout: 60000 }, async () => {
  lifetime = 600;
  interjections.push('invalid_grant');
  const one = login();
  assert.equal(await one.ended, 1);
  assert.match(one.text, /token answered 400: invalid_grant/);
});

test('what a provider has not, and what is no provider of that name', { timeout: 60000 }, async () => {
  const none = login(plain.issuer);
  assert.equal(await none.ended, 1);
  assert.match(none.text, /no device_authorization_endpoint\); where a browser is, sign in without --device/);
  // Where the token cannot go is found out before anybody is asked to sign in.
  const away = spawnSync(process.env.BAILIFF, ['login', '--device', '--issuer', server.issuer, '--client-id', client,
    '--write-token', join(world.dir, 'nowhere', 'token')], { encoding: 'utf8' });
  assert.deepEqual([away.status, away.stdout], [1, '']);
  assert.match(away.stderr, /no file can be written at .*nowhere\/token: No such file/);
  const renamed = login(server.issuer.replace('localhost', '127.0.0.1'));
  assert.equal(await renamed.ended, 1);
  assert.match(renamed.text, /is the discovery of "http:\/\/localhost|refused/);
});
