// SPDX-License-Identifier: Apache-2.0
//
// The real `openai` package: answers, streams, and errors in its own classes.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { World, messages } from './harness.mjs';

let world, alice, ivy;
const client = (key, options) => world.client(key, options);

before(async () => {
  world = await World.make();
  alice = world.onboard('alice');
  ivy = world.onboard('ivy', 'interns');
});
after(() => world.end());

test('chat', async () => {
  const answer = await client(alice).chat.completions.create({ model: 'gpt-4o-mini', messages, max_tokens: 12 });
  assert.equal(answer.usage.completion_tokens, 12);
  assert.ok(answer.choices[0].message.content.length > 0);
});

test('a stream, without the usage chunk that was not asked for', async () => {
  const stream = await client(alice).chat.completions.create({ model: 'tiny', messages, max_tokens: 6, stream: true });
  let text = '', chunks = 0;
  for await (const chunk of stream) {
    chunks++;
    assert.equal(chunk.choices.length, 1);
    text += chunk.choices[0].delta.content ?? '';
  }
  assert.ok(chunks >= 6 && text.length > 0);
});

test('a stream with its usage where it was asked for', async () => {
  const stream = await client(alice).chat.completions.create(
    { model: 'tiny', messages, max_tokens: 6, stream: true, stream_options: { include_usage: true } });
  let usage = null;
  for await (const chunk of stream) usage = chunk.usage ?? usage;
  assert.equal(usage.completion_tokens, 6);
});

test('completions, responses, embeddings, models', async () => {
  const ai = client(alice);
  const completion = await ai.completions.create({ model: 'tiny', prompt: 'The town', max_tokens: 5 });
  assert.equal(completion.usage.completion_tokens, 5);
  const response = await ai.responses.create({ model: 'tiny', input: 'The library', max_output_tokens: 20 });
  assert.ok(response.output_text.length > 0);
  const events = [];
  for await (const event of await ai.responses.create({ model: 'tiny', input: 'The library', max_output_tokens: 20, stream: true }))
    events.push(event.type);
  assert.equal(events.at(-1), 'response.completed');
  const embedding = await ai.embeddings.create({ model: 'tiny', input: ['a boat', 'a book'], dimensions: 16 });
  assert.equal(embedding.data[1].embedding.length, 16);
  const models = (await ai.models.list()).data.map((model) => model.id);
  assert.deepEqual(models.sort(), ['big', 'tiny']);
  assert.equal((await ai.models.retrieve('tiny')).id, 'tiny');
});

async function refused(promise, kind, fields) {
  const before = await world.counters();
  let caught = null;
  try { await promise(); } catch (error) { caught = error; }
  assert.ok(caught instanceof OpenAI[kind], `${kind} expected, ${caught?.constructor.name}: ${caught?.message}`);
  for (const [name, value] of Object.entries(fields))
    assert.equal(caught[name], value, `${name}: ${caught.message}`);
  assert.deepEqual((await world.counters()).generation, before.generation);
  return caught;
}

test('each refusal in its class, and the engine asked nothing', async () => {
  const ask = (key, body) => () => client(key).chat.completions.create({ messages, ...body });
  await refused(ask('blf_nothing', { model: 'tiny' }), 'AuthenticationError', { status: 401, code: 'invalid_api_key' });
  const denied = await refused(ask(ivy, { model: 'big' }), 'PermissionDeniedError', { status: 403, code: 'policy_denied', type: 'permission_error' });
  assert.equal(denied.headers.get('x-should-retry'), 'false');
  assert.equal(denied.requestID?.length, 26);
  await refused(ask(alice, { model: 'draft' }), 'PermissionDeniedError', { status: 403 });
  const unknown = await refused(ask(alice, { model: 'nope' }), 'NotFoundError', { status: 404, code: 'model_not_found', param: 'model' });
  assert.match(unknown.message, /tiny/);
  await refused(ask(alice, { model: 'tiny', max_tokens: -1 }), 'BadRequestError', { status: 400, param: 'max_tokens' });
  await refused(ask(alice, { model: 'tiny', n: 'x' }), 'BadRequestError', { status: 400, param: 'n' });
  await refused(ask(alice, { model: 'tiny', messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://example.com/x.png' } }] }] }),
    'BadRequestError', { status: 400 });
});

test('quotas: too much for the day', async () => {
  const carol = world.onboard('carol');
  world.cli('quota', 'set', '--caller', 'carol', '--tokens-per-day', '60');
  const error = await refused(() => client(carol).chat.completions.create({ model: 'tiny', messages, max_tokens: 500 }),
    'RateLimitError', { status: 429, code: 'insufficient_quota' });
  assert.equal(error.headers.get('x-should-retry'), 'false');
});

test('a revoked key is refused at once', async () => {
  const dave = world.onboard('dave');
  await client(dave).chat.completions.create({ model: 'tiny', messages, max_tokens: 2 });
  const id = world.cli('key', 'list').split('\n').find((line) => / dave /.test(line)).match(/key_\w+/)[0];
  world.cli('key', 'revoke', id);
  await refused(() => client(dave).chat.completions.create({ model: 'tiny', messages }), 'AuthenticationError', { status: 401 });
});
