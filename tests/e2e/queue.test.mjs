// SPDX-License-Identifier: Apache-2.0
//
// An engine has so many places. Who finds them taken waits: teams share what
// gets free by weight and priority, so a batch job waits for itself. Waiting
// is bounded in length and time, and who leaves, leaves the queue.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, messages, until } from './harness.mjs';
import { FakeEngine, whole, usage } from './fake-engine.mjs';

const PLACES = 2, LENGTH = 8;
let world, fake, held = [];
const keys = {};
before(async () => {
  world = await World.make({ settings: `queue_length = ${LENGTH}; queue_timeout_ms = 60000;\n` });
  fake = await FakeEngine.make((response) => { held.push(response); });
  world.cli('engine', 'add', 'small', `http://127.0.0.1:${fake.port}`, '--kind', 'openai', '--max-concurrent', String(PLACES));
  world.cli('model', 'add', 'busy', '--engine', 'small', '--approve');
  for (const team of ['nightly', 'clinic', 'press']) {
    world.cli('team', 'add', team, '--parent', 'everyone');
    keys[team] = world.onboard(`${team}-1`, team);
  }
  // (The commands above keep this process, and so its engine, from answering.)
  await until(() => world.json('status').server.engines.some((one) => one.name === 'small' && one.health === 'up'), 'the engine to be up');
});
after(async () => { await world.end(); await fake.end(); });

const waiting = (count) => until(() => world.json('status').server.requests.waiting === count, `${count} to wait`);
const reached = (count) => until(() => fake.requests >= count, () => `${count} requests at the engine (${fake.requests})`);
const ask = (team, what = team, more = {}) => world.chat(keys[team], { model: 'busy', max_tokens: 5, messages: [{ role: 'user', content: what }], ...more });
const whose = (at) => JSON.parse(fake.bodies[at]).messages[0].content;
const entries = (id) => world.json('audit', 'show', id).entries.map((one) => one.entry ?? one);
const error = (answer) => JSON.parse(answer.body).error;
function release() {
  const response = held.shift();
  whole(response, 'fine', usage(5, 1));
}
// Lets all go on until nobody is left.
async function drain(asked) {
  let over = false;
  const all = Promise.all(asked).then((answers) => { over = true; return answers; });
  await until(() => { while (held.length > 0) release(); return over; }, 'all answers');
  return all;
}

test('a batch that fills the queue does not keep another team\'s chat out', async () => {
  const first = fake.requests;
  const batch = [ask('nightly'), ask('nightly')];
  await reached(first + PLACES);
  for (let i = 0; i < LENGTH; i++) batch.push(ask('nightly'));
  await waiting(LENGTH);
  // One more of the same does not fit, and is told so at once.
  const full = await ask('nightly');
  assert.deepEqual([full.status, error(full).code, full.headers['retry-after']], [503, 'engine_busy', '2']);
  assert.equal(entries(full.headers['x-request-id'])[0].denied.stage, 'queue');
  // Another team's does: the newest of the batch has to go for it.
  const chat = ask('clinic');
  const pushed = await Promise.race(batch);
  assert.deepEqual([pushed.status, error(pushed).code], [503, 'engine_busy']);
  assert.match(error(pushed).message, /another team's/);
  // And of the next two places one is its own.
  release();
  release();
  await reached(first + PLACES + 2);
  assert.ok([whose(first + PLACES), whose(first + PLACES + 1)].includes('clinic'));
  const answers = await drain([...batch, chat]);
  assert.equal(answers.at(-1).status, 200);
  assert.equal(answers.filter((one) => one.status === 200).length, PLACES + LENGTH);
  // Nobody held more than the engine's places at once, and the record says who waited.
  assert.ok(entries(answers.at(-1).headers['x-request-id'])[0].waited > 0);
  assert.equal(entries(answers[0].headers['x-request-id'])[0].waited, undefined);
  await waiting(0);
});

test('shares go by the teams\' weights and by @priority', async () => {
  world.cli('team', 'weight', 'clinic', '3');
  assert.match(world.cli('team', 'list'), /clinic\s+everyone\s.*\s3\s/);
  const text = JSON.parse(world.cli('policy', 'show', '--json')).text;
  const file = join(world.dir, 'rules.cedar');
  writeFileSync(file, `${text}\n@id("press-last") @title("The press can wait") @priority("low")\n` +
    'permit (principal in Team::"press", action in Action::"infer", resource == Model::"busy");\n');
  world.cli('policy', 'put', file, '--activate');
  writeFileSync(file, `${text}\n@id("x") @title("x") @priority("urgent")\npermit (principal, action, resource);\n`);
  assert.throws(() => world.cli('policy', 'put', file), /"high", "normal" or "low"/);
  const first = fake.requests;
  const asked = [ask('press'), ask('press')];
  await reached(first + PLACES);
  for (let i = 0; i < 2; i++) for (const team of ['press', 'nightly', 'clinic', 'clinic']) asked.push(ask(team));
  await waiting(8);
  for (let i = 0; i < 4; i++) { release(); await reached(first + PLACES + i + 1); }
  const order = [0, 1, 2, 3].map((i) => whose(first + PLACES + i));
  assert.equal(order.filter((one) => one === 'clinic').length >= 2, true, order.join());
  assert.equal(order.filter((one) => one === 'press').length <= 1, true, order.join());
  const answers = await drain(asked);
  assert.ok(answers.every((one) => one.status === 200));
  const [candidate] = entries(answers[0].headers['x-request-id'])[0].candidates;
  assert.equal(candidate.priority, 'low');
});

test('who goes away or is locked out leaves the queue, and the engine never hears of it', async () => {
  const first = fake.requests;
  const asked = [ask('nightly'), ask('nightly')];
  await reached(first + PLACES);
  const line = await world.open();
  line.post(keys.clinic, { model: 'busy', messages: [{ role: 'user', content: 'gone' }] });
  await waiting(1);
  const locked = world.onboard('locked', 'press');
  const revoked = world.chat(locked, { model: 'busy', messages: [{ role: 'user', content: 'locked' }] });
  await waiting(2);
  line.tcp.destroy();
  await waiting(1);
  world.cli('caller', 'disable', 'locked');
  const answer = await revoked;
  assert.equal(answer.status, 401);
  await waiting(0);
  const denied = await until(() => world.json('audit', 'query', '--caller', 'clinic-1').rows.find((one) => one.status === 499), 'its denial');
  const [record] = entries(denied.id);
  assert.deepEqual([record.denied.stage, record.denied.code], ['queue', 'client_gone']);
  assert.ok(record.waited > 0);
  await drain(asked);
  assert.equal(fake.requests, first + PLACES);
});

test('an engine that comes back, or gets more places, takes those who wait', async () => {
  const first = fake.requests;
  const asked = [ask('nightly'), ask('nightly')];
  await reached(first + PLACES);
  asked.push(ask('clinic'));
  await waiting(1);
  world.cli('engine', 'change', 'small', '--max-concurrent', '3');
  await reached(first + PLACES + 1);
  await drain(asked);
  world.cli('engine', 'change', 'small', '--max-concurrent', String(PLACES));
});

test('waiting has an end', async () => {
  const other = await World.make({ settings: 'queue_timeout_ms = 300;\n' });
  try {
    const stuck = await FakeEngine.make(() => {});
    other.cli('engine', 'add', 'small', `http://127.0.0.1:${stuck.port}`, '--kind', 'openai', '--max-concurrent', '1');
    other.cli('model', 'add', 'busy', '--engine', 'small', '--approve');
    const key = other.onboard('ann');
    other.cli('quota', 'set', '--caller', 'ann', '--tokens-per-day', '100000');
    const line = await other.open();
    line.post(key, { model: 'busy', max_tokens: 5 });
    await until(() => stuck.requests === 1, 'the first');
    const late = await other.chat(key, { model: 'busy' });
    assert.deepEqual([late.status, error(late).code, late.headers['retry-after']], [503, 'engine_busy', '2']);
    const [record] = JSON.parse(other.cli('audit', 'show', late.headers['x-request-id'], '--json')).entries.map((one) => one.entry ?? one);
    assert.ok(record.waited >= 300000, String(record.waited));
    // Who waits holds no budget.
    const [budget] = other.json('quota', 'usage', '--caller', 'ann').items;
    assert.ok(budget.reserved > 0 && budget.reserved < 200, String(budget.reserved)); // the first one's alone
    line.tcp.destroy();
    await until(() => other.json('quota', 'usage', '--caller', 'ann').items[0].reserved === 0, 'the settlement');
    await stuck.end();
  } finally { await other.end(); }
});

test('a crowd before a full queue is refused, some with an entry, the rest on record by count', async () => {
  const other = await World.make({ workers: 1, settings: 'queue_length = 2; queue_timeout_ms = 60000; max_queue_ms = 0;\n' });
  try {
    other.cli('engine', 'add', 'small', `http://127.0.0.1:${fake.port}`, '--kind', 'openai', '--max-concurrent', '1');
    other.cli('model', 'add', 'busy', '--engine', 'small', '--approve');
    await until(() => other.json('status').server.engines.some((one) => one.name === 'small' && one.health === 'up'), 'the engine to be up');
    const key = other.onboard('dora');
    const first = fake.requests;
    const body = { model: 'busy', max_tokens: 5, messages };
    const taken = [other.chat(key, body)];
    await until(() => fake.requests === first + 1, 'the engine to be asked');
    taken.push(other.chat(key, body), other.chat(key, body));
    await until(() => other.json('status').server.requests.waiting === 2, 'two to wait');
    const crowd = 400;
    process.kill(other.server.pid, 'SIGSTOP'); // so that they come at once
    const asked = Array.from({ length: crowd }, () => other.chat(key, body));
    await new Promise((done) => { setTimeout(done, 2000); });
    process.kill(other.server.pid, 'SIGCONT');
    const got = await Promise.all(asked);
    for (const answer of got)
      assert.deepEqual([answer.status, error(answer).code, answer.headers['retry-after']], [503, 'engine_busy', '2']);
    assert.ok((await drain(taken)).every(({ status }) => status === 200));
    const written = () => other.json('audit', 'query', '--caller', 'dora', '--decision', 'deny', '--limit', '1000').rows.length;
    const counted = () => other.json('audit', 'query', '--type', 'auth.failed').rows
      .filter((row) => row.reason === 'overload').reduce((sum, row) => sum + row.count, 0);
    await until(() => written() + counted() === crowd, () => `${written()} written and ${counted()} counted to be ${crowd}`, 70000);
    assert.ok(written() >= 100, `${written()}`);
    assert.equal(await other.metric('bailiff_overload_refused_total'), counted());
  } finally { await other.end(); }
});
