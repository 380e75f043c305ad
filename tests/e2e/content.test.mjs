// SPDX-License-Identifier: Apache-2.0
//
// Content that a rule obliges to keep: durable before it is forwarded, sealed,
// committed to, read back by those who may and by nobody else, and missed when
// it is altered.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, CANARY, events, messages, until } from './harness.mjs';

const long = { stream: true, n: 16, max_tokens: 4000 };
let world, key, plain;
const RULES = '@id("kept") @title("What is asked of tiny is kept") @record("full")\n' +
  'permit (principal, action in Action::"infer", resource) when { resource == Model::"tiny" };\n' +
  '@id("rest") @title("The rest is not")\npermit (principal, action, resource) when { resource != Model::"tiny" };\n';
before(async () => {
  world = await World.make({ engine: ['--token-delay-ms', '10'] });
  key = world.onboard('ann');
  plain = world.onboard('ben');
  const file = join(world.dir, 'kept.cedar');
  writeFileSync(file, RULES);
  world.cli('policy', 'activate', world.cli('policy', 'put', file).match(/version (\d+)/)[1]);
});
after(async () => { await world.end(); });

const entriesOf = (id) => world.json('audit', 'show', id).entries.map((one) => one.entry);
const contentOf = (id) => world.json('audit', 'content', id);
const blobOf = (entry, which) => join(world.state, 'blobs', entry.content.key, `${entry.id}.${which}`);
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const verify = () => {
  const run = spawnSync(process.env.BAILIFF, ['-C', world.state, 'audit', 'verify', '--json'], { encoding: 'utf8' });
  return { status: run.status, ...JSON.parse(run.stdout) };
};

test('a whole answer: request and answer are kept, and the entries commit to the files', async () => {
  const body = { model: 'tiny', messages, max_tokens: 4 };
  const answer = await world.chat(key, body);
  assert.equal(answer.status, 200, answer.body);
  const id = answer.headers['x-request-id'];
  await world.record(id);
  const [admitted, completed] = entriesOf(id);
  assert.equal(admitted.content.bytes, Buffer.byteLength(JSON.stringify(body)));
  assert.equal(completed.content.bytes, Buffer.byteLength(answer.body));
  for (const [entry, which] of [[admitted, 'request'], [completed, 'answer']]) {
    const file = readFileSync(blobOf(entry, which));
    assert.equal(sha256(file), entry.content.blob);
    assert.equal(statSync(blobOf(entry, which)).mode & 0o777, 0o600);
    assert.ok(!file.includes('"content"') && !file.includes(CANARY));
    assert.equal(entry.content.key, admitted.sealed.key);
    assert.notEqual(entry.content.commitment, sha256(which === 'request' ? JSON.stringify(body) : answer.body));
  }
  const kept = contentOf(id);
  assert.deepEqual([kept.request.state, kept.answer.state, kept.personal.state], ['open', 'open', 'open']);
  assert.equal(kept.request.text, JSON.stringify(body));
  assert.equal(kept.answer.text, answer.body);
  assert.equal(kept.personal.fields.address, '127.0.0.1');
  assert.match(world.cli('audit', 'content', id), new RegExp(CANARY));
  const folder = join(world.dir, 'out');
  world.cli('audit', 'content', id, '--out', folder);
  assert.equal(readFileSync(join(folder, 'answer'), 'utf8'), answer.body);
  const reading = world.json('audit', 'query', '--type', 'audit.content_read', '--object', id).rows;
  assert.equal(reading.length, 3);
});

test('a stream: what the caller got is kept, to the byte', async () => {
  const answer = await world.chat(key, { stream: true, max_tokens: 20 });
  assert.equal(answer.status, 200);
  const id = answer.headers['x-request-id'];
  await world.record(id);
  assert.equal(contentOf(id).answer.text, answer.body);
});

test('words are found in what was kept, by those who may, and that is on record', async () => {
  const asked = await world.chat(key, { model: 'tiny', max_tokens: 4, messages: [{ role: 'user', content: 'The "Zürich" budget:\nline two \u00e9t\u00e9' }] });
  const id = asked.headers['x-request-id'];
  await world.record(id);
  const find = (...args) => world.json('audit', 'find-content', ...args);
  const found = find('"zürich" BUDGET');
  assert.deepEqual(found.items.map((one) => [one.id, one.which, one.callerName, one.model]), [[id, 'request', 'ann', 'tiny']]);
  assert.match(found.items[0].context, /The "Zürich" budget: line two été/);
  assert.ok(found.opened >= 2 && found.more === false);
  assert.equal(find('budget', 'line two', '--caller', 'ann').items.length, 1);
  assert.equal(find('budget', 'line three').items.length, 0);
  assert.match(world.cli('audit', 'find-content', 'budget'), /ann +request of tiny\n.*Zürich/);
  assert.equal(find('budget', '--caller', 'ben').items.length, 0);
  // The pieces of a streamed answer are put together.
  const stream = await world.chat(key, { stream: true, max_tokens: 30 });
  const said = events(stream.body).filter((one) => one.startsWith('{')).map((one) => JSON.parse(one).choices[0]?.delta?.content ?? '').join('');
  const words = said.trim().split(/\s+/).slice(0, 6).join(' ');
  assert.ok(words.length > 10, said);
  await world.record(stream.headers['x-request-id']);
  const answers = find(words, '--id', stream.headers['x-request-id']).items;
  assert.deepEqual(answers.map((one) => one.which), ['answer']);
  // One at a time: the pages leave nothing out.
  const all = find(CANARY, '--limit', '1000').items.map((one) => one.id);
  assert.ok(all.length > 1);
  const one = find(CANARY, '--limit', '1');
  assert.deepEqual([one.items.length, one.more], [1, true]);
  assert.equal(find(CANARY, '--limit', '1', '--after', String(one.next)).items[0].id, all[1]);
  // On record by digest and by what was shown, never by the words.
  const [event] = world.json('audit', 'query', '--type', 'audit.content_sought', '--order', 'oldest').rows;
  const [entry] = entriesOf(event.id);
  assert.deepEqual(entry.detail.records, [id]);
  assert.match(entry.detail.digest, /^[0-9a-f]{64}$/);
  assert.ok(!JSON.stringify(entry).toLowerCase().includes('budget'));
});

test('where no rule asks for it nothing is kept', async () => {
  const folders = () => (existsSync(join(world.state, 'blobs')) ? readdirSync(join(world.state, 'blobs'), { recursive: true }).length : 0);
  const count = folders();
  const answer = await world.chat(plain, { model: 'big' });
  assert.equal(answer.status, 200, answer.body);
  const id = answer.headers['x-request-id'];
  await world.record(id);
  assert.deepEqual([contentOf(id).request.state, contentOf(id).answer.state], ['none', 'none']);
  assert.equal(entriesOf(id)[0].content, undefined);
  assert.equal(folders(), count);
});

test('a caller who hangs up: what had been relayed is kept', async () => {
  const line = await world.open();
  line.post(key, long);
  await line.sees(/data: /);
  line.tcp.destroy();
  const row = await world.record(line.id());
  assert.equal(row.outcome, 'client_gone');
  const { answer } = contentOf(line.id());
  assert.equal(answer.state, 'open');
  assert.ok(events(answer.text).length > 0 && !answer.text.includes('[DONE]'));
});

test('a key that is revoked: the stream is cut, and what was relayed is kept', async () => {
  const short = world.keep(world.cli('key', 'issue', 'ann', '--label', 'short'));
  const id = world.cli('key', 'list').split('\n').find((one) => one.includes('short')).match(/key_\w+/)[0];
  const line = await world.open();
  line.post(short, long);
  await line.sees(/data: /);
  world.cli('key', 'revoke', id);
  await line.sees(/"revoked"/);
  assert.equal((await world.record(line.id())).outcome, 'cut');
  const { answer } = contentOf(line.id());
  assert.equal(answer.state, 'open');
  // The digest is of what was relayed, too: without the error event of ours.
  const file = join(world.dir, 'relayed');
  writeFileSync(file, answer.text);
  assert.deepEqual(world.json('audit', 'find-text', file).items.map((one) => [one.id, one.which]), [[line.id(), 'answer']]);
});

test('no place to keep it: 503 on record, and no engine sees the request', async () => {
  const blobs = join(world.state, 'blobs'), aside = join(world.dir, 'blobs-aside');
  renameSync(blobs, aside);
  writeFileSync(blobs, '');
  const alarms = await world.metric('bailiff_governance_unavailable_total');
  try {
    await world.untouched(async () => {
      const answer = await world.chat(key);
      assert.equal(answer.status, 503, answer.body);
      assert.equal(JSON.parse(answer.body).error.code, 'governance_unavailable');
      assert.ok(Number(answer.headers['retry-after']) > 0);
      const [denied] = entriesOf(answer.headers['x-request-id']);
      assert.deepEqual([denied.type, denied.denied.stage], ['request.denied', 'keep']);
    });
    assert.equal(await world.metric('bailiff_governance_unavailable_total'), alarms + 1);
    assert.equal((await world.chat(plain, { model: 'big' })).status, 200, 'what is not kept goes on');
  } finally {
    rmSync(blobs);
    renameSync(aside, blobs);
  }
  assert.equal((await world.chat(key)).status, 200);
});

test('an answer whose place is gone meanwhile is said to be lost', async () => {
  const line = await world.open();
  line.post(key, long);
  await line.sees(/data: /);
  const [admitted] = entriesOf(line.id());
  const place = join(world.state, 'blobs', admitted.content.key);
  renameSync(place, `${place}-aside`);
  writeFileSync(place, '');
  line.tcp.destroy();
  await world.record(line.id());
  rmSync(place);
  renameSync(`${place}-aside`, place);
  const kept = contentOf(line.id());
  assert.deepEqual([kept.request.state, kept.answer.state], ['open', 'lost']);
  assert.ok(kept.answer.why);
});

test('retention classes: by a rule, else by the team, and sealed under a key of their own', async () => {
  world.cli('audit', 'retention', 'class', 'six-years', '--profile', 'hipaa');
  world.cli('audit', 'retention', 'class', 'broker', '--profile', 'sec17a4');
  world.cli('team', 'add', 'desk');
  const desk = world.onboard('dora', 'desk');
  world.cli('audit', 'retention', 'team', 'desk', 'six-years');
  const first = async (secret, body) => {
    const answer = await world.chat(secret, body);
    assert.equal(answer.status, 200, answer.body);
    await world.record(answer.headers['x-request-id']);
    return entriesOf(answer.headers['x-request-id'])[0];
  };
  const byTeam = [await first(desk, { model: 'big' }), await first(desk, { model: 'big' })];
  assert.deepEqual(byTeam.map((one) => [one.retention, one.content]), [['six-years', undefined], ['six-years', undefined]]);
  assert.equal(byTeam[0].sealed.key, byTeam[1].sealed.key);
  const kept = await first(desk, {});
  assert.deepEqual([kept.retention, kept.content.key, kept.sealed.key], ['six-years', byTeam[0].sealed.key, byTeam[0].sealed.key]);
  assert.equal((await first(key, {})).retention, undefined);
  // A rule's class goes before the team's.
  const file = join(world.dir, 'retain.cedar');
  writeFileSync(file, RULES.replace('@id("rest")', '@id("rest") @retain("broker")'));
  world.cli('policy', 'activate', world.cli('policy', 'put', file).match(/version (\d+)/)[1]);
  const byRule = await first(desk, { model: 'big' });
  assert.equal(byRule.retention, 'broker');
  assert.notEqual(byRule.sealed.key, kept.sealed.key);
  // What is exempt stays readable through an erasure; the rest does not.
  const erased = world.json('audit', 'retention', 'show');
  assert.ok(erased.classes.find((one) => one.name === 'broker').exempt);
  world.cli('audit', 'subject', 'erase', 'dora', '--reason', 'asked for', '--basis', 'GDPR art. 17');
  assert.equal(contentOf(byRule.id).personal.state, 'open');
  assert.deepEqual([contentOf(kept.id).personal.state, contentOf(kept.id).request.state], ['erased', 'erased']);
  writeFileSync(file, RULES);
  world.cli('policy', 'activate', world.cli('policy', 'put', file).match(/version (\d+)/)[1]);
});

test('only auditors and administrators read it', async () => {
  const answer = await world.chat(key);
  const id = answer.headers['x-request-id'];
  await world.record(id);
  const token = join(world.dir, 'operator.token');
  writeFileSync(token, world.cli('admin', 'add', 'olga', '--role', 'operator').match(/bl\w_[A-Za-z0-9]+/)[0], { mode: 0o600 });
  const run = spawnSync(process.env.BAILIFF, ['-C', world.state, '--token-file', token, 'audit', 'content', id], { encoding: 'utf8' });
  assert.notEqual(run.status, 0);
  assert.ok(!run.stdout.includes(CANARY));
});

test('a backup has what was kept, and it opens where it is put back', async () => {
  const answer = await world.chat(key);
  const id = answer.headers['x-request-id'];
  await world.record(id);
  const tar = join(world.dir, 'backup.tar'), to = join(world.dir, 'put-back');
  world.cli('backup', tar, '--keys', 'with');
  world.run('restore', tar, to);
  const kept = JSON.parse(world.run('-C', to, 'audit', 'content', id, '--json'));
  assert.deepEqual([kept.request.state, kept.answer.text], ['open', answer.body]);
});

test('verification names a file that was altered, swapped or removed', async () => {
  assert.equal(verify().status, 0);
  const ids = [];
  for (let i = 0; i < 2; i++) {
    const answer = await world.chat(key);
    ids.push(answer.headers['x-request-id']);
    await world.record(ids[i]);
  }
  const [a, b] = ids.map((id) => blobOf(entriesOf(id)[0], 'request'));
  const kept = [readFileSync(a), readFileSync(b)];
  const faults = () => verify().findings.filter((one) => one.kind !== 'note');
  // A part of the log, and the verifier without the program, see the same.
  const { index: at } = world.json('audit', 'show', ids[0]).entries[0];
  const part = (from, to) => {
    world.cli('audit', 'checkpoint');
    const run = spawnSync(process.env.BAILIFF, ['-C', world.state, 'audit', 'verify', '--from', String(from), '--to', String(to), '--json'], { encoding: 'utf8' });
    return JSON.parse(run.stdout).findings.filter((one) => one.kind !== 'note').map((one) => one.text);
  };
  const python = (...args) => spawnSync('python3', [new URL('../../schema/verify.py', import.meta.url).pathname,
    join(world.state, 'log.vkey'), ...args], { encoding: 'utf8' });
  const whole = () => python('log', join(world.state, 'log'), '--content', join(world.state, 'blobs'));
  assert.deepEqual(part(at, at + 1), []);
  assert.match(whole().stdout, /^whole: .* kept files are those that they commit to/);
  const folder = join(world.dir, 'evidence');
  world.cli('audit', 'bundle', folder, '--id', ids[0], '--content');
  assert.equal(readdirSync(join(folder, 'content')).length, 2);
  assert.match(python('bundle', folder).stdout, /^holds: 2 entries .*; 2 kept files are those that they commit to/);
  writeFileSync(join(folder, 'content', `${ids[0]}.request`), kept[1]);
  assert.match(python('bundle', folder).stderr, /the kept request of .* is not the file that its entry commits to/);
  copyFileSync(a, `${a}.aside`);
  renameSync(b, a);
  renameSync(`${a}.aside`, b);
  assert.deepEqual(faults().map((one) => [one.kind, one.id]), [['content', ids[0]], ['content', ids[1]]]);
  assert.equal(contentOf(ids[0]).request.state, 'altered');
  const altered = Buffer.from(kept[0]);
  altered[20] ^= 1;
  writeFileSync(a, altered);
  writeFileSync(b, kept[1]);
  assert.deepEqual(faults().map((one) => [one.kind, one.id]), [['content', ids[0]]]);
  assert.match(part(at, at + 1).join(), /is not the file that its entry commits to/);
  assert.deepEqual(part(at - 3, at), []);
  assert.match(whole().stderr, /is not the file that its entry commits to/);
  rmSync(a);
  assert.match(part(at, at + 1).join(), /is missing, and no entry says that its key/);
  assert.match(whole().stderr, /is missing, and no entry says that its key/);
  assert.match(faults()[0].text, /missing/);
  assert.equal(contentOf(ids[0]).request.state, 'missing');
  assert.equal(verify().status, 1);
  writeFileSync(a, kept[0], { mode: 0o600 });
  assert.equal(verify().status, 0);
  await until(() => contentOf(ids[0]).request.state === 'open', 'the file is right again');
});
