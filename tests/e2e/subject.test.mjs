// SPDX-License-Identifier: Apache-2.0
//
// What a person may ask for: a copy of everything, and erasure; what stands in
// its way (a legal hold), and that a crash in the middle leaves nothing behind.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, CANARY, until } from './harness.mjs';

const NAME = 'canary-handle-4711', OTHER = 'canary-handle-4712';
const long = { stream: true, n: 16, max_tokens: 4000 };
let world, key, other;
before(async () => {
  world = await World.make({ engine: ['--token-delay-ms', '10'] });
  const file = join(world.dir, 'kept.cedar');
  writeFileSync(file, '@id("kept") @title("All of it is kept") @record("full")\n' +
    'permit (principal, action in Action::"infer", resource);\n');
  world.cli('policy', 'activate', world.cli('policy', 'put', file).match(/version (\d+)/)[1]);
  key = world.onboard(NAME);
  other = world.onboard(OTHER);
});
after(async () => { await world.end(); });

const run = (...args) => spawnSync(process.env.BAILIFF, ['-C', world.state, ...args], { encoding: 'utf8' });
const idOf = (handle) => world.json('caller', 'show', handle).id;
const grep = (text) => readdirSync(world.state, { recursive: true }).map((name) => join(world.state, name))
  .filter((path) => statSync(path).isFile() && readFileSync(path).includes(text));
const ask = async (secret, body = {}) => {
  const answer = await world.chat(secret, body);
  assert.equal(answer.status, 200, answer.body);
  await world.record(answer.headers['x-request-id']);
  return answer.headers['x-request-id'];
};
const lines = (folder, name) => readFileSync(join(folder, name), 'utf8').trim().split('\n').map((line) => JSON.parse(line));

test('a copy of everything on a person, opened', async () => {
  const ids = [await ask(key), await ask(key, { stream: true })];
  await ask(other);
  world.cli('caller', 'disable', NAME);
  world.cli('caller', 'enable', NAME);
  const folder = join(world.dir, 'copy');
  assert.match(world.cli('audit', 'subject', 'export', NAME, folder), /2 requests and \d+ acts/);
  const person = JSON.parse(readFileSync(join(folder, 'person.json'), 'utf8'));
  assert.equal(person.handle, NAME);
  const requests = lines(folder, 'requests.jsonl');
  assert.deepEqual(requests.map((one) => one.id), ids);
  for (const one of requests) {
    assert.match(one.request.text, new RegExp(CANARY));
    assert.equal(one.answer.state, 'open');
    assert.equal(one.personal.fields.address, '127.0.0.1');
    assert.deepEqual(one.entries.map(({ entry }) => entry.type), ['request.admitted', 'request.completed']);
  }
  const acts = lines(folder, 'acts.jsonl').map((one) => one.entries[0].entry.type);
  for (const type of ['admin.caller.added', 'admin.caller.disabled', 'admin.caller.enabled', 'audit.subject_exported'])
    assert.ok(acts.includes(type), type);
  assert.notEqual(run('audit', 'subject', 'export', NAME, folder).status, 0, 'a folder that is there');
  assert.match(run('audit', 'subject', 'export', 'canary-handle-471', join(world.dir, 'none')).stderr, /did you mean/);
});

test('under a legal hold erasure is refused, on record', async () => {
  world.cli('audit', 'hold', 'add', 'case-7', '--caller', NAME, '--reason', 'a claim', '--basis', 'GDPR art. 17(3)(e)');
  const hold = world.json('audit', 'hold', 'show', 'case-7');
  assert.deepEqual([hold.keys, hold.records, hold.beyond], [2, 2, 0]); // this month's key and the next one's
  const month = hold.reach.find((one) => one.records === 2);
  assert.deepEqual([month.handle, month.caller, month.keys, month.beyond, month.files], [NAME, idOf(NAME), 1, 0, 4]);
  assert.ok(month.bytes > 0 && hold.reach.length === 2);
  const refused = run('audit', 'subject', 'erase', NAME, '--reason', 'asked for', '--basis', 'GDPR art. 17');
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /legal hold case-7/);
  assert.equal(world.json('audit', 'query', '--type', 'audit.erasure_refused', '--object', NAME).rows.length, 1);
  assert.match(world.cli('audit', 'report', 'retention'), /case-7/);
  await ask(key);
  world.cli('audit', 'hold', 'release', 'case-7', '--reason', 'settled');
  // Of half a month the whole month stays readable, and it says so.
  world.cli('audit', 'hold', 'add', 'now-on', '--caller', NAME, '--since', new Date(Date.now() + 1000).toISOString(),
    '--reason', 'r', '--basis', 'b');
  const half = world.json('audit', 'hold', 'show', 'now-on');
  const whole = half.reach.find((one) => one.beyond > 0);
  assert.deepEqual([half.records, half.beyond, whole.records, whole.beyond, whole.files], [0, 3, 0, 3, 6]);
  assert.match(world.cli('audit', 'hold', 'show', 'now-on'), /ALSO READABLE[^]*canary-handle-4711/);
  world.cli('audit', 'hold', 'release', 'now-on', '--reason', 'settled');
  // A hold of a time reaches no further than the months that it is about.
  world.cli('audit', 'hold', 'add', 'long-ago', '--until', '2020-01-01', '--reason', 'r', '--basis', 'b');
  assert.equal(world.json('audit', 'hold', 'show', 'long-ago').keys, 0);
});

test('erasure: keys, content and name are gone, a running stream is cut, proofs hold', async () => {
  const id = idOf(NAME);
  const before = await ask(key);
  const shown = world.json('audit', 'show', before), kept = shown.entries[0].entry.content.key;
  assert.deepEqual([shown.content.personal.state, shown.content.request.state], ['kept', 'kept']);
  assert.ok(existsSync(join(world.state, 'blobs', kept)));
  assert.ok(grep(NAME).some((path) => /persons\.db$/.test(path)));
  const line = await world.open();
  line.post(key, long);
  await line.sees(/data: /);
  const said = world.cli('audit', 'subject', 'erase', NAME, '--reason', 'asked for', '--basis', 'GDPR art. 17');
  assert.match(said, /is erased/);
  await line.sees(/"revoked"/);
  await until(() => world.json('audit', 'query', '--id', line.id()).rows[0]?.outcome === 'cut', 'the end of the stream');
  assert.deepEqual(grep(NAME), [], 'files that still hold the name');
  assert.deepEqual(grep(CANARY), []);
  assert.ok(!existsSync(join(world.state, 'blobs', kept)));
  assert.equal((await world.chat(key)).status, 401);
  assert.notEqual(run('caller', 'enable', id).status, 0);
  const content = world.json('audit', 'content', before);
  assert.deepEqual([content.personal.state, content.request.state, content.answer.state], ['erased', 'erased', 'erased']);
  assert.match(world.cli('audit', 'show', before), /request: erased: its key was destroyed, on record/);
  const folder = join(world.dir, 'afterwards');
  world.cli('audit', 'subject', 'export', id, folder);
  const requests = lines(folder, 'requests.jsonl');
  assert.ok(requests.length >= 4 && requests.every((one) => one.request.state === 'erased' && one.personal.state === 'erased'));
  assert.equal(JSON.parse(readFileSync(join(folder, 'person.json'), 'utf8')).erased, true);
  // The leaves are as they were, and their proofs hold.
  const verified = run('audit', 'verify');
  assert.equal(verified.status, 0, verified.stdout + verified.stderr);
  assert.match(verified.stdout, /gone with keys whose destruction is on record/);
  const proofs = join(world.dir, 'proofs');
  world.cli('audit', 'prove', before, '--out', proofs);
  for (const name of readdirSync(proofs).filter((one) => /proof/.test(one)))
    assert.equal(run('audit', 'verify', join(proofs, name), '--key', join(world.state, 'log.vkey')).status, 0);
  const events = world.json('audit', 'query', '--object', id, '--order', 'oldest').rows.map((row) => row.type);
  assert.ok(events.indexOf('audit.erasure_begun') < events.indexOf('audit.erasure_completed'));
  assert.match(world.cli('audit', 'report', 'retention'), /erasure/);
  // Others are untouched.
  assert.equal(world.json('audit', 'content', await ask(other)).request.state, 'open');
});

test('an erasure that is asked for again with its idempotency key is answered again', async () => {
  world.cli('caller', 'add', 'canary-handle-4713');
  const erase = () => new Promise((done, fail) => {
    const request = http.request({ socketPath: join(world.state, 'admin.sock'), method: 'POST', path: '/v1/audit/subjects/canary-handle-4713/erase',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'once-and-again-4713' } }, (answer) => {
      let text = '';
      answer.on('data', (piece) => { text += piece; });
      answer.on('end', () => done({ status: answer.statusCode, text }));
    });
    request.on('error', fail);
    request.end(JSON.stringify({ reason: 'asked for', basis: 'GDPR art. 17' }));
  });
  const first = await erase();
  assert.equal(first.status, 200, first.text);
  assert.deepEqual(await erase(), first);
  const { caller } = JSON.parse(first.text);
  for (const type of ['audit.erasure_begun', 'audit.erasure_completed'])
    assert.equal(world.json('audit', 'query', '--type', type, '--object', caller).rows.length, 1);
});

test('an erasure that kill -9 interrupts is finished at the next start', async () => {
  const id = idOf(OTHER);
  const before = await ask(other);
  const kept = world.json('audit', 'show', before).entries[0].entry.content.key;
  // The certificate cannot be written: it stops between destruction and end.
  const place = join(world.state, 'certificates');
  const certificates = readdirSync(place).map((name) => [name, readFileSync(join(place, name))]);
  rmSync(place, { recursive: true });
  writeFileSync(place, '');
  assert.notEqual(run('audit', 'subject', 'erase', OTHER, '--reason', 'asked for', '--basis', 'GDPR art. 17').status, 0);
  assert.equal(world.json('audit', 'query', '--type', 'audit.erasure_completed', '--object', id).rows.length, 0);
  await world.stop('SIGKILL');
  rmSync(place);
  await world.serve();
  assert.match(world.server.log, /disposal_resumed/);
  assert.equal(world.json('audit', 'query', '--type', 'audit.erasure_completed', '--object', id).rows.length, 1);
  assert.deepEqual(grep(OTHER), []);
  assert.ok(!existsSync(join(world.state, 'blobs', kept)));
  assert.equal(readdirSync(place).length, 1);
  assert.equal(certificates.length, 2);
  assert.equal(run('audit', 'verify').status, 0);
});
