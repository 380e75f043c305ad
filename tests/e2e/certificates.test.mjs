// SPDX-License-Identifier: Apache-2.0
//
// Callers by client certificates: chains made here, each wrong in one way; what
// changes while connections live; and what goes on record. What is refused
// never reaches the engine.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import https from 'node:https';
import tls from 'node:tls';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdirSync, writeFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { OAuth2Server } from 'oauth2-mock-server';
import { World, messages, until } from './harness.mjs';
import { FakeEngine, endless } from './fake-engine.mjs';
import { Authority } from './pki.mjs';

let world, river, root, corp, spiffe, elsewhere, alice, svc, key;
const day = 24 * 3600 * 1000;
const stamp = (ms) => `${new Date(Date.now() + ms).toISOString().replace(/[-:T]|\.\d+/g, '')}`;

before(async () => {
  world = await World.make();
  const pki = join(world.dir, 'pki');
  mkdirSync(pki);
  root = new Authority(pki, 'root');
  corp = new Authority(pki, 'corp', { parent: root });
  spiffe = new Authority(pki, 'spiffe');
  elsewhere = new Authority(pki, 'elsewhere');
  river = await FakeEngine.make(endless);
  world.cli('engine', 'add', 'river', `http://127.0.0.1:${river.port}`, '--kind', 'openai');
  world.cli('model', 'add', 'river', '--engine', 'river', '--approve');
  for (const handle of ['corp:alice', 'corp:bob', 'mesh:web', 'night-run', 'corp:carl']) key = world.onboard(handle);
  world.cli('trust-domain', 'add', 'corp', '--ca', root.file);
  world.cli('trust-domain', 'add', 'mesh', '--ca', spiffe.file, '--spiffe', 'prod.example');
  world.cli('certificate-mapping', 'add', 'corp', 'email', '*@corp.example', '--prefix', 'corp:');
  world.cli('certificate-mapping', 'add', 'corp', 'dns', 'batch.corp.example', '--caller', 'night-run');
  world.cli('certificate-mapping', 'add', 'corp', 'CN', '*', '--prefix', 'corp:');
  world.cli('certificate-mapping', 'add', 'mesh', 'uri', 'spiffe://prod.example/ns/*', '--prefix', 'mesh:');
  world.cli('certificate-mode', 'set', '*', 'optional');
  alice = corp.issue({ subject: '/CN=Alice A', san: 'email.1 = alice@corp.example' });
  svc = spiffe.issue({ subject: '/CN=anything', san: 'URI.1 = spiffe://prod.example/ns/web' });
});
after(async () => {
  try { await world?.end(); } finally { await river?.end(); }
  const reasons = new Set(world.entries?.filter((one) => one.type === 'auth.failed').map((one) => one.reason));
  for (const reason of ['missing', 'expired', 'revoked', 'crl', 'unknown', 'usage', 'names', 'unmapped'])
    assert.ok(reasons.has(`certificate_${reason}`), `${reason} in ${[...reasons]}`);
});

// A request with a certificate. { status, body } or { alert }.
function call(who, { key: bearer, agent = false, version, body = {}, path = '/v1/chat/completions' } = {}) {
  return new Promise((resolve) => {
    const text = JSON.stringify({ model: 'tiny', messages, max_tokens: 4, ...body });
    const request = https.request({ host: '127.0.0.1', port: world.port, method: 'POST', path, ca: world.ca, agent,
      ...(who ? { cert: who.cert, key: who.key } : {}), ...(version ? { minVersion: version, maxVersion: version } : {}),
      headers: { ...(bearer ? { authorization: `Bearer ${bearer}` } : {}), 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } },
    (answer) => {
      let got = '';
      answer.on('data', (data) => { got += data; });
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: got, error: (() => { try { return JSON.parse(got).error; } catch { return null; } })() }));
      answer.on('error', (error) => resolve({ alert: error.message, status: 0 }));
    });
    request.on('error', (error) => resolve({ alert: `${error.code} ${error.message}`, status: 0 }));
    request.end(text);
  });
}
const untouched = (work) => world.untouched(work);

async function shut(who, pattern) {
  for (const version of ['TLSv1.3', 'TLSv1.2']) {
    const got = await untouched(() => call(who, { version }));
    assert.equal(got.status, 0, `${version}: ${got.body}`);
    assert.match(got.alert, pattern, version);
  }
}

test('a certificate is a caller: by address, by host name, by SPIFFE ID; on record without a name', async () => {
  for (const version of ['TLSv1.3', 'TLSv1.2']) {
    const got = await call(alice, { version });
    assert.equal(got.status, 200, got.body ?? got.alert);
  }
  const got = await call(svc);
  assert.equal(got.status, 200, got.body ?? got.alert);
  const shown = world.json('audit', 'show', got.headers['x-request-id']);
  const text = JSON.stringify(shown);
  assert.match(text, /"method":\s*"certificate"/);
  assert.match(text, /"trustDomain":\s*"mesh"/);
  assert.match(text, /spiffe:\/\/prod.example\/ns\/web/);
  const print = createHash('sha256').update(new X509Certificate(svc.pem).raw).digest('hex');
  assert.ok(text.includes(print));
  assert.equal((await call(corp.issue({ subject: '/O=Tests', san: ['DNS.1 = batch.corp.example'] }))).status, 200);
  world.secrets.push('alice@corp.example', 'Alice A');
});

test('without a certificate keys work as ever; with one the key says who calls', async () => {
  assert.equal((await world.chat(key)).status, 200);
  const got = await call(svc, { key });
  assert.equal(got.status, 200);
  const shown = JSON.stringify(world.json('audit', 'show', got.headers['x-request-id']));
  assert.match(shown, /"method":\s*"api_key"/);
  assert.match(shown, /"trustDomain":\s*"mesh"/);
  const bad = await untouched(() => call(svc, { key: `${key.slice(0, -1)}x` }));
  assert.equal(bad.status, 401, 'a wrong key is not mended by a certificate');
});

test('refused in the handshake, each for one reason, with its alert', async () => {
  const email = 'email.1 = alice@corp.example';
  await shut(corp.issue({ san: email, from: stamp(-9 * day), until: stamp(-2 * day) }), /certificate expired|alert number 45/i);
  await shut(corp.issue({ san: email, from: stamp(2 * day), until: stamp(9 * day) }), /certificate|alert number 4[25]/i);
  await shut(corp.issue({ san: email, usage: 'serverAuth' }), /unsupported certificate|alert number 43/i);
  await shut(corp.issue({ san: email, authority: true }), /unsupported certificate|alert number 43|certificate/i);
  await shut(corp.issue({ san: email, bits: 1024 }), /alert/i);
  await shut(elsewhere.issue({ san: email }), /unknown ca|alert number 48/i);
  // The intermediate was not sent along.
  const alone = corp.issue({ san: email });
  await shut({ key: alone.key, cert: alone.pem }, /unknown ca|alert number 48/i);
  // A name with a NUL is no name.
  await shut(corp.issue({ san: ['email.1 = a b@corp.example'] }), /alert/i);
});

test('a trust domain speaks for itself alone', async () => {
  // The corporate authority can not make identities of the mesh, nor the
  // mesh's anything but its own.
  await shut(corp.issue({ san: 'URI.1 = spiffe://prod.example/ns/web' }), /unknown ca|alert number 48/i);
  await shut(spiffe.issue({ san: 'email.1 = alice@corp.example' }), /alert/i);
  await shut(spiffe.issue({ san: 'URI.1 = spiffe://other.example/ns/web' }), /alert/i);
  await shut(spiffe.issue({ san: ['URI.1 = spiffe://prod.example/ns/web', 'URI.2 = spiffe://prod.example/ns/batch'] }), /alert/i);
  for (const bad of ['spiffe://prod.example/', 'spiffe://prod.example/ns/../web', 'spiffe://PROD.example/ns/web', 'spiffe://prod.example/ns/web?x=1',
    'spiffe://prod.example:443/ns/web', 'spiffe://u@prod.example/ns/web', 'spiffe://prod.example/ns//web', 'spiffe://prod.example/ns/%77eb', 'https://prod.example/ns/web'])
    await shut(spiffe.issue({ san: `URI.1 = ${bad}` }), /alert/i);
});

test('good, and nobody\'s: 401 that says so; so for two callers at once', async () => {
  for (const options of [{ subject: '/O=Tests' }, { subject: '/O=Tests', san: 'email.1 = mallory@corp.example' },
    { subject: '/O=Tests', san: 'email.1 = alice@corp.example.evil.example' }, { subject: '/O=Tests', san: 'DNS.1 = *.corp.example' },
    { subject: '/O=Tests', san: ['email.1 = alice@corp.example', 'DNS.1 = batch.corp.example'] },
    { subject: '/CN=alice/CN=bob' }]) {
    const got = await untouched(() => call(corp.issue(options)));
    assert.equal(got.status, 401, `${JSON.stringify(options)}: ${got.alert}`);
    assert.equal(got.error.code, 'invalid_certificate');
    assert.match(got.error.message, /No mapping/);
  }
  assert.equal((await call(corp.issue({ subject: '/CN=alice' }))).status, 200);
  // An id is not a certificate's to give.
  const id = world.json('caller', 'list').items.find((one) => one.handle === 'mesh:web').id;
  assert.equal((await untouched(() => call(spiffe.issue({ san: `URI.1 = spiffe://prod.example/ns/${id}` })))).status, 401);
});

test('required: nobody gets through without; live on open connections; and back', async () => {
  const line = await world.open();
  world.cli('certificate-mode', 'set', '127.0.0.1:0', 'required');
  assert.equal((await call(alice)).status, 200);
  for (const version of ['TLSv1.3', 'TLSv1.2'])
    assert.match((await untouched(() => call(null, { key, version }))).alert, /certificate required|handshake failure|alert number (116|40)/i);
  await untouched(async () => {
    line.post(key, {});
    await line.sees(/HTTP\/1.1 401 /);
    await line.ends();
  });
  world.cli('certificate-mode', 'set', '127.0.0.1:0', 'off');
  assert.equal((await call(null, { key })).status, 200);
  const got = await untouched(() => call(alice));
  assert.equal(got.status, 401, 'no certificate is asked for');
  world.cli('certificate-mode', 'set', '127.0.0.1:0', 'optional');
});

test('no session is resumed where certificates are asked for', async () => {
  for (const version of ['TLSv1.3', 'TLSv1.2']) {
    const options = { host: '127.0.0.1', port: world.port, ca: world.ca, cert: alice.cert, key: alice.key, minVersion: version, maxVersion: version, ALPNProtocols: ['http/1.1'] };
    const first = tls.connect(options);
    let session = null;
    first.on('session', (one) => { session = one; });
    first.on('data', () => {});
    await new Promise((resolve) => { first.once('secureConnect', resolve); });
    session ??= first.getSession();
    first.write('GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => first.bytesRead > 200, 'an answer');
    first.destroy();
    const second = tls.connect({ ...options, session });
    second.on('data', () => {});
    await new Promise((resolve, reject) => { second.once('secureConnect', resolve); second.once('error', reject); });
    assert.equal(second.isSessionReused(), false, version);
    second.destroy();
  }
});

async function stream(who) {
  const socket = tls.connect({ host: '127.0.0.1', port: world.port, ca: world.ca, cert: who.cert, key: who.key, ALPNProtocols: ['http/1.1'] });
  const line = { socket, text: '' };
  socket.on('data', (data) => { line.text += data; });
  socket.on('error', () => {});
  socket.on('close', () => { line.ended = true; });
  await new Promise((resolve, reject) => { socket.once('secureConnect', resolve); socket.once('error', reject); });
  line.post = (body) => {
    const text = JSON.stringify({ messages, model: 'river', stream: true, max_tokens: 4000, ...body });
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  };
  line.sees = (pattern) => until(() => pattern.test(line.text), () => `${pattern} in ${line.text.slice(-300)}`);
  return line;
}

test('what was good is judged anew: a mapping, a caller, a trust domain that went; streams are cut', async () => {
  const changes = [
    () => world.cli('certificate-mapping', 'remove', world.json('certificate-mapping', 'list').items.find((one) => one.field === 'email').id),
    () => world.cli('certificate-mapping', 'add', 'corp', 'email', '*@corp.example', '--prefix', 'corp:'),
    () => world.cli('caller', 'disable', 'corp:alice'),
    () => world.cli('caller', 'enable', 'corp:alice'),
    () => world.cli('trust-domain', 'update', 'corp', '--ca', elsewhere.file),
    () => world.cli('trust-domain', 'update', 'corp', '--ca', root.file),
  ];
  for (let i = 0; i < changes.length; i += 2) {
    const running = await stream(alice), idle = await stream(alice);
    running.post({});
    await running.sees(/data: [^]*data: /);
    changes[i]();
    await running.sees(/\r\n0\r\n\r\n$/);
    assert.match(running.text, /revoked/);
    idle.post({ model: 'tiny', stream: false, max_tokens: 4 });
    await idle.sees(/HTTP\/1.1 401 /);
    changes[i + 1]();
    for (const one of [running, idle]) one.socket.destroy();
    assert.equal((await call(alice)).status, 200, `after change ${i}`);
  }
});

test('revocation lists: revoked, out of force, unreadable; each certificate needs one', async () => {
  const file = join(world.dir, 'corp.crl'), bob = corp.issue({ san: 'email.1 = bob@corp.example' });
  const publish = (text) => { writeFileSync(`${file}.new`, text); renameSync(`${file}.new`, file); };
  const reload = async () => {
    const count = () => world.server.log.split(' reloaded ').length, was = count();
    world.server.kill('SIGHUP');
    await until(() => count() > was, 'the reload');
  };
  publish(corp.list());
  world.cli('trust-domain', 'update', 'corp', '--crl-file', file);
  assert.equal((await call(bob)).status, 200);
  assert.equal((await call(alice)).status, 200);
  corp.revoke(bob);
  publish(corp.list());
  await reload();
  await shut(bob, /revoked|alert number 44/i);
  assert.equal((await call(alice)).status, 200);
  // A list of another authority is none; one that is over is none.
  for (const text of [elsewhere.list(), corp.list(['-crlsec', '1']), 'nonsense']) {
    publish(text);
    await reload();
    let got;
    await until(async () => (got = await call(alice)).status === 0, 'the other list');
    assert.match(got.alert, /alert/i);
  }
  assert.match(JSON.stringify(world.json('trust-domain', 'list')), /"problem"/);
  assert.throws(() => world.cli('trust-domain', 'update', 'corp', '--crl-file', file), /revocation list/);
  world.cli('trust-domain', 'update', 'corp', '--crl-file', '');
  assert.equal((await call(bob)).status, 200);
});

test('a token that is bound to a certificate is good with that one alone', async () => {
  const provider = new OAuth2Server();
  await provider.issuer.keys.generate('ES256');
  await provider.start(0, 'localhost');
  try {
    world.cli('issuer', 'add', 'idp', provider.issuer.url, '--audience', 'bailiff', '--prefix', 'corp:');
    const print = createHash('sha256').update(new X509Certificate(alice.pem).raw).digest('base64url');
    const text = await provider.issuer.buildToken({ expiresIn: 600, scopesOrTransform: (header, payload) => {
      Object.assign(payload, { aud: 'bailiff', sub: 'carl', cnf: { 'x5t#S256': print } });
    } });
    world.secrets.push(text.split('.')[2]);
    await until(async () => (await call(alice, { key: text })).status === 200, 'the keys');
    // It is in the cache by now.
    for (const who of [svc, null, corp.issue({ san: 'email.1 = alice@corp.example' })]) {
      for (let i = 0; i < 4; i++) { // on every worker
        const got = await untouched(() => call(who, { key: text }));
        assert.equal(got.status, 401);
        assert.match(got.error.message, who ? /certificate_mismatch/ : /certificate_missing/);
      }
    }
    assert.equal((await call(alice, { key: text })).status, 200);
  } finally { await provider.stop(); }
});

test('rules may ask for the certificate', async () => {
  const file = join(world.dir, 'certificate.cedar');
  writeFileSync(file, `
@id("infer") @title("the mesh may") permit (principal, action in Action::"infer", resource)
when { context has certificate && context.certificate.trustDomain == "mesh" && context.certificate has uri &&
  context.certificate.uri like "spiffe://prod.example/*" };
`);
  world.cli('policy', 'put', file, '--activate');
  assert.equal((await call(svc)).status, 200);
  assert.equal((await call(svc, { key })).status, 200);
  for (const got of [await untouched(() => call(alice)), await untouched(() => call(null, { key }))]) assert.equal(got.status, 403);
});

test('what makes no sense is refused with a reason', () => {
  const fails = (pattern, ...args) => assert.throws(() => world.cli(...args), (error) => pattern.test(error.stderr), `${args}`);
  fails(/names a person/, 'certificate-mapping', 'add', 'corp', 'email', 'x@corp.example', '--caller', 'mesh:web');
  fails(/at most one/, 'certificate-mapping', 'add', 'corp', 'uri', 'a*b*');
  fails(/same caller/, 'certificate-mapping', 'add', 'corp', 'OU', 'x*', '--caller', 'mesh:web');
  fails(/already/, 'certificate-mapping', 'add', 'corp', 'CN', '*');
  fails(/no trust domain/, 'certificate-mapping', 'add', 'nowhere', 'CN', '*');
  fails(/already/, 'trust-domain', 'add', 'again', '--ca', root.file);
  fails(/private key/, 'trust-domain', 'add', 'again', '--ca', (() => { const f = join(world.dir, 'both.pem'); writeFileSync(f, alice.key + root.pem); return f; })());
  fails(/no authority/, 'trust-domain', 'add', 'again', '--ca', alice.file);
  fails(/lower-case/, 'trust-domain', 'add', 'again', '--ca', elsewhere.file, '--spiffe', 'spiffe://x');
  fails(/listener/, 'certificate-mode', 'set', 'localhost', 'off');
  world.cli('trust-domain', 'remove', 'corp');
  world.cli('trust-domain', 'remove', 'mesh');
  fails(/nobody could connect/, 'certificate-mode', 'set', '*', 'required');
  assert.deepEqual(world.json('certificate-mapping', 'list').items, []);
});
