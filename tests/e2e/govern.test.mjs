// SPDX-License-Identifier: Apache-2.0
//
// Who governs, from the command line and over the admin API: two admins, an
// approver, an author, an auditor and somebody from outside. Each thing that
// is forbidden is tried, refused with the rule that refuses it, and on record.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, until } from './harness.mjs';

let world;
const tokens = {};
before(async () => { world = await World.make(); });
after(async () => {
  await world.end();
  if (world.entries) for (const type of ['admin.proposal.opened', 'admin.proposal.approved', 'admin.proposal.applied', 'admin.proposal.rejected',
    'admin.proposal.withdrawn', 'admin.refused', 'admin.token.issued', 'admin.emergency.called', 'admin.emergency.ended', 'admin.emergency.reviewed'])
    assert.ok(world.entries.some((one) => one.type === type), type);
});

// As somebody; { status, out, err }.
function as(who, ...args) {
  const { status, stdout, stderr } = spawnSync(process.env.BAILIFF, args, { encoding: 'utf8',
    env: { ...process.env, BAILIFF_STATE: world.state, BAILIFF_ADMIN_TOKEN: tokens[who] ?? who ?? '' } });
  return { status, out: stdout, err: stderr };
}
function must(who, ...args) {
  const { status, out, err } = as(who, ...args);
  assert.equal(status, 0, `${who}: ${args.join(' ')}: ${err}${out}`);
  return out;
}
const json = (who, ...args) => JSON.parse(must(who, ...args, '--json'));
function refused(who, why, ...args) {
  const { status, out, err } = as(who, ...args);
  assert.equal(status, 1, `${who}: ${args.join(' ')}: ${status} ${out}${err}`);
  assert.match(err, why);
}
// The change waits; its proposal.
function waits(who, ...args) {
  const { status, out, err } = as(who, ...args, '--json');
  assert.equal(status, 3, `${who}: ${args.join(' ')}: ${status} ${out}${err}`);
  return JSON.parse(out);
}
function keep(secret) { world.keys.push(secret); return secret; }
function send(method, path, { token, body, headers = {} } = {}) {
  return new Promise((done, fail) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const request = http.request({ socketPath: join(world.state, 'admin.sock'), method, path, agent: false,
      headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers,
        ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }) } },
    (answer) => {
      let got = '';
      answer.on('data', (piece) => { got += piece; });
      answer.on('end', () => done({ status: answer.statusCode, headers: answer.headers, body: got ? JSON.parse(got) : undefined }));
    });
    request.on('error', fail);
    request.end(text);
  });
}

test('while nothing takes two people, one is enough', () => {
  for (const [name, role] of [['ada', 'admin'], ['ben', 'admin'], ['pia', 'policy-author'], ['olaf', 'operator'], ['vera', 'auditor']])
    tokens[name] = keep(json(undefined, 'admin', 'add', name, '--role', role).secret);
  must('ada', 'quota', 'set', '--organisation', '--limit', 'requests/day=1000');
  refused('ada', /there is no quotas|"qotas" is nothing.*quotas/, 'setting', 'set', 'two_person_for', 'qotas');
});

test('from then on it takes others, and what would undo it too', () => {
  must('ada', 'policy', 'require-approvals', '1', '--reason', 'decision of the board');
  must('ada', 'setting', 'set', 'two_person_for', 'quotas,keys,models');
  const lower = waits('ada', 'policy', 'require-approvals', '0');
  assert.match(lower.rule, /lowered only by the rule itself/);
  assert.deepEqual(lower.changes.map((one) => [one.before.value, one.after.value]), [['1', '0']]);
  waits('ada', 'setting', 'set', 'two_person_for', 'quotas');
  must('ada', 'setting', 'set', 'two_person_for', 'quotas,keys,models,teams');
  refused('ada', /someone else must approve/, 'proposal', 'approve', lower.id);
  refused('pia', /the role "policy-author" may not.*that is for: admin, approver/, 'proposal', 'approve', lower.id);
  must('ben', 'proposal', 'reject', lower.id, '--reason', 'never');
  refused('ben', /is rejected/, 'proposal', 'approve', lower.id);
  assert.equal(json('vera', 'setting', 'list').items.find((one) => one.key === 'require_approvals').value, '1');
});

test('nobody mints a second person', () => {
  const minted = waits('ada', 'admin', 'add', 'eve', '--role', 'approver');
  assert.ok(!minted.secret && !JSON.stringify(minted).includes('bla_'));
  waits('ada', 'admin', 'token', 'ben');
  waits('ada', 'admin', 'role', 'vera', 'approver');
  assert.equal(json('ada', 'admin', 'list').items.length, 6);
  // A second token of one's own is free, and is not a second person.
  tokens.ada2 = keep(json('ada', 'admin', 'token', 'ada', '--label', 'laptop').secret);
  refused('ada2', /someone else must approve/, 'proposal', 'approve', minted.id);
  refused(undefined, /named administrator/, 'proposal', 'approve', minted.id);
  // The approver does not see the secret; its author does, once.
  const approved = json('ben', 'proposal', 'approve', minted.id);
  assert.equal(approved.state, 'approved');
  assert.ok(!JSON.stringify(approved).includes('bla_'));
  refused('ben', /is not yours/, 'proposal', 'apply', minted.id);
  const applied = json('ada', 'proposal', 'apply', minted.id);
  tokens.eve = keep(applied.result.secret);
  refused('ada', /is applied/, 'proposal', 'apply', minted.id);
  assert.equal(json('eve', 'proposal', 'list', '--all').items.length >= 5, true);
});

test('rules: neither who wrote nor who submitted them approves', () => {
  const file = join(world.dir, 'rules.cedar');
  writeFileSync(file, `${must('pia', 'policy', 'show', '--text')}\n@id("x") @title("t") forbid (principal, action, resource) when { context.input.images > 5 };\n`);
  const put = (who) => String(json(who, 'policy', 'put', file).version);
  const version = put('pia');
  refused('pia', /0 of 1 approvals/, 'policy', 'activate', version);
  refused('ada', /only a submitted one/, 'policy', 'approve', version);
  must('ada', 'policy', 'submit', version);
  refused('ada', /you submitted policy version/, 'policy', 'approve', version);
  refused('pia', /role "policy-author" may not/, 'policy', 'approve', version);
  must('ben', 'policy', 'approve', version, '--reason', 'read it');
  refused('ben', /is approved; only a submitted one/, 'policy', 'approve', version);
  must('pia', 'policy', 'activate', version);
  // What nobody in particular wrote takes one more.
  const nameless = put(undefined);
  must(undefined, 'policy', 'submit', nameless);
  refused(undefined, /named administrator/, 'policy', 'approve', nameless);
  must('ada', 'policy', 'approve', nameless);
  refused('ada', /1 of 2 approvals/, 'policy', 'activate', nameless);
  must('ben', 'policy', 'approve', nameless);
  must('pia', 'policy', 'activate', nameless);
  must('pia', 'policy', 'rollback');
});

test('quotas, keys and models wait, with what stands there before and after', async () => {
  const quota = json('ada', 'quota', 'list').items.find((one) => one.scope === 'organisation');
  const raise = waits('ada', 'quota', 'set', '--organisation', '--limit', 'requests/day=5000', '--json');
  assert.deepEqual(raise.changes.map((one) => [one.type, one.before.amount, one.after.amount]), [['admin.quota.changed', 1000, 5000]]);
  const text = must('ben', 'proposal', 'show', raise.id);
  assert.match(text, /would change:[^]*"amount": 1000[^]*"amount": 5000/);
  const second = waits('ben', 'quota', 'set', '--organisation', '--limit', 'requests/day=9000');
  const done = json('ben', 'proposal', 'approve', raise.id);
  assert.deepEqual([done.state, done.result.amount], ['applied', 5000]);
  // What the other one was made for has changed meanwhile.
  refused('ada', /has changed since it was made/, 'proposal', 'approve', second.id);
  assert.equal(json('ada', 'quota', 'list').items.find((one) => one.id === quota.id).amount, 5000);
  must('ben', 'proposal', 'withdraw', second.id);
  refused('ada', /is withdrawn/, 'proposal', 'approve', second.id);
  // What is wrong with it is said at once.
  refused('ada', /there is no model "tini"; did you mean "tiny"/, 'quota', 'set', '--organisation', '--model', 'tini', '--limit', 'requests/day=1');
  waits('ada', 'model', 'approve', 'draft');
  // What only takes access away waits for nobody.
  must('ada', 'model', 'retire', 'draft');
  // Nobody in particular cannot ask for it.
  refused(undefined, /root without a name/, 'quota', 'remove', quota.id);
});

test('an author who has gone, or lost the role, makes nothing any more', () => {
  const one = waits('ben', 'quota', 'set', '--organisation', '--limit', 'tokens/day=700000');
  must('ada', 'admin', 'disable', 'ben', '--reason', 'has left');
  refused('eve', /is no administrator any more/, 'proposal', 'approve', one.id);
  refused('ben', /not known here, or no longer in force/, 'proposal', 'list');
  const back = waits('ada', 'admin', 'enable', 'ben');
  assert.equal(json('eve', 'proposal', 'approve', back.id).state, 'applied');
  assert.equal(json('eve', 'proposal', 'approve', one.id).state, 'applied');
});

test('break-glass for rules: in force at once, loud, over by itself, reviewed by another', async () => {
  const file = join(world.dir, 'open.cedar');
  const active = () => json('ada', 'policy', 'show').version;
  const before = active();
  writeFileSync(file, '@id("all") @title("t") permit (principal, action, resource);\n');
  const version = String(json('pia', 'policy', 'put', file).version);
  refused('pia', /role "policy-author" may not/, 'policy', 'activate', version, '--emergency', '--reason', 'x', '--expires', '1h');
  refused('olaf', /at most seven days/, 'policy', 'activate', version, '--emergency', '--reason', 'x', '--expires', '8d');
  assert.equal(as('olaf', 'policy', 'activate', version, '--emergency').status, 2);
  const one = json('olaf', 'policy', 'activate', version, '--emergency', '--reason', 'the rules lock the ward out', '--expires', '2s');
  assert.deepEqual([active(), one.previous, one.state], [Number(version), before, 'on']);
  refused('ada', /is on already/, 'policy', 'activate', String(json('pia', 'policy', 'put', file).version), '--emergency', '--reason', 'x', '--expires', '1h');
  assert.match(must('vera', 'status'), /EMERGENCY .*rules without approvals are in force/);
  refused('ada', /still on/, 'emergency', 'review', one.id, '--reason', 'x');
  await until(() => active() === before, 'the rules of before');
  assert.deepEqual([json('ada', 'policy', 'show', version).state, json('ada', 'emergency', 'show', one.id).cause], ['draft', 'expired']);
  refused('ada', /is draft; rollback brings back a retired one/, 'policy', 'rollback', '--to', version);
  assert.match(must('vera', 'status'), /its review is open/);
  refused('olaf', /may not/, 'emergency', 'review', one.id, '--reason', 'x');
  must('ada', 'emergency', 'review', one.id, '--reason', 'it was right, the rule is being changed');
  refused('ada', /closed already/, 'emergency', 'review', one.id, '--reason', 'x');
  // Who called it does not review it; an activation in good order ends it.
  const two = json('ada', 'policy', 'activate', version, '--emergency', '--reason', 'again', '--expires', '1h');
  must('ada', 'policy', 'rollback');
  assert.deepEqual([active(), json('ada', 'emergency', 'show', two.id).cause, json('ada', 'policy', 'show', version).state], [before, 'superseded', 'draft']);
  refused('ada', /you called this emergency/, 'emergency', 'review', two.id, '--reason', 'x');
  must('ben', 'emergency', 'review', two.id, '--reason', 'seen');
});

test('break-glass for a ward at three in the morning', async () => {
  const file = join(world.dir, 'closed.cedar');
  writeFileSync(file, '@id("shut") @title("t") forbid (principal, action, resource);\n@id("all") @title("t") permit (principal, action, resource);\n');
  const nurse = world.keep(must('ada', 'caller', 'add', 'nurse', '--team', 'everyone') &&
    JSON.stringify(json('ben', 'proposal', 'approve', waits('ada', 'key', 'issue', 'nurse').id)) &&
    must('ada', 'proposal', 'apply', json('ada', 'proposal', 'list').items.find((one) => one.action === 'issueKey').id));
  world.handles.push('nurse');
  const version = String(json('pia', 'policy', 'put', file).version);
  must('pia', 'policy', 'submit', version);
  must('ben', 'policy', 'approve', version);
  must('pia', 'policy', 'activate', version);
  const denied = await world.chat(nurse);
  assert.deepEqual([denied.status, denied.headers['x-bailiff-emergency']], [403, undefined]);
  refused('olaf', /--caller: is missing/, 'emergency', 'open', '--reason', 'x', '--expires', '1h');
  refused('olaf', /no caller "nobody"/, 'emergency', 'open', '--caller', 'nobody', '--reason', 'x', '--expires', '1h');
  const one = json('olaf', 'emergency', 'open', '--caller', 'nurse', '--model', 'tiny', '--reason', 'ward 7, a code blue', '--expires', '1h');
  const through = await world.chat(nurse);
  assert.deepEqual([through.status, through.headers['x-bailiff-emergency']], [200, one.id]);
  assert.equal((await world.chat(nurse, { model: 'big' })).status, 403); // not that model
  assert.equal((await world.chat(nurse, { model: 'draft' })).status, 403); // never
  const id = through.headers['x-request-id'];
  assert.equal((await world.record(id)).decision, 'permit');
  const shown = must('vera', 'audit', 'show', id);
  assert.match(shown, new RegExp(`let through by the emergency ${one.id}, against rule shut of policy version ${version}`));
  assert.match(must('vera', 'audit', 'redecide', id), /rules permit|same|as (it is )?on record/i);
  const metrics = await new Promise((done) => {
    http.get({ socketPath: join(world.state, 'admin.sock'), path: '/metrics' }, (answer) => {
      let text = ''; answer.on('data', (piece) => { text += piece; }); answer.on('end', () => done(text)); });
  });
  assert.match(metrics, /bailiff_emergencies\{kind="access"\} 1\n[^]*bailiff_emergency_reviews_open 1\n/);
  assert.match(metrics, /bailiff_emergency_requests_total 1\n/);
  must('olaf', 'emergency', 'end', one.id, '--reason', 'the code is over');
  assert.equal((await world.chat(nurse)).status, 403);
  must('ada', 'emergency', 'review', one.id, '--reason', 'right');
  // One that nobody ends, ends.
  const two = json('olaf', 'emergency', 'open', '--caller', 'nurse', '--reason', 'again', '--expires', '1s');
  await until(async () => (await world.chat(nurse)).status === 403, 'the end of an emergency');
  await until(() => json('ada', 'emergency', 'show', two.id).cause === 'expired', 'its end on record');
  must('pia', 'policy', 'rollback');
});

test('the last admin stays, an auditor changes nothing', () => {
  const init = json('ada', 'admin', 'list').items.find((one) => one.role === 'admin' && !['ada', 'ben'].includes(one.name));
  must('ada', 'admin', 'disable', init.name);
  must('ada', 'admin', 'disable', 'ben');
  refused('ada', /last administrator in force/, 'admin', 'disable', 'ada');
  refused('ada', /last administrator in force/, 'admin', 'role', 'ada', 'auditor');
  assert.equal(json('eve', 'proposal', 'approve', waits('ada', 'admin', 'enable', 'ben').id).state, 'applied');
  for (const args of [['team', 'add', 'x'], ['proposal', 'withdraw', 'pro_x'], ['policy', 'rollback'], ['quota', 'remove', 'q'], ['admin', 'token', 'vera'],
    ['setting', 'set', 'contact', 'x'], ['policy', 'approve', '1']])
    refused('vera', /auditor-never-writes|own-proposals|that is for/, ...args);
  must('vera', 'audit', 'query', '--type', 'admin');
});

test('two administrators do not overwrite one another', async () => {
  const patch = (token, match, body) => send('PATCH', '/v1/engines/local', { token, body, headers: match ? { 'if-match': match } : {} });
  const read = await send('GET', '/v1/engines/local', { token: tokens.ada });
  const tag = read.headers.etag;
  assert.match(tag, /^"[0-9a-f]{24}"$/);
  assert.equal((await send('GET', '/v1/engines/local', { token: tokens.ben })).headers.etag, tag);
  // Both have read it, both write at once: one of them is told.
  const both = await Promise.all([patch(tokens.ada, tag, { weight: 7 }), patch(tokens.ben, tag, { weight: 9 })]);
  assert.deepEqual(both.map((one) => one.status).sort(), [200, 412]);
  const lost = both.find((one) => one.status === 412);
  assert.deepEqual([lost.headers['content-type'], lost.body.type], ['application/problem+json', 'urn:bailiff:problem:precondition-failed']);
  assert.match(lost.body.detail, /If-Match: somebody has changed \/v1\/engines\/local since/);
  const now = (await send('GET', '/v1/engines/local', { token: tokens.ada })).headers.etag;
  assert.notEqual(now, tag);
  assert.equal(lost.headers.etag, now);
  assert.equal((await patch(tokens.ada, `"x", ${now}`, { weight: 1 })).status, 200);
  assert.equal((await send('POST', '/v1/callers/nurse/disable', { token: tokens.ada, body: {}, headers: { 'if-match': '"stale"' } })).status, 412);
  assert.equal((await send('POST', '/v1/policies/rollback', { token: tokens.ada, body: {}, headers: { 'if-match': '"stale"' } })).status, 412);
  // From the command line; and where the organisation insists on it.
  const shown = json('ada', 'engine', 'list');
  assert.match(shown.etag, /^"[0-9a-f]{24}"$/);
  refused('ada', /If-Match: somebody has changed/, 'setting', 'set', 'contact', 'x', '--if-match', shown.etag);
  must('ada', 'setting', 'set', 'contact', 'it@example.org', '--if-match', json('ada', 'setting', 'list').etag);
  must('ada', 'setting', 'set', 'require_if_match', 'true');
  refused('ada', /require_if_match: say what you have read/, 'setting', 'set', 'contact', 'y');
  assert.equal((await patch(tokens.ada, null, { weight: 2 })).status, 428);
  must('ada', 'setting', 'set', 'require_if_match', 'false', '--if-match', json('ada', 'setting', 'list').etag);
});

test('what is sent twice is carried out once', async () => {
  const add = (key, body, token = tokens.ada) => send('POST', '/v1/callers', { token, body, headers: { 'idempotency-key': key } });
  const first = await add('k-1', { handle: 'twice' });
  const again = await add('k-1', { handle: 'twice' });
  world.handles.push('twice');
  assert.deepEqual([first.status, again.status, again.body], [201, 201, first.body]);
  assert.deepEqual([first.headers['idempotency-replayed'], again.headers['idempotency-replayed']], [undefined, 'true']);
  const other = await add('k-1', { handle: 'thrice' });
  assert.deepEqual([other.status, other.body.type], [422, 'urn:bailiff:problem:idempotency-key-reused']);
  // A key is of who sends it; a failure is not kept.
  assert.equal((await add('k-1', { handle: 'twice' }, tokens.ben)).status, 409);
  assert.equal((await add('k-2', { handle: 'x y' })).status, 400);
  assert.equal((await add('k-2', { handle: 'thrice' })).status, 201);
  world.handles.push('thrice');
  assert.equal((await add('k'.repeat(256), { handle: 'four' })).status, 400);
  // Ten at once: one change, ten equal answers.
  const ten = await Promise.all(Array.from({ length: 10 }, () => add('k-3', { handle: 'ten' })));
  world.handles.push('ten');
  assert.deepEqual(new Set(ten.map((one) => JSON.stringify([one.status, one.body]))).size, 1);
  // A secret that was handed out is not in the files (World.end looks).
  const token = () => send('POST', '/v1/administrators/ada/tokens', { token: tokens.ada, body: {}, headers: { 'idempotency-key': 'k-4' } });
  const secret = keep((await token()).body.secret);
  assert.equal((await token()).body.secret, secret);
  // Over a restart, too.
  await world.stop();
  await world.serve();
  assert.equal((await token()).body.secret, secret);
  const key = ['--idempotency-key', 'k-5'];
  assert.equal(must('ada', 'team', 'list', ...key), must('ada', 'team', 'list'));
  assert.deepEqual(waits('ada', 'team', 'add', 'late', ...key).id, waits('ada', 'team', 'add', 'late', ...key).id);
});

test('lists in pages', async () => {
  const get = async (query) => (await send('GET', `/v1/callers?${query}`, { token: tokens.vera })).body;
  const all = (await get('')).items.map((one) => one.id);
  const seen = [];
  for (let after = ''; ;) {
    const page = await get(`limit=2${after && `&after=${encodeURIComponent(after)}`}`);
    assert.ok(page.items.length <= 2);
    seen.push(...page.items.map((one) => one.id));
    if (!page.next) break;
    after = page.next;
  }
  assert.deepEqual(seen, all);
  assert.equal((await get('limit=0')).status, 400);
  assert.match((await get('after=nonsense')).detail, /is no cursor/);
  assert.deepEqual((await get('after=1.gone')).items.map((one) => one.id), all.slice(1));
  assert.deepEqual((await send('GET', '/v1/teams?limit=1', { token: tokens.vera })).body.items.length, 1);
  assert.equal((await send('GET', '/v1/teams?x=1', { token: tokens.vera })).status, 400);
});

test('a token that has ended, an unknown one, an unknown role', async () => {
  const issued = json('ada', 'admin', 'token', 'ada', '--expires', '1s');
  keep(issued.secret);
  await until(() => as(issued.secret, 'team', 'list').status === 1, 'the end of a token');
  refused(issued.secret, /token ended at 20/, 'team', 'list');
  refused('bla_nonsense', /not known here/, 'team', 'list');
  refused('ada', /none of admin|is none of|role/, 'admin', 'add', 'x', '--role', 'king');
  const two = json('ada', 'admin', 'token', 'ada');
  keep(two.secret);
  must('ada', 'admin', 'revoke-token', two.id, '--reason', 'lost');
  refused(two.secret, /not known here/, 'team', 'list');
  assert.deepEqual(json('ada', 'admin', 'tokens', 'ada').items.map((one) => one.state), ['active', 'active', 'expired', 'revoked']);
});
