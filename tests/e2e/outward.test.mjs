// SPDX-License-Identifier: Apache-2.0
//
// The log as others take it in: OCSF events, live delivery, the
// files of the log for any tlog-tiles client; its signing key elsewhere.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { dirname, join } from 'node:path';
import { World, until } from './harness.mjs';
import { checkOcsf } from './ocsf.mjs';

let world, alice, ivy, answered, denied;
const program = process.env.BAILIFF;

function attempt(args, env = {}) {
  const done = spawnSync(program, ['-C', world.state, ...args], { encoding: 'utf8', env: { ...process.env, ...env } });
  return { code: done.status, text: done.stdout + done.stderr, out: done.stdout };
}

before(async () => {
  world = await World.make();
  alice = world.onboard('alice');
  ivy = world.onboard('ivy', 'interns');
  answered = (await world.chat(alice)).headers['x-request-id'];
  denied = (await world.chat(ivy, { model: 'big' })).headers['x-request-id'];
  await world.record(answered);
});
after(() => world.end());

const events = (text) => text.trim().split('\n').map((line) => checkOcsf(JSON.parse(line)));

test('OCSF: an event for every entry, with the members the class requires', () => {
  const file = join(world.dir, 'all.ocsf');
  assert.match(world.cli('audit', 'export', file, '--format', 'ocsf'), /^\d+ events in /);
  const all = events(readFileSync(file, 'utf8'));
  assert.deepEqual(all.map((event) => event.metadata.sequence), all.map((event, index) => index));
  assert.equal(new Set(all.map((event) => event.metadata.uid)).size, all.length);
  const end = all.find((event) => event.metadata.correlation_uid === answered &&
    event.metadata.event_code === 'request.completed');
  assert.equal(end.status_id, 1);
  assert.equal(end.ai_model.name, 'tiny');
  assert.equal(end.ai_model.ai_provider, 'local');
  assert.match(end.actor.user.uid, /^cal_/);
  assert.equal(end.message_context.completion_tokens, 4);
  assert.equal(end.message_context.total_tokens, end.message_context.prompt_tokens + 4);
  assert.equal(end.http_response.code, 200);
  assert.ok(all.some((event) => event.metadata.event_code === 'admin.caller.added' && event.activity_id === 1));
  const refused = attempt(['audit', 'export', file, '--format', 'ocsf']);
  assert.equal(refused.code, 1, 'a file that is there is not written over');
});

test('OCSF: the filters of every export, to standard output', () => {
  const of = events(world.cli('audit', 'export', '-', '--format', 'ocsf', '--decision', 'deny'));
  assert.equal(of.length, 1);
  assert.equal(of[0].metadata.correlation_uid, denied);
  assert.equal(of[0].status_id, 2);
  assert.equal(of[0].api.response.code, 403);
  assert.equal(of[0].unmapped.decision, 'deny');
  const one = events(world.cli('audit', 'export', '-', '--format', 'ocsf', '--id', answered));
  assert.deepEqual(one.map((event) => event.metadata.event_code), ['request.admitted', 'request.completed']);
  const wrong = attempt(['audit', 'export', '-', '--format', 'xml']);
  assert.equal(wrong.code, 2);
  assert.match(wrong.text, /jsonl, csv or ocsf/);
});

// --- Live delivery -----------------------------------------------------------

const receivers = new Set();
after(() => { for (const one of receivers) one.kill('SIGKILL'); });

async function receiver(kind, file, port = 0) {
  const child = spawn(process.execPath, [new URL('receiver.mjs', import.meta.url).pathname, kind, port, file,
    join(world.state, 'tls/server.pem'), join(world.state, 'tls/server.key')], { stdio: ['ignore', 'pipe', 'inherit'] });
  receivers.add(child);
  child.port = await new Promise((done, fail) => {
    child.stdout.once('data', (data) => done(Number(String(data).match(/ready (\d+)/)[1])));
    child.once('exit', () => fail(new Error('the receiver ended')));
  });
  child.gone = new Promise((done) => { child.once('exit', done); });
  return child;
}

// Indexes in the order of their first arrival.
function arrived(file, indexOf) {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  return [...new Set(lines.map(indexOf))];
}
const sinkOf = (name) => world.json('status').server.sinks.find((one) => one.name === name);
const entries = () => world.json('status').server.log.entries;

test('syslog over TLS: a receiver that stalls, is killed and comes back misses nothing', async () => {
  const file = join(world.dir, 'syslog');
  let siem = await receiver('syslog-tls', file);
  const url = `tls://127.0.0.1:${siem.port}`;
  world.cli('sink', 'add', 'siem', 'syslog', url, '--ca-file', join(world.state, 'tls/ca.pem'), '--from', 'start');
  const indexOf = (line) => Number(line.match(/,"index":(\d+)}$/)[1]);
  await world.chat(alice);
  const first = entries();
  await until(() => arrived(file, indexOf).length >= first, 'the first entries at the receiver');
  assert.match(readFileSync(file, 'utf8'), /^<110>1 20\d\d-\d\d-\d\dT[\d:.]+Z \S+ bailiff - [\w.]+ \[meta sequenceId="1"\]\[origin software="bailiff" swVersion="[^"]+"\] \{"entry":\{/);
  // What it has accepted and not read goes with it.
  siem.kill('SIGSTOP');
  for (let i = 0; i < 5; i++) assert.equal((await world.chat(alice)).status, 200);
  await until(() => sinkOf('siem').sent >= entries() - 1, 'entries sent to a receiver that stands still');
  siem.kill('SIGKILL');
  await siem.gone;
  await world.chat(alice);
  await until(() => sinkOf('siem').failing, 'the failure');
  assert.match(sinkOf('siem').why, /127\.0\.0\.1/);
  assert.equal((await world.chat(alice)).status, 200, 'the log goes on');
  siem = await receiver('syslog-tls', file, siem.port);
  const all = entries();
  await until(() => arrived(file, indexOf).length >= all, () => `${arrived(file, indexOf).length} of ${all} entries`);
  const got = arrived(file, indexOf);
  assert.deepEqual(got, got.map((index, i) => i), 'every entry, in order');
  await until(() => !sinkOf('siem').failing && sinkOf('siem').position >= all, 'the position', 15000);
  const told = world.json('audit', 'query', '--type', 'audit.sink', '--order', 'oldest').rows.map((row) => row.type);
  assert.deepEqual(told, ['audit.sink.failed', 'audit.sink.recovered']);
  assert.match(world.cli('audit', 'tail', '--entries', '100'), /Bailiff found that the sink siem takes the log again/);
  world.cli('sink', 'remove', 'siem');
  siem.kill('SIGKILL');
});

test('HTTPS: batches of OCSF events, refused for a while; a try', async () => {
  const file = join(world.dir, 'https');
  writeFileSync(`${file}.status`, '503');
  const lake = await receiver('https', file);
  const credential = join(world.dir, 'credential');
  writeFileSync(credential, 'a-secret-of-the-lake\n');
  world.secrets.push('a-secret-of-the-lake');
  const first = entries();
  world.cli('sink', 'add', 'lake', 'https', `https://127.0.0.1:${lake.port}/in?source=bailiff`, '--format', 'ocsf',
    '--ca-file', join(world.state, 'tls/ca.pem'), '--credential-file', credential);
  await world.chat(alice);
  await until(() => /answered 503/.test(sinkOf('lake').why ?? ''), 'the refusal');
  const failed = attempt(['sink', 'test', 'lake']);
  assert.equal(failed.code, 1);
  assert.match(failed.text, /the sink "lake" did not take the entry: .*503/);
  rmSync(`${file}.status`);
  assert.match(world.cli('sink', 'test', 'lake'), /the receiver took entry \d+/);
  await until(() => !sinkOf('lake').failing && sinkOf('lake').lag === 0, 'everything delivered');
  const all = readFileSync(file, 'utf8').trim().split('\n').map((line) => checkOcsf(JSON.parse(line)));
  const got = [...new Set(all.map((event) => event.metadata.sequence))].sort((a, b) => a - b);
  assert.ok(got[0] <= first + 1);
  assert.deepEqual(got, got.map((index, i) => got[0] + i), 'no entry is left out');
  const head = JSON.parse(readFileSync(`${file}.heads`, 'utf8').split('\n')[0]);
  assert.equal(head.authorization, 'Bearer a-secret-of-the-lake');
  assert.equal(head['content-type'], 'application/x-ndjson');
  assert.equal(head.url, '/in?source=bailiff');
  world.cli('sink', 'remove', 'lake');
  lake.kill('SIGKILL');
});

test('a sink whose certificate nobody vouches for, and URLs that cannot be', async () => {
  const file = join(world.dir, 'stranger');
  const stranger = await receiver('syslog-tls', file);
  world.cli('sink', 'add', 'stranger', 'syslog', `tls://127.0.0.1:${stranger.port}`);
  await until(() => sinkOf('stranger').failing, 'the failure');
  assert.match(sinkOf('stranger').why, /certificate/);
  assert.equal(existsSync(file), false);
  world.cli('sink', 'remove', 'stranger');
  stranger.kill('SIGKILL');
  for (const [kind, url] of [['syslog', 'udp://127.0.0.1:514'], ['https', 'http://siem.example.com/in'], ['syslog', 'tcp://siem'], ['https', 'https://a:b@c/']])
    assert.equal(attempt(['sink', 'add', 'x', kind, url]).code, 1, url);
});

// --- The log, file by file -----------------------------------------------------

function get(path, token) {
  return new Promise((done, fail) => {
    const request = http.request({ socketPath: join(world.state, 'admin.sock'), path,
      headers: token ? { authorization: `Bearer ${token}` } : {} }, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('end', () => done({ status: answer.statusCode, type: answer.headers['content-type'], body: Buffer.concat(pieces) }));
    });
    request.on('error', fail);
    request.end();
  });
}

const tile = (n, width) => {
  const parts = [];
  do { parts.unshift(String(n % 1000).padStart(3, '0')); n = Math.floor(n / 1000); } while (n > 0);
  return parts.map((part, i) => (i < parts.length - 1 ? `x${part}` : part)).join('/') + (width < 256 ? `.p/${width}` : '');
};

test('an auditor mirrors the log with nothing but the tlog-tiles layout, and verifies the mirror', async () => {
  const auditor = world.json('admin', 'add', 'a-mirror', '--role', 'auditor').secret;
  world.keys.push(auditor);
  world.handles.push('a-mirror');
  const prefix = '/v1/audit/log', mirror = join(world.dir, 'mirror');
  const keep = async (name, type) => {
    const answer = await get(`${prefix}/${name}`, auditor);
    assert.equal(answer.status, 200, `${name}: ${answer.body}`);
    assert.equal(answer.type, type);
    mkdirSync(dirname(join(mirror, name)), { recursive: true });
    writeFileSync(join(mirror, name), answer.body);
    return answer.body;
  };
  // Reading is itself on record, and moves the log on: take the checkpoint again.
  await get(`${prefix}/checkpoint`, auditor);
  world.cli('audit', 'checkpoint');
  const size = Number((await keep('checkpoint', 'text/plain; charset=utf-8')).toString().split('\n')[1]);
  for (let n = 0; n * 256 < size; n++) {
    const width = Math.min(256, size - n * 256);
    await keep(`tile/0/${tile(n, width)}`, 'application/octet-stream');
    await keep(`tile/entries/${tile(n, width)}`, 'application/octet-stream');
  }
  const verifier = new URL('../../schema/verify.py', import.meta.url).pathname;
  const said = spawnSync('python3', [verifier, join(world.state, 'log.vkey'), 'log', mirror], { encoding: 'utf8' });
  assert.match(said.stdout, /^whole: \d+ entries/, said.stderr);
  const rows = world.json('audit', 'query', '--type', 'audit.log_read', '--actor', 'a-mirror').rows;
  assert.equal(rows.length, 1, 'one record for many files');
  for (const name of ['', 'tile/0', 'tile/0/000.p/0', 'tile/0/000.p/1000', 'tile/0/1', 'tile/0/x000', '../log.vkey', '..%2flog.vkey', 'tile/..%2f..%2f..%2fkeys/log.key',
    'tile/entries/000.p/1/2', 'checkpoint/', 'tile/0/000%00'])
    assert.equal((await get(`${prefix}/${name}`, auditor)).status, 404, name);
  assert.equal((await get(`${prefix}/checkpoint`, 'bla_wrong')).status, 401);
  const operator = world.json('admin', 'add', 'a-operator', '--role', 'operator').secret;
  world.keys.push(operator);
  world.handles.push('a-operator');
  assert.equal((await get(`${prefix}/checkpoint`, operator)).status, 403);
});

test('the signing key may live outside the state directory', async () => {
  assert.match(attempt(['check']).text, /the log's signing key is inside the state directory/);
  await world.stop();
  const key = join(world.dir, 'signing.key');
  renameSync(join(world.state, 'keys/log.key'), key);
  assert.equal(attempt(['audit', 'verify']).code, 0, 'verifying needs no secret');
  const missing = attempt(['serve', world.state]);
  assert.equal(missing.code, 1);
  assert.match(missing.text, /log\.key/);
  appendFileSync(world.settings, `\nlog_key_file = "${key}";\n`);
  await world.serve();
  assert.equal((await world.chat(alice)).status, 200);
  world.cli('audit', 'checkpoint');
  assert.equal(attempt(['audit', 'verify']).code, 0);
  assert.doesNotMatch(attempt(['check']).text, /signing key is inside/);
  await world.stop();
  assert.equal(attempt(['team', 'add', 'offline']).code, 0, 'commands without a server find it too');
  await world.serve();
});
