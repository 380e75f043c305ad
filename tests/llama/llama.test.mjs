// SPDX-License-Identifier: Apache-2.0
//
// A real engine behind the proxy: chat, stream, usage, and what it must not
// be asked. Its own counters (/metrics) say what it did.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { World, messages, sleep, until, dechunk, events } from '../e2e/harness.mjs';
import { Llama } from './server.mjs';

let world, key, llama;

const direct = (path, body) => llama.direct(path, body);
const metrics = () => llama.metrics();

before(async (t) => {
  llama = await Llama.make();
  t.diagnostic?.(llama.build);
  world = await World.make();
  world.cli('engine', 'add', 'llama', llama.url, '--kind', 'llama-server');
  world.cli('model', 'add', 'llama', '--engine', 'llama', '--approve');
  world.cli('model', 'group', 'join', 'large', 'llama');
  key = world.onboard('alice');
});
after(async () => {
  await world.end();
  llama.end();
});

const ai = () => world.client(key);

test('chat, with the engine\'s own figures', async () => {
  const { data, response } = await ai().chat.completions.create({ model: 'llama', messages, max_tokens: 12, temperature: 0 }).withResponse();
  assert.equal(data.usage.completion_tokens, 12);
  assert.equal(data.choices[0].finish_reason, 'length');
  assert.ok(data.choices[0].message.content.length > 10);
  const same = await direct('/v1/chat/completions', { model: 'llama', messages, max_tokens: 12, temperature: 0 });
  assert.deepEqual(data.choices[0].message.content, same.choices[0].message.content);
  assert.equal(data.usage.prompt_tokens, same.usage.prompt_tokens);
  const record = await world.record(response.headers.get('x-request-id'));
  assert.deepEqual([record.outcome, record.engine, record.inputTokens, record.outputTokens],
    ['ok', 'llama', data.usage.prompt_tokens, 12]);
});

test('a stream: the text of the whole answer, and its usage', async () => {
  const ask = { model: 'llama', messages, max_tokens: 20, temperature: 0 };
  const whole = await ai().chat.completions.create(ask);
  let text = '', usage = null;
  for await (const chunk of await ai().chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, 20);
  assert.equal(usage.prompt_tokens, whole.usage.prompt_tokens);
});

test('a stream whose usage was not asked for: hidden, and on record', async () => {
  const line = await world.open();
  line.post(key, { model: 'llama', max_tokens: 9, temperature: 0, stream: true });
  await line.sees(/\r\n0\r\n\r\n$/);
  const data = events(dechunk(line.text).body);
  assert.equal(data.at(-1), '[DONE]');
  for (const one of data.slice(0, -1)) assert.equal(JSON.parse(one).choices.length, 1, one);
  const record = await world.record(line.id());
  assert.equal(record.outputTokens, 9);
  assert.ok(record.inputTokens > 0);
  line.socket.destroy();
});

test('completions and responses', async () => {
  const completion = await ai().completions.create({ model: 'llama', prompt: 'the work', max_tokens: 7, temperature: 0 });
  assert.equal(completion.usage.completion_tokens, 7);
  const response = await ai().responses.create({ model: 'llama', input: 'the work', max_output_tokens: 15, temperature: 0 });
  assert.ok(response.output_text.length > 0);
  assert.equal(response.usage.output_tokens, 15);
  const types = [];
  for await (const event of await ai().responses.create({ model: 'llama', input: 'the work', max_output_tokens: 15, temperature: 0, stream: true })) types.push(event.type);
  assert.equal(types.at(-1), 'response.completed');
});

test('the engine\'s other ways to ask for more are closed', async () => {
  const ask = (more) => world.chat(key, { model: 'llama', temperature: 0, ...more });
  const answer = await ask({ max_tokens: 5, n_predict: 300, ignore_eos: true, lora: [{ id: 0, scale: 1 }] });
  assert.equal(answer.status, 200, answer.body);
  assert.equal(JSON.parse(answer.body).usage.completion_tokens, 5);
  assert.deepEqual(answer.headers['x-bailiff-stripped-fields'].split(', ').sort(), ['ignore_eos', 'lora']);
  const both = JSON.parse((await ask({ max_tokens: undefined, max_completion_tokens: 6 })).body);
  assert.equal(both.usage.completion_tokens, 6);
  for (const path of ['/props', '/slots', '/metrics', '/lora-adapters', '/tokenize', '/completion', '/models'])
    assert.equal((await world.request('GET', path, { key })).status, 404, path);
});

test('the quota holds what the engine says', async () => {
  const bob = world.onboard('bob');
  world.cli('quota', 'set', '--caller', 'bob', '--tokens-per-day', '3000');
  let sum = 0;
  for (let i = 0; i < 4; i++)
    sum += (await world.client(bob).chat.completions.create({ model: 'llama', messages, max_tokens: 10 + i })).usage.total_tokens;
  for await (const chunk of await world.client(bob).chat.completions.create({ model: 'llama', messages, max_tokens: 30, stream: true, stream_options: { include_usage: true } }))
    sum += chunk.usage?.total_tokens ?? 0;
  await until(() => world.json('quota', 'usage', '--caller', 'bob').items[0].used === sum, `${sum} tokens on bob's quota`);
});

test('what is denied does not move the engine\'s counters', async () => {
  const ivy = world.onboard('ivy', 'interns');
  const poor = world.onboard('poor');
  world.cli('quota', 'set', '--caller', 'poor', '--tokens-per-day', '10');
  const before = await metrics();
  assert.equal((await world.chat(ivy, { model: 'llama' })).status, 403);
  assert.equal((await world.chat(ivy, { model: 'llama', stream: true })).status, 403);
  assert.equal((await world.chat('blf_nobody', { model: 'llama' })).status, 401);
  assert.equal((await world.chat(poor, { model: 'llama', max_tokens: 500 })).status, 429);
  assert.deepEqual(await metrics(), before);
});

test('a caller that goes away stops the engine', async () => {
  const before = await metrics();
  const line = await world.open();
  line.post(key, { model: 'llama', max_tokens: 1900, temperature: 0, stream: true });
  await line.sees(/data: [^]*data: /);
  line.socket.destroy();
  await until(async () => (await metrics()).processing === 0, 'the engine to be idle');
  await sleep(100);
  const made = (await metrics()).predicted - before.predicted;
  assert.ok(made < 1900, `${made} tokens for nobody`);
  assert.equal((await world.record(line.id())).outcome, 'client_gone');
});

test('eight at once on two slots', async () => {
  const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => world.chat(key, { model: 'llama', max_tokens: 20, temperature: 0, stream: i % 2 === 1 })));
  for (const answer of answers) assert.equal(answer.status, 200, answer.body);
});

test('what the engine refuses comes back in its words', async () => {
  const answer = await world.chat(key, { model: 'llama', messages: [{ role: 'user', content: 'far too long '.repeat(3000) }] });
  assert.equal(answer.status, 400, answer.body);
  assert.equal(JSON.parse(answer.body).error.code, 'engine_refused');
  assert.match(JSON.parse(answer.body).error.message, /context/);
});
