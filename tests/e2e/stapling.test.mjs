// SPDX-License-Identifier: Apache-2.0
//
// OCSP responses that are stapled, on the callers' side and at the admin door,
// as openssl sees them; and those that are each wrong in one way, which are not.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, until } from './harness.mjs';
import { Authority } from './pki.mjs';

let world, door, authority, other, own, sibling, root;
const file = () => join(root, 'tls/own.ocsp');
const chain = () => join(root, 'tls/own.pem');

// What a responder says of a certificate: DER.
function respond(one, { by = authority, of = authority, signer = { pem: by.file, key: join(by.dir, 'ca.key') }, period = ['-ndays', '3'] } = {}) {
  const run = (...args) => execFileSync('openssl', ['ocsp', ...args], { cwd: of.dir, stdio: ['ignore', 'pipe', 'pipe'] });
  run('-issuer', of.file, '-cert', one.file, '-no_nonce', '-reqout', 'request.der');
  run('-index', 'index.txt', '-CA', of.file, '-rsigner', signer.pem, '-rkey', signer.key, '-reqin', 'request.der', '-respout', 'response.der', ...period);
  return readFileSync(join(of.dir, 'response.der'));
}
function put(bytes, path = file()) {
  writeFileSync(`${path}.new`, bytes);
  renameSync(`${path}.new`, path); // as whoever fetches them should
}
function shown(port, ...more) {
  const { stdout } = spawnSync('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-status', '-CAfile', authority.file, '-verify_return_error', ...more],
    { encoding: 'utf8', input: '' });
  assert.match(stdout, /Verify return code: 0 \(ok\)/, stdout);
  return stdout;
}
const isStapled = (text) => /OCSP Response Status: successful.*Cert Status: good/s.test(text);
const isNot = (text) => /OCSP response: no response sent/.test(text);
const said = () => [...world.server.log.matchAll(/ocsp_(?:not_)?stapled.*/g)].map((match) => match[0]);
// The file becomes `bytes`, and the server says so.
async function becomes(bytes, pattern) {
  const count = said().length;
  if (bytes === null) rmSync(file()); else put(bytes);
  await until(() => said().slice(count).some((line) => pattern.test(line)), () => `${pattern} in ${said().slice(count)}`, 20000);
}

before(async () => {
  world = await World.make({ settings: 'admin_listen = "127.0.0.1:0";\ncertificate = "tls/own.pem";\ncertificate_key = "tls/own.key";\n' +
    'certificate_ocsp = "tls/own.ocsp";\nadmin_certificate = "tls/own.pem";\nadmin_key = "tls/own.key";\nadmin_ocsp = "tls/door.ocsp";\n', prepare(state) {
    root = state;
    authority = new Authority(join(state, '..'), 'web');
    other = new Authority(join(state, '..'), 'elsewhere');
    own = authority.issue({ subject: '/CN=bailiff', san: 'IP.1 = 127.0.0.1', usage: 'serverAuth' });
    sibling = authority.issue({ subject: '/CN=sibling', san: 'IP.1 = 127.0.0.1', usage: 'serverAuth' });
    writeFileSync(chain(), own.pem + authority.pem);
    writeFileSync(join(state, 'tls/own.key'), own.key, { mode: 0o600 });
    put(respond(own));
    put(respond(own), join(state, 'tls/door.ocsp'));
  } });
  world.ca = authority.pem;
  door = Number(world.server.log.match(/admin_door address=127\.0\.0\.1:(\d+)/)[1]);
});
after(async () => { await world.end(); });

test('it is stapled for callers and administrators, in TLS 1.2 and 1.3', async () => {
  assert.match(said()[0], /^ocsp_stapled until=\d{4}-/);
  for (const port of [world.port, door])
    for (const version of ['-tls1_2', '-tls1_3']) {
      const text = shown(port, version);
      assert.ok(isStapled(text), text);
    }
  // Who does not ask gets none, and clients that know nothing of it go on.
  assert.equal((await world.request('GET', '/v1/models')).status, 401);
  assert.ok(!world.json('status').warnings.some((one) => /OCSP/.test(one)));
});

test('where client certificates are asked for, too', () => {
  world.cli('certificate-mode', 'set', '*', 'optional');
  assert.ok(isStapled(shown(world.port)));
  world.cli('certificate-mode', 'set', '*', 'off');
});

test('what is wrong with a response keeps it from being stapled, and is said', { timeout: 240000 }, async () => {
  const good = respond(own);
  const plain = authority.issue({ subject: '/CN=no responder', usage: 'serverAuth' }), delegate = authority.issue({ subject: '/CN=responder', usage: 'OCSPSigning' });
  const foreign = other.issue({ subject: '/CN=their responder', usage: 'OCSPSigning' });
  const signer = (one) => {
    writeFileSync(`${one.file}.key`, one.key);
    return { pem: one.file, key: `${one.file}.key` };
  };
  const bent = Buffer.from(good);
  bent[bent.length - good.length / 2 | 0] ^= 1;
  const wrong = {
    'another certificate of the same authority': [respond(sibling), /about another certificate/],
    'signed by another authority': [respond(own, { by: other }), /not signed by the certificate's issuer/],
    'signed by a certificate that is no responder': [respond(own, { signer: signer(plain) }), /not signed by the certificate's issuer, nor by a responder/],
    "signed by another authority's responder": [respond(own, { signer: signer(foreign) }), /not signed by/],
    'one byte is another': [bent, /not signed by|no OCSP response|another certificate|of no kind/],
    'half of it': [good.subarray(0, good.length >> 1), /no OCSP response in DER/],
    'more than it': [Buffer.concat([good, Buffer.from('x')]), /no OCSP response in DER/],
    'nothing': [Buffer.alloc(0), /no OCSP response in DER/],
    'a PEM': [Buffer.from(own.pem), /no OCSP response in DER/],
    'an error of the responder': [Buffer.from('30030a0106', 'hex'), /its responder gave none: unauthorized/],
    'without an end': [respond(own, { period: [] }), /from when until when/],
    'too large': [Buffer.alloc(70000, 0x30), /own\.ocsp/],
    'no file': [null, /own\.ocsp.*No such file|own\.ocsp/],
  };
  for (const [what, [bytes, why]] of Object.entries(wrong)) {
    await becomes(bytes, new RegExp(`ocsp_not_stapled.*(?:${why.source})`));
    const text = shown(world.port);
    assert.ok(isNot(text), `${what}: ${text}`);
    assert.ok(world.json('status').warnings.some((one) => /no OCSP response is stapled: .*own\.ocsp/.test(one) && why.test(one)), what);
    assert.match(spawnSync(process.env.BAILIFF, ['check', world.state], { encoding: 'utf8' }).stdout, /no OCSP response is stapled(?![^]*no OCSP response is stapled)/); // once
    assert.ok(isStapled(shown(door)), 'the other one stands');
  }
  await becomes(respond(own, { signer: signer(delegate) }), /ocsp_stapled until/);
  assert.ok(isStapled(shown(world.port)), 'a delegated responder');
});

test('one that ends is stapled no more', { timeout: 240000 }, async () => {
  await becomes(respond(own, { period: ['-nmin', '1'] }), /ocsp_stapled until/);
  assert.ok(isStapled(shown(world.port)));
  await until(() => /ocsp_not_stapled.*it ended at/.test(said().at(-1)), 'the end', 100000);
  assert.ok(isNot(shown(world.port)));
  assert.ok(world.json('status').warnings.some((one) => /it ended at .*fetch a new one/.test(one)));
  // The same file at a new start: it was over before.
  world.server.kill('SIGHUP');
  await until(() => world.server.log.includes('reloaded'), 'the reload');
  assert.match(said().filter((line) => /own\.ocsp/.test(line)).at(-1), /it ended at/);
  assert.ok(isNot(shown(world.port)));
  await becomes(respond(own), /ocsp_stapled until/);
  assert.ok(isStapled(shown(world.port)));
});

test('revoked, or without the issuer in the chain', { timeout: 120000 }, async () => {
  const good = respond(own);
  authority.revoke(own);
  await becomes(respond(own), /ocsp_not_stapled.*has been REVOKED/);
  assert.ok(isNot(shown(world.port)));
  await becomes(good, /ocsp_stapled until/);
  writeFileSync(chain(), own.pem);
  const count = said().length;
  world.server.kill('SIGHUP');
  await until(() => said().slice(count).some((line) => /issuer is not in the server's chain; append/.test(line)), () => `${said().slice(count)}`);
  assert.ok(isNot(shown(world.port)));
});
