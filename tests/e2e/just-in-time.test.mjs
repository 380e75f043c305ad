// SPDX-License-Identifier: Apache-2.0
//
// Callers that are made by the first good token of theirs: where the issuer may
// do so, within its bounds, once, on record, and never anew.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OAuth2Server } from 'oauth2-mock-server';
import { World, messages, until } from './harness.mjs';

let world, provider;
const own = generateKeyPairSync('ed25519');
const b64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = () => Math.floor(Date.now() / 1000);
const cli = (...args) => world.cli(...args);

// Of the provider; then of issuers with a key of their own, each of a name.
async function token(claims = {}, options = {}) {
  const text = await provider.issuer.buildToken({ expiresIn: 3600, ...options,
    scopesOrTransform: (header, payload) => { Object.assign(payload, { aud: 'bailiff', ...claims }); } });
  world?.secrets.push(text.split('.')[2]);
  return text;
}
function issuer(name, ...options) {
  const file = join(world.dir, `${name}.json`);
  writeFileSync(file, JSON.stringify({ keys: [{ ...own.publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'EdDSA' }] }));
  cli('issuer', 'add', name, `https://${name}.example`, '--audience', 'bailiff', '--prefix', `${name}:`, '--jwks-file', file, ...options);
  return (claims = {}) => {
    const input = `${b64({ alg: 'EdDSA', kid: 'one' })}.${b64({ iss: `https://${name}.example`, aud: 'bailiff', exp: now() + 3600, ...claims })}`;
    const text = `${input}.${signBytes(null, Buffer.from(input), own.privateKey).toString('base64url')}`;
    world.secrets.push(text.split('.')[2]);
    return text;
  };
}
// Until the issuer's keys are there: by a token that makes nobody.
const keysOf = (make) => until(async () => (await world.chat(make({ sub: 'nobody here' }))).status === 401, 'the keys', 20000);

const callers = () => world.json('caller', 'list').items;
const find = (handle) => callers().filter((one) => one.handle === handle);
const events = () => world.json('audit', 'query', '--type', 'admin.caller.made', '--limit', '1000').rows;
const code = (answer) => JSON.parse(answer.body).error.code;

before(async () => {
  provider = new OAuth2Server();
  await provider.issuer.keys.generate('ES256');
  await provider.start(0, 'localhost');
  world = await World.make();
  cli('team', 'add', 'guests', '--parent', 'everyone');
  cli('issuer', 'add', 'idp', provider.issuer.url, '--audience', 'bailiff', '--prefix', 'idp:', '--groups-claim', 'groups',
    '--just-in-time', '--team', 'guests', '--per-minute', '1000');
  const none = await token({ sub: 'nobody here' }); // no name of a caller
  await until(async () => (await world.chat(none)).status === 401, 'the keys', 20000);
});
after(async () => {
  try { await world?.end(); } finally { await provider.stop(); }
});

test('the first token makes its caller, in the team, and is served', async () => {
  const alice = await token({ sub: 'alice-canary-77', azp: 'portal' });
  const answer = await world.chat(alice);
  assert.equal(answer.status, 200, answer.body);
  const [caller] = find('idp:alice-canary-77');
  assert.deepEqual([caller.kind, caller.teams, caller.issuer, caller.disabled], ['person', ['guests'], 'idp', false]);
  const shown = world.json('audit', 'show', answer.headers['x-request-id']);
  assert.ok(JSON.stringify(shown).includes(caller.id));
  const event = events().find((one) => JSON.stringify(one).includes(caller.id));
  assert.ok(event, 'it is on record');
  const text = JSON.stringify(world.json('audit', 'show', event.id).entries);
  assert.match(text, /"issuer":\s*"idp"/);
  assert.match(text, /"client":\s*"portal"/);
  assert.match(text, /"sealed"/);
  assert.doesNotMatch(text, /canary-77/, 'the subject is sealed');
  // By the record alone the same decision comes out: the caller was in its team.
  await world.record(answer.headers['x-request-id']);
  const again = world.json('audit', 'redecide', answer.headers['x-request-id']);
  assert.equal(again.result, 'same', JSON.stringify(again));
  // The person's own records have the event, with the subject.
  const folder = join(world.dir, 'copy');
  cli('audit', 'subject', 'export', 'idp:alice-canary-77', folder);
  assert.match(readFileSync(join(folder, 'acts.jsonl'), 'utf8'), /admin\.caller\.made/);
  assert.equal((await world.chat(alice)).status, 200);
  assert.equal((await world.chat(await token({ sub: 'alice-canary-77' }))).status, 200);
  assert.equal(find('idp:alice-canary-77').length, 1);
  assert.match(cli('caller', 'show', 'idp:alice-canary-77'), /made by tokens of\s+idp/);
});

test('a list of models, a stream, another route: each may be the first', async () => {
  const models = await world.request('GET', '/v1/models', { key: await token({ sub: 'lister' }) });
  assert.equal(models.status, 200, models.body);
  const stream = await world.chat(await token({ sub: 'streamer' }), { stream: true });
  assert.equal(stream.status, 200);
  assert.match(stream.body, /\[DONE\]/);
  const response = await world.request('POST', '/v1/responses', { key: await token({ sub: 'responder' }),
    body: { model: 'tiny', max_output_tokens: 4, input: 'hello' } });
  assert.equal(response.status, 200, response.body);
  assert.equal(['lister', 'streamer', 'responder'].every((name) => find(`idp:${name}`).length === 1), true);
});

test('twenty at once of one newcomer, on two workers: one caller, one event', async () => {
  const before = events().length;
  const tokens = await Promise.all(Array.from({ length: 20 }, (_, i) => token({ sub: 'crowd', jti: String(i) })));
  const answers = await Promise.all(tokens.map((one) => world.chat(one)));
  assert.deepEqual([...new Set(answers.map((one) => one.status))], [200]);
  assert.equal(find('idp:crowd').length, 1);
  assert.equal(events().length, before + 1);
  const many = await Promise.all(Array.from({ length: 30 }, async (_, i) => world.chat(await token({ sub: `many-${i}` }))));
  assert.deepEqual([...new Set(many.map((one) => one.status))], [200]);
  assert.equal(callers().filter((one) => one.handle?.startsWith('idp:many-')).length, 30);
});

test('nobody is made by what is not accepted', async () => {
  const before = callers().length;
  const bad = [
    await token({ sub: 'late' }, { expiresIn: -100 }), await token({ sub: 'other', aud: 'another' }),
    await token({ sub: 'with blanks' }), await token({ sub: `${'x'.repeat(200)}` }), await token({ sub: 'semi;colon' }),
    await token({ sub: 'grouped', groups: [7] }), `${(await token({ sub: 'forged' })).slice(0, -6)}AAAAAA`,
  ];
  for (const one of bad) {
    const answer = await world.untouched(() => world.chat(one));
    assert.equal(answer.status, 401, answer.body);
  }
  assert.match((await world.chat(await token({ sub: 'with blanks' }))).body, /name_invalid/);
  assert.equal(callers().length, before);
});

test('an end user that a gateway names is not made', async () => {
  const make = issuer('front', '--just-in-time', '--end-users', 'also');
  await keysOf(make);
  const gateway = world.onboard('gateway-service');
  cli('gateway', 'add', 'gateway-service');
  const answer = await world.request('POST', '/v1/chat/completions', { key: gateway,
    headers: { 'x-bailiff-end-user': make({ sub: 'behind' }) }, body: { model: 'tiny', messages, max_tokens: 4 } });
  assert.equal(answer.status, 200, answer.body);
  assert.equal(find('front:behind').length, 0);
});

test('the bound of a minute: 503 with a time, and nobody reaches an engine', async () => {
  const make = issuer('slow', '--just-in-time', '--team', 'everyone', '--per-minute', '3');
  await keysOf(make);
  const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => world.chat(make({ sub: `s${i}` }))));
  assert.equal(answers.filter((one) => one.status === 200).length, 3);
  const refused = answers.filter((one) => one.status === 503);
  assert.equal(refused.length, 5);
  for (const one of refused) {
    assert.equal(code(one), 'newcomers_limited');
    const wait = Number(one.headers['retry-after']);
    assert.ok(wait >= 1 && wait <= 61, `retry-after ${wait}`);
  }
  assert.equal(callers().filter((one) => one.issuer === 'slow').length, 3);
  // Who is there already goes on.
  const there = callers().find((one) => one.issuer === 'slow').handle.slice('slow:'.length);
  assert.equal((await world.chat(make({ sub: there }))).status, 200);
  const list = await world.request('GET', '/v1/models', { key: make({ sub: 's99' }) });
  assert.deepEqual([list.status, JSON.parse(list.body).error.type], [503, 'api_error']);
  // A wider bound is in force at once.
  cli('issuer', 'set', 'slow', '--per-minute', '1000');
  assert.equal((await world.chat(make({ sub: 's99' }))).status, 200);
  await until(() => world.json('audit', 'query', '--type', 'auth', '--limit', '1000').rows.some((row) => JSON.stringify(row).includes('just_in_time')),
    'the refusals on record', 30000);
});

test('the bound in all: 503, not to be tried again, until it is raised', async () => {
  const make = issuer('few', '--just-in-time', '--team', 'everyone', '--most', '2', '--kind', 'service');
  await keysOf(make);
  assert.equal((await world.chat(make({ sub: 'a' }))).status, 200);
  assert.equal((await world.chat(make({ sub: 'b' }))).status, 200);
  const answer = await world.untouched(() => world.chat(make({ sub: 'c' })));
  assert.deepEqual([answer.status, code(answer), answer.headers['x-should-retry']], [503, 'newcomers_limited', 'false']);
  cli('caller', 'disable', 'few:a'); // which does not make room
  assert.equal((await world.chat(make({ sub: 'c' }))).status, 503);
  assert.equal(find('few:b')[0].kind, 'service');
  const set = world.json('issuer', 'set', 'few', '--most', '3', '--reason', 'one more');
  assert.deepEqual([set.justInTimeMost, set.justInTimeCallers, set.justInTimePerMinute], [3, 2, 60]);
  assert.equal((await world.chat(make({ sub: 'c' }))).status, 200);
});

test('who was disabled is refused, and so is who was erased; neither is made anew', async () => {
  const text = await token({ sub: 'dora' });
  assert.equal((await world.chat(text)).status, 200);
  cli('caller', 'disable', 'idp:dora');
  assert.match((await world.untouched(() => world.chat(text))).body, /caller_disabled/);
  assert.match((await world.chat(await token({ sub: 'dora' }))).body, /caller_disabled/);
  assert.deepEqual(find('idp:dora').map((one) => one.disabled), [true]);
  assert.equal((await world.chat(await token({ sub: 'erna' }))).status, 200);
  const [{ id }] = find('idp:erna');
  cli('audit', 'subject', 'erase', 'idp:erna', '--reason', 'asked for', '--basis', 'GDPR art. 17');
  world.onboard('idp:hand'); // by an administrator, and erased
  cli('audit', 'subject', 'erase', 'idp:hand', '--reason', 'asked for', '--basis', 'GDPR art. 17');
  const before = callers().length;
  for (const sub of ['erna', 'hand']) {
    const answer = await world.untouched(async () => world.chat(await token({ sub })));
    assert.deepEqual([answer.status, /caller_erased/.test(answer.body)], [401, true], answer.body);
    assert.equal(find(`idp:${sub}`).length, 0);
  }
  assert.equal(callers().length, before);
  assert.equal(callers().find((one) => one.id === id).handle, null);
  // An administrator may: that is somebody's decision.
  cli('caller', 'add', 'idp:erna', '--team', 'everyone');
  assert.equal((await world.chat(await token({ sub: 'erna' }))).status, 200);
});

test('an administrator\'s name is nobody\'s to take', async () => {
  cli('admin', 'add', 'idp:root', '--role', 'auditor');
  const answer = await world.chat(await token({ sub: 'root' }));
  assert.match(answer.body, /unknown_caller/);
  assert.equal(find('idp:root').length, 0);
});

test('what cannot be set is refused with the reason', () => {
  const fails = (pattern, ...args) => assert.throws(() => cli(...args), pattern);
  fails(/needs a prefix/, 'issuer', 'add', 'bare', 'https://bare.example', '--audience', 'bailiff', '--just-in-time');
  fails(/no credential/, 'issuer', 'add', 'bare', 'https://bare.example', '--audience', 'bailiff', '--prefix', 'b:', '--end-users', 'only', '--just-in-time');
  fails(/makes no callers/, 'issuer', 'add', 'bare', 'https://bare.example', '--audience', 'bailiff', '--prefix', 'b:', '--team', 'guests');
  fails(/no team/, 'issuer', 'set', 'idp', '--team', 'gests');
  fails(/nothing would change/, 'issuer', 'set', 'idp');
  fails(/from 1 to 1000/, 'issuer', 'set', 'idp', '--per-minute', '0');
  fails(/join the team/, 'team', 'remove', 'guests');
});

test('the change cannot be made: 503 in time, nobody half made, and those who are there are served', async () => {
  const holder = spawn('python3', ['-c', 'import sqlite3, sys\n'
    + 'c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute("BEGIN IMMEDIATE")\n'
    + 'print("held", flush=True); sys.stdin.read(); c.execute("ROLLBACK")', join(world.state, 'control.db')]);
  try {
    await once(holder.stdout, 'data');
    const known = await token({ sub: 'crowd', jti: 'once more' });
    const started = Date.now();
    const waiting = Promise.all(['late-1', 'late-2'].map(async (sub) => world.chat(await token({ sub }))));
    assert.equal((await world.chat(known)).status, 200);
    for (const answer of await waiting) {
      assert.deepEqual([answer.status, code(answer)], [503, 'governance_unavailable'], answer.body);
      assert.match(answer.headers['retry-after'], /^\d+$/);
    }
    assert.ok(Date.now() - started < 60000, 'bounded in time');
  } finally {
    holder.stdin.end();
    await once(holder, 'exit');
  }
  // One that was too late for its answer may have been made by now.
  for (const sub of ['late-1', 'late-2'])
    await until(async () => (await world.chat(await token({ sub }))).status === 200, sub, 30000);
  assert.deepEqual([find('idp:late-1').length, find('idp:late-2').length], [1, 1]);
});

test('kill -9 between two: who was served is there, once, and the others come anew', async () => {
  const subs = Array.from({ length: 12 }, (_, i) => `killed-${i}`);
  const tokens = await Promise.all(subs.map((sub) => token({ sub })));
  const running = tokens.map((one) => world.chat(one).catch(() => ({ status: 0 })));
  await Promise.race(running); // one is served, others are on their way
  world.server.kill('SIGKILL');
  const first = await Promise.all(running);
  await world.stop('SIGKILL').catch(() => {});
  await world.serve();
  const there = callers().map((one) => one.handle);
  first.forEach((answer, i) => { if (answer.status === 200) assert.ok(there.includes(`idp:${subs[i]}`), subs[i]); });
  await until(async () => (await world.chat(tokens[0])).status === 200, 'the keys', 20000);
  const again = await Promise.all(tokens.map((one) => world.chat(one)));
  assert.deepEqual([...new Set(again.map((one) => one.status))], [200]);
  for (const sub of subs) {
    const found = find(`idp:${sub}`);
    assert.equal(found.length, 1, sub);
    assert.equal(events().filter((one) => JSON.stringify(one).includes(found[0].id)).length, 1, sub);
  }
});

test('not just in time any more: strangers are strangers, callers stay', async () => {
  const set = world.json('issuer', 'set', 'idp', '--not-just-in-time');
  assert.deepEqual([set.justInTime, set.justInTimeTeam], [false, '']);
  assert.match((await world.untouched(async () => world.chat(await token({ sub: 'zoe' })))).body, /unknown_caller/);
  assert.equal((await world.chat(await token({ sub: 'crowd' }))).status, 200);
  cli('team', 'list');
});
