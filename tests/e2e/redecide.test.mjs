// SPDX-License-Identifier: Apache-2.0
//
// Decisions repeated out of the log, what was in force at a time, and the
// record against the engine's own counters.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync, execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World } from './harness.mjs';

let world, alice, ivy, poor, quick;
const program = process.env.BAILIFF;
const ids = {};
function run(...args) {
  const done = spawnSync(program, ['-C', world.state, ...args], { encoding: 'utf8', timeout: 30000 });
  return { code: done.status, text: done.stdout + done.stderr, out: done.stdout };
}
const redecide = (id, ...more) => JSON.parse(run('audit', 'redecide', id, '--json', ...more).out);
function activate(file) {
  const { version } = world.json('policy', 'put', file);
  for (const step of ['submit', 'activate']) world.cli('policy', step, String(version));
}
const id = (answer, status) => { assert.equal(answer.status, status, answer.body); return answer.headers['x-request-id']; };

before(async () => {
  world = await World.make();
  alice = world.onboard('alice');
  ivy = world.onboard('ivy', 'interns');
  poor = world.onboard('poor');
  quick = world.onboard('quick');
  world.cli('quota', 'set', '--caller', 'poor', '--requests-per-day', '1');
  world.cli('quota', 'set', '--caller', 'quick', '--tokens-per-minute', '1500');
  world.cli('quota', 'set', '--caller', 'alice', '--tokens-per-day', '1000000');
});
after(async () => { await world.end(); });

test('permits, forbids, quota denials and refusals before the rules come out the same', { timeout: 60000 }, async () => {
  ids.permit = id(await world.chat(alice, { temperature: 0.7, top_p: 0.95, n: 1 }), 200);
  ids.stream = id(await world.chat(alice, { stream: true, tools: [{ type: 'function', function: { name: 'look_up' } }] }), 200);
  ids.forbid = id(await world.chat(ivy, { model: 'big' }), 403);
  ids.first = id(await world.chat(poor), 200);
  ids.quota = id(await world.chat(poor), 429);
  ids.rate = id(await world.chat(quick, { max_tokens: 3000 }), 429);
  ids.unknown = id(await world.chat(alice, { model: 'nowhere' }), 404);
  for (const [name, one] of Object.entries(ids)) {
    await world.record(one);
    const answer = redecide(one);
    assert.equal(answer.result, 'same', `${name}: ${JSON.stringify(answer, null, 1)}`);
    assert.ok(answer.checks.length > 0 && answer.cannot.length === 0);
  }
  const quota = redecide(ids.quota);
  assert.ok(quota.checks.some((one) => one.what === 'quota that refused: is it passed?' && one.repeated === true));
  assert.match(run('audit', 'redecide', ids.forbid).text, /the same decision comes out/);
  // What stood in the request is not kept.
  const bad = id(await world.request('POST', '/v1/chat/completions', { key: alice, body: '{"model":' }), 400);
  const partly = redecide(bad);
  assert.equal(partly.result, 'partly');
  assert.match(partly.cannot.join(), /text is not kept/);
  assert.match(run('audit', 'redecide', 'nonsense').text, /nonsense/);
});

test('denials are found by code, stage, quota, version and words', () => {
  const query = (...args) => JSON.parse(run('audit', 'query', '--json', ...args).out);
  const found = (...args) => query(...args).rows.map((row) => row.id);
  const denials = (...args) => found(...args).filter((one) => Object.values(ids).includes(one)).sort();
  const quota = query('--id', ids.quota).rows.find((row) => row.kind === 'request').quota;
  assert.deepEqual(denials('--code', 'policy_denied'), [ids.forbid]);
  assert.deepEqual(denials('--code', 'model_not_found'), [ids.unknown]);
  assert.deepEqual(denials('--quota', quota), [ids.quota]);
  assert.deepEqual(denials('--stage', 'reserve'), [ids.quota, ids.rate].sort());
  assert.deepEqual(denials('--text', 'DOES NOT EXIST here'), [ids.unknown]);
  assert.deepEqual(denials('--text', "'--", '--decision', 'deny'), []);
  assert.equal(denials('--version', '1').length, Object.keys(ids).length);
  assert.deepEqual(denials('--version', '77'), []);
  assert.match(run('audit', 'query', '--code', 'no_such').text, /names the code "no_such"/);
  assert.match(run('audit', 'query', '--version', 'one').text, /no number of a policy version/);
  const { groups } = JSON.parse(run('audit', 'stats', '--by', 'code', '--stage', 'reserve', '--json').out);
  assert.equal(groups.reduce((sum, group) => sum + group.requests, 0), 2);
});

test('they still do when everything has changed since', { timeout: 60000 }, async () => {
  const rules = join(world.dir, 'rules.cedar');
  writeFileSync(rules, `@id("nobody") @title("Nobody at all")
forbid (principal, action, resource);
`);
  activate(rules);
  world.cli('quota', 'set', '--caller', 'poor', '--requests-per-day', '1000');
  world.cli('model', 'group', 'leave', 'large', 'big');
  world.cli('engine', 'change', 'local', '--region', 'elsewhere');
  ids.closed = id(await world.chat(alice), 403);
  for (const [name, one] of Object.entries(ids)) {
    await world.record(one);
    assert.equal(redecide(one).result, 'same', name);
  }
  world.cli('policy', 'rollback');
});

test('a rule that asks for the address wants the sealed box opened', { timeout: 60000 }, async () => {
  const rules = join(world.dir, 'ip.cedar');
  const text = world.cli('policy', 'show', '1');
  writeFileSync(rules, `${text.slice(Math.max(0, text.search(/^@id|^\/\/|^permit|^forbid/m)))}
@id("loopback") @title("Only from this machine")
forbid (principal, action, resource) when { context.request has ip && !context.request.ip.isLoopback() };
@id("there") @title("From nowhere but here")
permit (principal, action, resource) when { context.request has ip && context.request.ip.isLoopback() };
`);
  activate(rules);
  const one = id(await world.chat(alice), 200);
  await world.record(one);
  const closed = redecide(one);
  assert.equal(closed.result, 'partly', JSON.stringify(closed));
  assert.match(closed.cannot.join(), /sealed/);
  assert.equal(redecide(one, '--open-sealed').result, 'same');
  world.cli('policy', 'rollback');
});

test('what was in force at a time', { timeout: 60000 }, async () => {
  const first = redecide(ids.permit).entry;
  const then = JSON.parse(run('audit', 'state', '--before', String(first), '--json').out);
  const now = JSON.parse(run('audit', 'state', '--json').out);
  const find = (state, kind, name) => state.items.find((one) => one.kind === kind && one.id === name)?.state;
  assert.equal(then.policy.version, 1);
  assert.deepEqual(find(then, 'model_group', 'large').models, ['big']);
  assert.deepEqual(find(now, 'model_group', 'large').models, []);
  assert.equal(find(then, 'engine', 'local').region, '');
  assert.equal(find(now, 'engine', 'local').region, 'elsewhere');
  assert.ok(now.changes > then.changes);
  assert.ok(then.items.some((one) => one.kind === 'caller' && one.name === 'alice'));
  assert.match(run('audit', 'state', '--kind', 'quota').out, /"amount":1000/);
  assert.match(run('audit', 'state', '--kind', 'quotum').text, /there was no "quotum".*quota/);
  assert.match(run('audit', 'state', '--at', 'yesterday').text, /no time/);
  // Before the log began there was nothing.
  assert.equal(JSON.parse(run('audit', 'state', '--at', '2001-01-01', '--json').out).items.length, 0);
});

test('calls that went around are seen in the counters of the engine, and in a bill', { timeout: 60000 }, async () => {
  const reconcile = (...args) => run('audit', 'reconcile', ...args);
  const agree = reconcile();
  assert.equal(agree.code, 0, agree.text);
  assert.match(agree.out, /local +requests +(\d+) +\1 +agree/);
  assert.match(agree.out, /local +output +(\d+) +\1 +agree/);
  const base = join(world.dir, 'base.json');
  assert.equal(reconcile('--save', base).code, 0);
  // Straight to the engine, three times.
  for (let i = 0; i < 3; i++)
    await fetch(`http://127.0.0.1:${world.enginePort}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', max_tokens: 5, messages: [{ role: 'user', content: 'hello' }] }) });
  await world.record(id(await world.chat(alice), 200));
  const around = reconcile('--baseline', base);
  assert.equal(around.code, 1, around.text);
  assert.match(around.out, /local +requests +4 +1 +3 more than on record: they went around Bailiff/);
  const rows = JSON.parse(reconcile('--json').out);
  assert.equal(rows.find((row) => row.what === 'requests').difference, 3);
  // A bill says the same.
  const requests = rows.find((row) => row.what === 'requests').logged;
  const bill = join(world.dir, 'bill.csv');
  writeFileSync(bill, `\ufeffEngine,"Period",Requests\r\nlocal,"Nov, 2026",${requests}\r\nlocal,rest,7\r\n`);
  const billed = reconcile('--bill', bill);
  assert.equal(billed.code, 1);
  assert.match(billed.out, /7 more than on record/);
  writeFileSync(bill, 'engine,requests\nlocal,many\n');
  assert.match(reconcile('--bill', bill).text, /line 2: requests is no whole number/);
  writeFileSync(bill, 'who,requests\nlocal,1\n');
  assert.match(reconcile('--bill', bill).text, /column engine/);
  assert.match(reconcile('--engine', 'none').text, /no engine none/);
});

test('what nobody put on record shows as another decision', { timeout: 60000 }, async () => {
  await world.stop();
  execFileSync('python3', ['-c',
    'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute("INSERT INTO model_group_member VALUES (\'large\', \'big\')"); c.commit()',
    join(world.state, 'control.db')]);
  execFileSync(program, ['check', world.state, '--adopt', '--reason', 'a test']);
  await world.serve();
  const one = id(await world.chat(ivy, { model: 'big' }), 403);
  await world.record(one);
  const { code, text } = run('audit', 'redecide', one);
  assert.equal(code, 1, text);
  assert.match(text, /DIFFERENT/);
  assert.match(text, /adopted at entry \d+ is not on record/);
  assert.match(readFileSync(join(world.state, 'log/checkpoint'), 'utf8'), /\n/);
});
