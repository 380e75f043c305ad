// SPDX-License-Identifier: Apache-2.0
//
// What else a quota may count: money by the price table, images and sound,
// bytes, requests at once; and the models of a group together.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { join } from 'node:path';
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
  // (The commands above keep this process, and so its engine, from answering.)
  await until(() => world.json('status').server.engines.some((one) => one.name === 'plain' && one.health === 'up'), 'the engine to be up');
});
after(async () => { await world.end(); await fake.end(); });

const limit = (handle, text, ...more) => world.cli('quota', 'set', '--caller', handle, '--limit', text, ...more);
const rows = (handle) => world.json('quota', 'usage', '--caller', handle).items;
const entries = (id) => world.json('audit', 'show', id).entries.map((one) => one.entry ?? one);
// The admin API itself.
const admin = (method, path, body) => new Promise((done, fail) => {
  const text = JSON.stringify(body);
  const request = http.request({ socketPath: join(world.state, 'admin.sock'), method, path, agent: false,
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } }, async (answer) => {
    let got = '';
    for await (const piece of answer) got += piece;
    if (answer.statusCode < 300) done(got); else fail(new Error(got));
  });
  request.on('error', fail);
  request.end(text);
});
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
  // The record can be asked for it, one by one and summed up.
  assert.equal(world.json('audit', 'query', '--id', paid.headers['x-request-id']).rows[0].cost, cost);
  const stats = world.json('audit', 'stats', '--by', 'caller,month', '--caller', 'mona');
  assert.deepEqual([stats.groups[0].cost, stats.groups[0].callerName, stats.behind], [cost, 'mona', 0]);
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

test('past its mark a quota warns: each answer by a header, the log and the webhook once in a window', async () => {
  const posted = [];
  const hook = http.createServer(async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    posted.push(JSON.parse(text));
    response.end('{}');
  });
  await new Promise((resolve) => { hook.listen(0, '127.0.0.1', resolve); });
  hook.unref();
  await admin('PUT', '/v1/settings/quota_webhook', { value: `http://127.0.0.1:${hook.address().port}/warn` });
  await assert.rejects(admin('PUT', '/v1/settings/quota_webhook', { value: 'ftp://x' }), /is no URL/);
  const key = world.onboard('sven');
  const quota = world.json('quota', 'set', '--caller', 'sven', '--limit', 'tokens/lifetime=300', '--warn-at', '50')[0];
  assert.deepEqual([quota.warnPercent, quota.zone], [50, '']);
  fake.answer = (response) => whole(response, 'fine', usage(40, 5));
  const ask = () => world.chat(key, { model: 'free', max_tokens: 5, messages: [{ role: 'user', content: 'x' }] });
  const warned = async () => world.json('audit', 'query', '--type', 'system.quota.warned').rows.filter((one) => one.object === quota.id);
  const first = await ask();
  assert.equal(first.headers['x-bailiff-quota-warning'], undefined);
  for (let i = 0; i < 2; i++) assert.equal((await ask()).status, 200);
  assert.equal((await warned()).length, 0); // 135 of 300
  await ask();
  await until(async () => (await warned()).length === 1, 'the event');
  await until(() => posted.length === 1, 'the webhook');
  const caller = world.json('caller', 'show', 'sven').id;
  assert.deepEqual(posted[0], { amount: 300, dimension: 'tokens', percent: 50, quota: quota.id, scope: 'caller', subject: caller, used: 180, window: 'lifetime' });
  assert.equal((await ask()).headers['x-bailiff-quota-warning'], `"${quota.id}";used=180;limit=300`);
  // The next run knows that it has been said; a new amount does not repeat it.
  await world.stop();
  await world.serve();
  const again = world.json('quota', 'set', '--caller', 'sven', '--limit', 'tokens/lifetime=400')[0];
  assert.deepEqual([again.id, again.warnPercent], [quota.id, 50]);
  assert.ok((await ask()).headers['x-bailiff-quota-warning']);
  assert.equal((await warned()).length, 1);
  assert.equal(posted.length, 1);
  await admin('PUT', '/v1/settings/quota_webhook', { value: '' });
  hook.close();
  hook.closeAllConnections();
});

test('a quota made in mid-window counts from now on, or what was used earlier, as it is told', async () => {
  const key = world.onboard('edda'), other = world.onboard('emil');
  fake.answer = (response) => whole(response, 'fine', usage(10, 5));
  const ask = async (who = key, model = 'free') => { const one = await world.chat(who, { model, max_tokens: 5 }); await world.record(one.headers['x-request-id']); return one.status; };
  assert.deepEqual([await ask(), await ask(), await ask(key, 'dear'), await ask(other)], [200, 200, 200, 200]);
  const set = (...more) => world.json('quota', 'set', '--caller', 'edda', ...more)[0];
  assert.equal(set('--limit', 'output_tokens/day=500').earlier, 0);
  const counted = set('--limit', 'tokens/day=500', '--count-earlier-use');
  const model = set('--limit', 'requests/lifetime=3', '--model', 'free', '--count-earlier-use');
  assert.deepEqual([counted.earlier, model.earlier], [45, 2]);
  const left = () => Object.fromEntries(rows('edda').map((one) => [one.dimension, one.remaining]));
  assert.deepEqual(left(), { output_tokens: 500, tokens: 455, requests: 1 });
  assert.deepEqual([await ask(), await ask()], [200, 429]);
  await until(() => left().tokens === 440, 'the charge');
  world.earlier = { ...world.earlier, [counted.id]: 45, [model.id]: 2 };
  await world.stop();
  assert.deepEqual(left(), { output_tokens: 495, tokens: 440, requests: 0 });
  await world.serve();
  assert.deepEqual([await ask(), await ask(key, 'dear')], [429, 200]);
  assert.throws(() => limit('edda', 'tokens/day=600', '--count-earlier-use'), /counting already/);
  assert.throws(() => limit('edda', 'images/day=6', '--count-earlier-use'), /does not know the images/);
  assert.throws(() => limit('edda', 'tokens/minute=6', '--count-earlier-use'), /has no earlier use/);
});

test('a quota may have a zone of its own', async () => {
  const key = world.onboard('zora');
  world.cli('quota', 'set', '--caller', 'zora', '--limit', 'requests/day=5', '--zone', 'Pacific/Kiritimati');
  world.cli('quota', 'set', '--caller', 'zora', '--limit', 'tokens/day=5000', '--zone', 'Pacific/Pago_Pago');
  fake.answer = (response) => whole(response, 'fine', usage(10, 5));
  assert.equal((await world.chat(key, { model: 'free', max_tokens: 5 })).status, 200);
  const since = Object.fromEntries(rows('zora').map((one) => [one.zone, one.since]));
  assert.match(since['Pacific/Kiritimati'], /T10:00:00\.000000Z$/); // UTC+14
  assert.match(since['Pacific/Pago_Pago'], /T11:00:00\.000000Z$/);  // UTC-11
  assert.throws(() => limit('zora', 'requests/day=5', '--zone', 'Europe/Berlyn'), /zone/);
  world.cli('quota', 'set', '--caller', 'zora', '--limit', 'requests/day=5', '--zone', '');
  assert.equal(rows('zora').find((one) => one.dimension === 'requests').zone, '');
});

test('a meter that should move and stands still raises an alarm, and takes it back', async () => {
  const key = world.onboard('mike');
  const stalled = () => world.json('status').server.meters.filter((one) => one.stalled).map((one) => one.name);
  await until(() => world.json('status').server.meters.some((one) => one.name === 'usage by engine plain'), 'the meters', 20000);
  assert.deepEqual(stalled(), []);
  fake.answer = (response) => whole(response, 'fine', null); // it has stopped to say what it used
  await until(async () => {
    assert.equal((await world.chat(key, { model: 'free', max_tokens: 5 })).status, 200);
    return stalled().length > 0;
  }, 'the alarm', 20000);
  assert.deepEqual(stalled(), ['usage by engine plain']);
  const events = (type) => world.json('audit', 'query', '--type', type).rows.map((one) => one.object);
  assert.deepEqual(await until(() => { const all = events('system.meter.stalled'); return all.length > 0 && all; }, 'the event'), ['usage by engine plain']);
  fake.answer = (response) => whole(response, 'fine', usage(10, 1));
  assert.equal((await world.chat(key, { model: 'free', max_tokens: 5 })).status, 200);
  await until(() => stalled().length === 0, 'its end', 20000);
  assert.deepEqual(events('system.meter.moving'), ['usage by engine plain']);
  const names = world.json('status').server.meters.map((one) => one.name);
  for (const one of ['ledger', 'entries on record', 'charges of quotas']) assert.ok(names.includes(one), names.join());
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
