// SPDX-License-Identifier: Apache-2.0
//
// The admin API over TLS (admin_listen): who is let in, what a head may look
// like, how many may come from one place, a new certificate, and the commands
// from elsewhere.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, until } from './harness.mjs';
import { Authority } from './pki.mjs';

let world, port, token, tokenFile, caFile;
before(async () => {
  world = await World.make({ settings: 'admin_listen = "127.0.0.1:0";\nadmin_certificate = "tls/admin.pem";\n' +
    'admin_key = "tls/admin.key";\nrefusals_per_minute = 100000;\nhead_timeout_ms = 5000;\nbody_timeout_ms = 2000;\n', prepare(state) {
    for (const kind of ['pem', 'key']) copyFileSync(join(state, `tls/server.${kind}`), join(state, `tls/admin.${kind}`));
  } });
  port = Number(world.server.log.match(/admin_door address=127\.0\.0\.1:(\d+)/)[1]);
  token = world.json('admin', 'add', 'ada', '--role', 'admin').secret;
  world.keys.push(token);
  tokenFile = join(world.dir, 'token');
  writeFileSync(tokenFile, `${token}\n`, { mode: 0o600 });
  caFile = join(world.state, 'tls/ca.pem');
});
after(async () => {
  const idle = await connect(); // nobody's silence holds a stop up
  await world.end();
  idle.destroy();
  if (!world.entries) return;
  const refused = world.entries.find((one) => one.type === 'admin.refused' && /no credential|unknown token/.test(JSON.stringify(one)));
  assert.match(JSON.stringify(refused), /"from":\s*"127\.0\.0\.1"/);
});

function send(method, path, { bearer, body, headers = {}, ca = world.ca } = {}) {
  return new Promise((done, fail) => {
    const text = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const request = https.request({ host: '127.0.0.1', port, method, path, ca, agent: false,
      headers: { ...(bearer ? { authorization: `Bearer ${bearer}` } : {}), ...headers,
        ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }) } }, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('end', () => done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(pieces).toString() }));
      answer.on('error', fail);
    });
    request.on('error', fail);
    request.end(text);
  });
}
function connect() {
  return new Promise((done, fail) => {
    const socket = tls.connect({ host: '127.0.0.1', port, ca: world.ca }, () => done(socket));
    socket.on('error', fail);
  });
}
// All that comes for these bytes, until the server ends it.
async function raw(...pieces) {
  const socket = await connect();
  let text = '';
  socket.removeAllListeners('error');
  socket.on('error', () => {});
  socket.on('data', (data) => { text += data.toString('latin1'); });
  const closed = new Promise((done) => { socket.on('close', done); });
  for (const piece of pieces) socket.write(piece, 'latin1');
  await closed;
  return text;
}
const answers = (text) => [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map((match) => Number(match[1]));
const auth = () => `Host: a\r\nAuthorization: Bearer ${token}\r\n`;
const teams = () => world.json('team', 'list').items.map((one) => one.name);

test('a token is asked for, and nothing else is believed', async () => {
  assert.equal((await send('GET', '/v1/teams', { bearer: token })).status, 200);
  const none = await send('GET', '/v1/teams');
  assert.equal(none.status, 401);
  assert.match(none.body, /Over the network an administrator's token/);
  assert.equal(none.headers['www-authenticate'], 'Bearer');
  assert.equal((await send('GET', '/v1/teams', { bearer: `bla_${'A'.repeat(39)}` })).status, 401);
  assert.equal((await send('GET', '/v1/teams', { bearer: `${token.slice(0, -1)}${token.endsWith('a') ? 'b' : 'a'}` })).status, 401);
  assert.equal((await send('GET', '/v1/teams', { headers: { authorization: `Basic ${token}` } })).status, 401);
  assert.equal((await send('POST', '/v1/teams', { body: { name: 'uninvited' } })).status, 401);
  assert.ok(!teams().includes('uninvited'));
});

test('health and figures are not for strangers', async () => {
  for (const path of ['/healthz', '/readyz', '/metrics'])
    assert.equal((await send('GET', path)).status, 404, path);
});

test('without TLS nobody answers', async () => {
  const socket = net.connect({ host: '127.0.0.1', port });
  let text = '';
  socket.on('data', (data) => { text += data.toString('latin1'); });
  socket.on('error', () => {});
  const closed = new Promise((done) => { socket.on('close', done); });
  socket.write(`GET /v1/teams HTTP/1.1\r\n${auth()}\r\n`);
  await closed;
  assert.doesNotMatch(text, /HTTP/);
});

test('heads that could be read in two ways are refused, once and for all', async () => {
  const body = '{"name":"smuggled"}', hidden = `POST /v1/teams HTTP/1.1\r\n${auth()}Content-Length: ${body.length}\r\n\r\n${body}`;
  const post = `POST /v1/teams HTTP/1.1\r\n${auth()}`;
  const cases = {
    'both framings': [`${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`, 400],
    'two lengths': [`${post}Content-Length: 0\r\nContent-Length: 5\r\n\r\n${hidden}`, 400],
    'a list of lengths': [`${post}Content-Length: 0, 5\r\n\r\n${hidden}`, 400],
    'a signed length': [`${post}Content-Length: +0\r\n\r\n${hidden}`, 400],
    'a space before the colon': [`${post}Content-Length : 0\r\n\r\n${hidden}`, 400],
    'a folded line': [`${post}X: a\r\n Content-Length: 0\r\n\r\n${hidden}`, 400],
    'bare line feeds': [`GET /v1/teams HTTP/1.1\nHost: a\nAuthorization: Bearer ${token}\n\n${hidden}`, 400],
    'a bare carriage return': [`GET /v1/teams HTTP/1.1\r\nHost: a\rX: b\r\n\r\n${hidden}`, 400],
    'a NUL': [`GET /v1/teams HTTP/1.1\r\n${auth()}X: a\0b\r\n\r\n`, 400],
    'no host': [`GET /v1/teams HTTP/1.1\r\nAuthorization: Bearer ${token}\r\n\r\n`, 400],
    'two hosts': [`GET /v1/teams HTTP/1.1\r\n${auth()}Host: b\r\n\r\n`, 400],
    'a chunked body': [`${post}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`, 411],
    'a masked coding': [`${post}Transfer-Encoding: xchunked\r\n\r\n${hidden}`, 501],
    'a long head': [`GET /v1/teams HTTP/1.1\r\n${auth()}X: ${'a'.repeat(20000)}\r\n\r\n`, 431],
    'half a head': [`GET /v1/teams HTTP/1.1\r\nHost: a\r\n`, 408],
  };
  const before = teams();
  for (const [what, [bytes, status]] of Object.entries(cases)) {
    const got = answers(await raw(bytes));
    assert.equal(got.length, 1, `${what}: ${got}`);
    assert.ok(got[0] === status || (status === 501 && got[0] === 400), `${what}: ${got}`);
  }
  // What is behind a whole request is none, with and without a body.
  const first = '{"name":"first"}';
  assert.deepEqual(answers(await raw(`GET /v1/teams HTTP/1.1\r\n${auth()}\r\n${hidden}`)), [200]);
  assert.deepEqual(answers(await raw(`${post}Content-Length: ${first.length}\r\n\r\n${first}${hidden}`)), [201]);
  assert.deepEqual(teams().filter((one) => !before.includes(one)), ['first']);
});

test('bodies in pieces, too large ones and ones that do not come', async () => {
  const body = '{"name":"pieces"}';
  assert.deepEqual(answers(await raw(`POST /v1/teams HTTP/1.1\r\n`, `${auth()}Content-Length: ${body.length}\r\n\r\n`,
    body.slice(0, 5), body.slice(5))), [201]);
  assert.ok(teams().includes('pieces'));
  assert.equal((await send('POST', '/v1/teams', { bearer: token, body: Buffer.alloc(5 << 20, 0x20) })).status, 413);
  // Half a body is none, and its connection does not stay.
  await raw(`POST /v1/teams HTTP/1.1\r\n${auth()}Content-Length: 100\r\n\r\n{"name":"half"}`);
  assert.ok(!teams().includes('half'));
  const page = await send('GET', '/v1/openapi.yaml', { bearer: token });
  assert.equal(page.status, 200);
  assert.equal(page.body, readFileSync(new URL('../../schema/openapi.yaml', import.meta.url), 'utf8'));
});

test('one address has so many connections, and others go on', async () => {
  const held = [];
  while (held.length < 8) { // (those of the tests before may still be ending)
    try { held.push(await connect()); } catch { await new Promise((done) => { setTimeout(done, 20); }); }
  }
  await assert.rejects(connect());
  assert.ok(world.json('team', 'list').items.length > 0, 'the Unix socket answers');
  for (const socket of held) socket.destroy();
  await until(async () => {
    try { return (await send('GET', '/v1/teams', { bearer: token })).status === 200; } catch { return false; }
  }, 'room again');
});

// A command from elsewhere.
function remote(args, env = {}) {
  const { status, stdout, stderr } = spawnSync(process.env.BAILIFF, args, { encoding: 'utf8',
    env: { PATH: process.env.PATH, BAILIFF_STATE: join(world.dir, 'nowhere'), BAILIFF_SERVER: `https://127.0.0.1:${port}`, BAILIFF_CA: caFile,
      BAILIFF_ADMIN_TOKEN: token, ...env } });
  return { status, out: stdout, err: stderr };
}
function stays(args, env, why, code = 1) {
  const { status, out, err } = remote(args, env);
  assert.match(err, why);
  assert.equal(status, code, out + err);
}

test('the commands work from elsewhere', () => {
  const bare = { BAILIFF_SERVER: '', BAILIFF_CA: '', BAILIFF_ADMIN_TOKEN: '' };
  const where = ['--server', `https://127.0.0.1:${port}/`, '--ca', caFile, '--token-file', tokenFile];
  let got = remote([...where, 'team', 'add', 'far', '--title', 'Far away'], bare);
  assert.equal(got.status, 0, got.err);
  got = remote(['team', 'list', ...where, '--json'], bare);
  assert.equal(got.status, 0, got.err);
  assert.ok(JSON.parse(got.out).items.some((one) => one.name === 'far'));
  assert.equal(remote(['status']).status, 0);
  assert.equal(remote(['policy', 'list']).status, 0);
  assert.match(remote(['audit', 'tail']).out, /far/);
});

test('and say what is wrong', () => {
  const list = ['team', 'list'];
  stays(list, { BAILIFF_CA: '' }, /certificate/i);
  stays(list, { BAILIFF_ADMIN_TOKEN: '' }, /asks for an administrator's token/);
  stays(list, { BAILIFF_ADMIN_TOKEN: 'bla_nonsense' }, /not known here/);
  stays(list, { BAILIFF_SERVER: `http://127.0.0.1:${port}` }, /must be https:/);
  stays(list, { BAILIFF_SERVER: `https://127.0.0.1:${port}/v1` }, /HOST:PORT, and nothing else/);
  stays([...list, '--server', `https://127.0.0.1:${port}`, '-C', world.state], {}, /which of them/, 2);
  stays(['audit', 'verify'], {}, /files of a state directory/, 2);
  stays(['backup', join(world.dir, 'copy'), '--keys', 'without'], {}, /files of a state directory/, 2);
  stays(['--server'], {}, /--server wants a value/, 2);
  // A directory named by hand is meant.
  const { status, err } = remote(['-C', world.state, ...list]);
  assert.equal(status, 0, err);
});

test('a new certificate comes with SIGHUP, a broken one does not', async () => {
  const shown = async () => {
    const socket = await new Promise((done, fail) => {
      const one = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => done(one));
      one.on('error', fail);
    });
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256;
  };
  const old = await shown();
  const authority = new Authority(world.dir, 'admins');
  const fresh = authority.issue({ subject: '/CN=admin', san: 'IP.1 = 127.0.0.1', usage: 'serverAuth' });
  const file = (kind) => join(world.state, `tls/admin.${kind}`);
  writeFileSync(file('pem'), fresh.cert);
  assert.throws(() => world.run('check', world.state), (error) => /admin\.(pem|key)/.test(error.stdout));
  const before = world.server.log.length;
  world.server.kill('SIGHUP');
  await until(() => world.server.log.slice(before).includes('reload_refused'), 'the refusal');
  assert.equal(await shown(), old);
  writeFileSync(file('key'), fresh.key);
  world.server.kill('SIGHUP');
  await until(() => world.server.log.slice(before).includes('reloaded'), 'the new one');
  assert.notEqual(await shown(), old);
  assert.equal((await send('GET', '/v1/teams', { bearer: token, ca: authority.pem })).status, 200);
  await assert.rejects(send('GET', '/v1/teams', { bearer: token }), /certificate/);
  // Callers see theirs as before.
  assert.equal((await world.request('GET', '/v1/models')).status, 401);
  world.ca = [world.ca, authority.pem];
});
