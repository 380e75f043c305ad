// SPDX-License-Identifier: Apache-2.0
//
// API keys: what a key is limited to, and keys that take over from others. What
// a limit refuses never reaches the engine.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { World, until, sleep, dechunk, events } from './harness.mjs';
import { FakeEngine, endless } from './fake-engine.mjs';

let world, river;
before(async () => {
  world = await World.make();
  river = await FakeEngine.make(endless);
  world.cli('engine', 'add', 'river', `http://127.0.0.1:${river.port}`, '--kind', 'openai');
  world.cli('model', 'add', 'river', '--engine', 'river', '--approve');
  world.onboard('kay');
});
after(async () => { await world.end(); await river.end(); });

const code = (answer) => JSON.parse(answer.body).error.code;
// A further key of kay's: { key, id }.
function issue(...options) {
  const issued = world.json('key', 'issue', 'kay', ...options);
  world.keys.push(issued.key);
  return issued;
}

test('a key works from its addresses alone, and the refusal is on record', async () => {
  const inside = issue('--address', '127.0.0.0/8', '--address', '2001:db8::/32');
  assert.deepEqual(inside.addresses, ['127.0.0.0/8', '2001:db8::/32']);
  assert.equal((await world.chat(inside.key)).status, 200);
  const outside = issue('--address', '192.0.2.0/24');
  const answer = await world.untouched(() => world.chat(outside.key, { }));
  assert.equal(answer.status, 401);
  assert.match(answer.body, /is not for this address/);
  // No header moves a caller.
  const forged = await world.untouched(() => world.request('POST', '/v1/chat/completions', { key: outside.key,
    headers: { 'x-forwarded-for': '192.0.2.1', forwarded: 'for=192.0.2.1', 'x-real-ip': '192.0.2.1' },
    body: { model: 'tiny', messages: [{ role: 'user', content: 'x' }] } }));
  assert.equal(forged.status, 401);
  const entry = await until(() => world.json('audit', 'query', '--type', 'auth.failed').rows
    .find((row) => row.key === outside.id), 'the refusal on record', 70000);
  assert.equal(entry.reason, 'address');
});

test('ranges that are none are refused with words', () => {
  for (const range of ['10.0.0.1/8', '10.0.0.0/33', 'localhost'])
    assert.throws(() => world.cli('key', 'issue', 'kay', '--address', range), (error) => error.stderr.includes(range));
});

test('a key is for its models and routes alone; lists show what is left', async () => {
  const { key } = issue('--model', 'gpt-4o-mini'); // an alias of tiny
  assert.equal((await world.chat(key)).status, 200);
  assert.equal((await world.chat(key, { model: 'gpt-4o-mini' })).status, 200);
  const other = await world.untouched(() => world.chat(key, { model: 'big' }));
  assert.deepEqual([other.status, code(other)], [403, 'key_limit']);
  assert.equal((await world.record(other.headers['x-request-id'])).decision, 'deny');
  const list = await world.request('GET', '/v1/models', { key });
  assert.deepEqual(JSON.parse(list.body).data.map((one) => one.id), ['tiny']);
  assert.equal((await world.request('GET', '/v1/models/big', { key })).status, 404);
  const unknown = await world.untouched(() => world.chat(key, { model: 'no-such' }));
  assert.ok(!unknown.body.includes('big'), 'a list of models that the key is not for');
  assert.throws(() => world.cli('key', 'issue', 'kay', '--model', 'no-such'), /no-such/);

  const chats = issue('--route', '/v1/chat/completions');
  assert.equal((await world.chat(chats.key)).status, 200);
  const embedding = await world.untouched(() => world.request('POST', '/v1/embeddings', { key: chats.key, body: { model: 'tiny', input: 'x' } }));
  assert.deepEqual([embedding.status, code(embedding)], [403, 'key_limit']);
  assert.equal((await world.request('GET', '/v1/models', { key: chats.key })).status, 403);
  assert.throws(() => world.cli('key', 'issue', 'kay', '--route', '/v1/nowhere'), /no route[^]* \/v1\/chat\/completions/);
});

test('limits change at once: what runs outside of them is cut; the change is on record', async () => {
  const { key, id } = issue();
  const line = await world.open();
  line.post(key, { model: 'river', stream: true, max_tokens: 4000 });
  await line.sees(/data: [^]*data: /);
  const changed = world.json('key', 'update', id, '--model', 'tiny', '--reason', 'only the small one');
  assert.deepEqual(changed.models, ['tiny']);
  await line.sees(/\r\n0\r\n\r\n$/);
  assert.equal(JSON.parse(events(dechunk(line.text).body).at(-1)).error?.code, 'revoked');
  line.socket.destroy();
  assert.equal((await world.chat(key)).status, 200);
  assert.equal((await world.untouched(() => world.chat(key, { model: 'big' }))).status, 403);
  world.cli('key', 'update', id, '--any-model', '--address', '127.0.0.1');
  assert.equal((await world.chat(key, { model: 'big' })).status, 200);
  const row = world.json('audit', 'query', '--type', 'admin.key.changed', '--object', id, '--order', 'oldest').rows[0];
  const { entries } = world.json('audit', 'show', row.id);
  assert.deepEqual([entries[0].entry.before.models, entries[0].entry.after.models], [[], ['tiny']]);
  assert.match(world.cli('key', 'show', id), /127\.0\.0\.1\/32/);
});

test('a key is rotated: both work until the time stated, then the new one alone', async () => {
  const old = issue('--model', 'tiny', '--label', 'batch', '--expires', '30d');
  const fresh = world.json('key', 'rotate', old.id, '--until', '3s', '--reason', 'quarterly');
  world.keys.push(fresh.key);
  const end = Date.now() + 3000;
  assert.notEqual(fresh.key, old.key);
  assert.deepEqual([fresh.replaces, fresh.models, fresh.label], [old.id, ['tiny'], 'batch']);
  const life = Date.parse(fresh.expires) - Date.now();
  assert.ok(life > 29 * 86400e3 && life < 31 * 86400e3, fresh.expires);
  assert.equal((await world.chat(old.key)).status, 200);
  assert.equal((await world.chat(fresh.key)).status, 200);
  assert.equal((await world.untouched(() => world.chat(fresh.key, { model: 'big' }))).status, 403);
  assert.throws(() => world.cli('key', 'rotate', old.id), (error) => error.stderr.includes(fresh.id));
  assert.throws(() => world.cli('key', 'rotate', fresh.id, '--until', '91d'), /90 days/);
  await sleep(end + 50 - Date.now());
  const late = await world.untouched(() => world.chat(old.key));
  assert.equal(late.status, 401);
  assert.match(late.body, /expired/);
  assert.equal((await world.chat(fresh.key)).status, 200);
  assert.throws(() => world.cli('key', 'rotate', old.id), /expired|replaced/);
  assert.equal(world.json('audit', 'query', '--type', 'admin.key.rotated', '--object', old.id).rows.length, 1);
});

test('a rotation is no second budget', async () => {
  const old = issue();
  world.cli('quota', 'set', '--key', old.id, '--requests-per-day', '3');
  assert.equal((await world.chat(old.key)).status, 200);
  const fresh = world.json('key', 'rotate', old.id), third = world.json('key', 'rotate', fresh.id);
  world.keys.push(fresh.key, third.key);
  assert.equal((await world.chat(fresh.key)).status, 200);
  assert.equal((await world.chat(third.key)).status, 200);
  for (const { key } of [old, fresh, third])
    assert.equal((await world.untouched(() => world.chat(key))).status, 429);
});

test('limits and lines of rotation outlive a restart', async () => {
  const limited = issue('--address', '192.0.2.0/24');
  await world.stop();
  await world.serve();
  assert.equal((await world.untouched(() => world.chat(limited.key))).status, 401);
});

test('when a key was last used: shown, and known after a restart', async () => {
  const mine = issue(), idle = issue();
  const from = Date.now();
  assert.equal((await world.chat(mine.key)).status, 200);
  const at = world.json('key', 'show', mine.id).lastUsed;
  assert.ok(Math.abs(Date.parse(at) - from) < 5000, at);
  assert.equal(world.json('key', 'show', idle.id).lastUsed, null);
  await world.stop();
  assert.equal(world.json('key', 'show', mine.id).lastUsed, at); // without a server
  await world.serve();
  const list = world.json('key', 'list').items;
  assert.equal(list.find((one) => one.id === mine.id).lastUsed, at);
  assert.equal(list.find((one) => one.id === idle.id).lastUsed, null);
});

test('a key has leaked: revoked, and what it was used for', async () => {
  const { key, id } = issue();
  for (let i = 0; i < 3; i++) assert.equal((await world.chat(key)).status, 200);
  assert.equal((await world.chat(key, { model: 'big' })).status, 200);
  assert.equal((await world.chat(key, { model: 'draft' })).status, 403);
  const line = await world.open();
  line.post(key, { model: 'river', stream: true, max_tokens: 4000 });
  await line.sees(/data: [^]*data: /);
  const { use, state } = world.json('key', 'revoke', id, '--leaked', '--reason', 'found on a paste site');
  await line.sees(/\r\n0\r\n\r\n$/);
  line.socket.destroy();
  assert.equal(state, 'revoked');
  assert.deepEqual([use.requests, use.permitted, use.denied, use.refused, use.more], [6, 5, 1, 0, false]);
  const models = Object.fromEntries(use.models.map((one) => [one.name, one.requests]));
  assert.deepEqual(models, { tiny: 3, big: 1, draft: 1, river: 1 });
  assert.deepEqual(use.routes, [{ name: '/v1/chat/completions', requests: 6 }]);
  assert.deepEqual(use.addresses.map((one) => [one.address, one.requests]), [['127.0.0.1', 6]]);
  assert.ok(use.inputTokens > 0 && use.outputTokens > 0 && Date.parse(use.first) < Date.parse(use.last));
  assert.equal((await world.untouched(() => world.chat(key))).status, 401);
  const after = await until(() => { const one = world.json('key', 'use', id); return one.refused > 0 && one; }, 'the refusal', 70000);
  assert.deepEqual([after.refused, after.addresses[0].requests], [1, 7]);
  assert.match(world.cli('key', 'use', id), /127\.0\.0\.1/);
  assert.ok(world.json('audit', 'query', '--type', 'audit.key_traced', '--object', id).rows.length >= 3);
  assert.throws(() => world.cli('key', 'use', 'key_nobody'), /no key/);
});
