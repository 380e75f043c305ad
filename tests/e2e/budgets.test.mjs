// SPDX-License-Identifier: Apache-2.0
//
// What else a quota may count: money by the price table, images and sound,
// bytes, requests at once; and the models of a group together.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { World, messages, until } from './harness.mjs';
import { FakeEngine, whole, refuse, usage, begin, say, finish } from './fake-engine.mjs';

let world, fake;
before(async () => {
  world = await World.make();
  fake = await FakeEngine.make();
  world.cli('engine', 'add', 'plain', `http://127.0.0.1:${fake.port}`, '--kind', 'openai');
  for (const model of ['dear', 'free', 'second'])
    world.cli('model', 'add', model, '--engine', 'plain', '--approve', '--default-max-tokens', '50');
  fake.answer = (response) => whole(response, 'fine', usage(100, 10));
});
after(async () => { await world.end(); await fake.end(); });

const limit = (handle, text, ...more) => world.cli('quota', 'set', '--caller', handle, '--limit', text, ...more);
const rows = (handle) => world.json('quota', 'usage', '--caller', handle).items;
const entries = (id) => world.json('audit', 'show', id).entries.map((one) => one.entry ?? one);
const error = (answer) => JSON.parse(answer.body).error;

test('money: reserved by the bound, settled by what the engine says, cached tokens cheaper; the row stands in the records', async () => {
  const key = world.onboard('mona');
  limit('mona', 'cost/day=0.01');
  // Nobody knows what it costs: denied, and nothing is asked of the engine.
  const asked = fake.requests;
  const unpriced = await world.chat(key, { model: 'dear', max_tokens: 5 });
  assert.equal(unpriced.status, 403);
  assert.equal(error(unpriced).code, 'model_not_priced');
  assert.equal(unpriced.headers['x-should-retry'], 'false');
  assert.equal(fake.requests, asked);

  const price = world.json('price', 'set', 'dear', '--input', '2', '--cached', '0.5', '--output', '10', '--request', '0.0001');
  assert.deepEqual([price.input, price.cached, price.output, price.request, price.inForce], [2000000, 500000, 10000000, 100, true]);
  fake.answer = (response) => whole(response, 'fine', { ...usage(60, 5), prompt_tokens_details: { cached_tokens: 40 } });
  const paid = await world.chat(key, { model: 'dear', max_tokens: 5 });
  assert.equal(paid.status, 200, paid.body);
  const cost = 20 * 2 + 40 / 2 + 5 * 10 + 100;
  const row = await until(() => rows('mona').find((one) => one.used > 0), 'the charge');
  assert.deepEqual([row.dimension, row.amount, row.used, row.remaining], ['cost', 10000, cost, 10000 - cost]);
  await world.record(paid.headers['x-request-id']);
  const [admitted, completed] = entries(paid.headers['x-request-id']);
  assert.deepEqual(admitted.price, { hash: price.hash, version: price.version });
  assert.equal(completed.usage.cost, cost);
  assert.equal(admitted.quotas[0].reserved, admitted.input.bound * 2 + 5 * 10 + 100);
  assert.match(paid.headers['ratelimit-policy'], /;q=10000;qu="cost-micro-units";w=86400/);
  assert.match(world.cli('quota', 'usage', '--caller', 'mona'), /cost\s+day\s+0\.01 /);

  // A bound that costs more than is left does not pass; without a cap the
  // answer is as long as the money.
  fake.answer = (response) => whole(response, 'fine', usage(60, 5));
  const spent = await world.chat(key, { model: 'dear', max_tokens: 5000 });
  assert.equal(spent.status, 429);
  assert.deepEqual([error(spent).code, error(spent).type], ['insufficient_quota', 'insufficient_quota']);
  assert.match(error(spent).message, /allows 0\.01 of cost per day; .* It can never fit/);
  const shortened = await world.chat(key, { model: 'dear', max_tokens: undefined });
  assert.equal(shortened.status, 200, shortened.body);
  // An engine that failed costs nothing.
  const so_far = rows('mona')[0].used;
  fake.answer = (response) => refuse(response, 500);
  assert.ok((await world.chat(key, { model: 'dear', max_tokens: 5 })).status >= 500);
  assert.equal(rows('mona')[0].used, so_far);

  // A new price takes over; the old one stands.
  const next = world.json('price', 'set', 'dear', '--input', '4', '--output', '10');
  assert.deepEqual([next.version, next.cached], [price.version + 1, 4000000]);
  const later = world.json('price', 'set', 'dear', '--input', '9', '--output', '9', '--valid-from', '30d');
  fake.answer = (response) => whole(response, 'fine', usage(60, 5));
  const dearer = await world.chat(key, { model: 'dear', max_tokens: 5 });
  assert.equal((await until(() => entries(dearer.headers['x-request-id']).find((one) => one.type === 'request.completed'), 'its end')).usage.cost, 60 * 4 + 50);
  assert.equal(entries(dearer.headers['x-request-id'])[0].price.version, next.version);
  assert.deepEqual(world.json('price', 'list').items.map((one) => [one.version, one.inForce]),
    [[price.version, false], [next.version, true], [later.version, false]]);
  assert.equal(world.json('price', 'show', String(price.version)).hash, price.hash);
  assert.throws(() => world.cli('price', 'set', 'dear', '--input', '1', '--output', '1', '--valid-from', '2020-01-01'), /do not change backwards/);
  assert.throws(() => world.cli('price', 'set', 'dear', '--input', '1', '--cached', '2', '--output', '1'), /at most as much as/);
  assert.throws(() => world.cli('price', 'set', 'dear', '--input', '1.0000001', '--output', '1'), /at most six digits/);
  assert.throws(() => world.cli('price', 'show', '99'), /no row 99/);
});

test('so many at once: the next is told to come again, and a place is free when one ends, however it ends', async () => {
  const key = world.onboard('cora');
  world.cli('quota', 'set', '--caller', 'cora', '--concurrent-requests', '2');
  const open = [];
  fake.answer = (response) => { begin(response); say(response, 'one'); open.push(response); };
  const lines = [await world.open(), await world.open()];
  for (const line of lines) {
    line.post(key, { model: 'free', max_tokens: 5, stream: true });
    await line.sees(/one/);
  }
  const third = await world.chat(key, { model: 'free', max_tokens: 5 });
  assert.equal(third.status, 429);
  assert.equal(error(third).code, 'rate_limit_exceeded');
  assert.match(error(third).message, /allows 2 concurrent requests; this request may need 1 and 0 are left/);
  assert.equal(third.headers['retry-after'], '1');
  assert.match(third.headers['ratelimit-policy'], /;q=2;qu="concurrent-requests"$/);
  const held = rows('cora')[0];
  assert.deepEqual([held.used, held.reserved, held.remaining, held.resets], [0, 2, 0, null]);
  lines[0].tcp.destroy();
  finish(open[1]);
  await until(() => rows('cora')[0].remaining === 2, 'both places');
  fake.answer = (response) => whole(response, 'fine', usage(10, 1));
  assert.equal((await world.chat(key, { model: 'free', max_tokens: 5 })).status, 200);
  // What ran when the server was killed does not run afterwards.
  fake.answer = (response) => { begin(response); say(response, 'one'); };
  const line = await world.open();
  line.post(key, { model: 'free', max_tokens: 5, stream: true });
  await line.sees(/one/);
  await world.stop('SIGKILL');
  await world.serve();
  assert.equal(rows('cora')[0].remaining, 2);
  assert.equal(entries(line.id())[0].quotas[0].window, 'now');
  assert.equal((await world.record(line.id())).outcome, 'interrupted');
});

test('a caller sees its own quotas and nobody else\'s, even when they are spent', async () => {
  const key = world.onboard('vera'), other = world.onboard('walt');
  limit('vera', 'requests/lifetime=1');
  limit('vera', 'tokens/day=5k', '--model', 'free');
  limit('walt', 'requests/day=77');
  fake.answer = (response) => whole(response, 'fine', usage(10, 1));
  assert.equal((await world.chat(key, { model: 'free', max_tokens: 5 })).status, 200);
  assert.equal((await world.chat(key, { model: 'free', max_tokens: 5 })).status, 429);
  const answer = await world.request('GET', '/v1/bailiff/usage', { key });
  assert.equal(answer.status, 200, answer.body);
  const own = JSON.parse(answer.body);
  assert.deepEqual(own.data.map((one) => [one.scope, one.dimension, one.window, one.model, one.amount, one.used, one.reserved, one.remaining]).sort(),
    [['caller', 'requests', 'lifetime', '', 1, 1, 0, 0], ['caller', 'tokens', 'day', 'free', 5000, 11, 0, 4989]]);
  const record = await world.record(answer.headers['x-request-id']);
  assert.deepEqual([record.outcome, record.action], ['ok', 'showUsage']);
  assert.equal((await world.request('GET', '/v1/bailiff/usage', {})).status, 401);
  assert.equal((await world.request('POST', '/v1/bailiff/usage', { key, body: {} })).status, 405);
  assert.ok(!(await world.request('GET', '/v1/bailiff/usage', { key: other })).body.includes('5000'));
});

test('images, seconds of sound and bytes', async () => {
  const key = world.onboard('ines');
  limit('ines', 'images/day=3');
  limit('ines', 'audio_seconds/day=10');
  limit('ines', 'request_bytes/day=20k');
  fake.answer = (response) => whole(response, 'fine', usage(10, 1));
  const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } };
  const sound = (bytes) => ({ type: 'input_audio', input_audio: { format: 'mp3', data: Buffer.alloc(bytes, 1).toString('base64') } });
  const ask = (...parts) => world.chat(key, { model: 'free', max_tokens: 5, messages: [{ role: 'user', content: [{ type: 'text', text: 'what?' }, ...parts] }] });
  assert.equal((await ask(image, image)).status, 200);
  const third = await ask(image, image);
  assert.equal(third.status, 429);
  assert.match(error(third).message, /allows 3 images per day; this request may need 2 and 1 is left/);
  assert.equal((await ask(sound(4000))).status, 200);
  const long = await ask(sound(9500));
  assert.equal(long.status, 429);
  assert.match(error(long).message, /10 audio seconds per day; this request may need 10 and 5 are left/);
  assert.equal((await ask(sound(3900))).status, 200);
  const left = () => Object.fromEntries(rows('ines').map((one) => [one.dimension, one.remaining]));
  assert.deepEqual([left().images, left().audio_seconds], [1, 1]);
  const bytes = left().request_bytes;
  const text = await world.chat(key, { model: 'free', max_tokens: 5, messages: [{ role: 'user', content: 'x'.repeat(bytes) }] });
  assert.match(error(text).message, /request bytes per day/);
});

test('a quota of a group is shared by its models; of a team, by the teams below', async () => {
  world.cli('model', 'group', 'add', 'pair');
  world.cli('model', 'group', 'join', 'pair', 'free');
  world.cli('model', 'group', 'join', 'pair', 'second');
  world.cli('team', 'add', 'house', '--parent', 'everyone');
  world.cli('team', 'add', 'room', '--parent', 'house');
  const gina = world.onboard('gina', 'room'), hugo = world.onboard('hugo', 'room');
  world.cli('quota', 'set', '--team', 'house', '--model-group', 'pair', '--limit', 'requests/day=3');
  fake.answer = (response) => whole(response, 'fine', usage(10, 1));
  const ask = async (key, model) => (await world.chat(key, { model, max_tokens: 5 })).status;
  assert.deepEqual([await ask(gina, 'free'), await ask(hugo, 'second'), await ask(gina, 'second')], [200, 200, 200]);
  assert.deepEqual([await ask(gina, 'free'), await ask(hugo, 'second'), await ask(gina, 'dear')], [429, 429, 200]);
  // Out of the group, out of its quota; at once.
  world.cli('model', 'group', 'leave', 'pair', 'second');
  assert.deepEqual([await ask(hugo, 'second'), await ask(hugo, 'free')], [200, 429]);
  assert.match(world.cli('quota', 'list', '--team', 'house'), /group pair/);
  assert.throws(() => world.cli('model', 'group', 'remove', 'pair'), /has quotas/);
  assert.throws(() => world.cli('quota', 'set', '--team', 'house', '--model-group', 'pair', '--model', 'free', '--limit', 'requests/day=3'), /not both/);
  assert.throws(() => world.cli('quota', 'set', '--team', 'house', '--model-group', 'pear', '--limit', 'requests/day=3'), /did you mean "pair"/);
  assert.throws(() => world.cli('quota', 'set', '--team', 'house', '--limit', 'concurrent_requests/day=3'), /"now" goes with concurrent_requests/);
});
