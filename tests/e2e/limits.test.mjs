// SPDX-License-Identifier: Apache-2.0
//
// Limits of every kind: quotas, sizes, times, connections, and engines that
// cannot. What is refused never reaches the engine.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { World, messages, sleep, until, patience } from './harness.mjs';
import { FakeEngine, whole, stream, refuse, usage } from './fake-engine.mjs';

const limit = 700 * patience; // of an engine's silence
let world, alice, ivy, fake, tight, rita;
before(async () => {
  world = await World.make({ settings: `first_byte_timeout_ms = ${limit};\nstall_timeout_ms = ${limit};\nmax_body_bytes = "9MiB";\n` });
  alice = world.onboard('alice');
  ivy = world.onboard('ivy', 'interns');
  fake = await FakeEngine.make();
  world.cli('engine', 'add', 'fake', `http://127.0.0.1:${fake.port}`, '--kind', 'openai');
  world.cli('model', 'add', 'faulty', '--engine', 'fake', '--approve', '--default-max-tokens', '100');
  tight = await World.make({ workers: 1, settings: 'max_held_bytes = "1MiB";\nmax_body_bytes = "900KiB";\n' +
    'max_answer_bytes = "64KiB";\nmax_connections_per_address = 6;\nhead_timeout_ms = 400;\nbody_timeout_ms = 400;\nidle_timeout_ms = 800;\n' });
  rita = tight.onboard('rita');
});
after(async () => { await world.end(); await tight.end(); await fake.end(); });

const create = (key, body = {}, options = {}) =>
  world.client(key, options).chat.completions.create({ model: 'tiny', messages, max_tokens: 5, ...body });

// The SDK's error of a request that must not reach any engine.
async function refused(kind, work, fields = {}) {
  const asked = fake.requests;
  const error = await world.untouched(async () => {
    try { await work(); } catch (caught) { return caught; }
    return assert.fail('it was allowed');
  });
  assert.equal(fake.requests, asked);
  assert.ok(error instanceof OpenAI[kind], `${kind} expected, ${error?.constructor.name}: ${error?.message}`);
  for (const [name, value] of Object.entries(fields)) assert.equal(error[name], value, `${name} of ${error.message}`);
  assert.match(error.requestID, /^[0-9A-Z]{26}$/);
  assert.ok(!error.message.includes(messages[0].content), 'an error repeats the prompt');
  return error;
}

// --- Quotas --------------------------------------------------------------------

test('requests per minute: RateLimitError, to be tried again', async () => {
  const rob = world.onboard('rob');
  world.cli('quota', 'set', '--caller', 'rob', '--requests-per-minute', '3');
  for (let i = 0; i < 3; i++) await create(rob);
  const error = await refused('RateLimitError', () => create(rob), { status: 429, code: 'rate_limit_exceeded', type: 'rate_limit_error' });
  const wait = Number(error.headers.get('retry-after'));
  assert.ok(wait >= 1 && wait <= 60, `retry-after: ${wait}`);
  assert.equal(error.headers.get('x-should-retry'), null);
  assert.equal(error.headers.get('x-ratelimit-limit-requests'), '3');
  assert.equal(error.headers.get('x-ratelimit-remaining-requests'), '0');
  assert.match(error.headers.get('x-ratelimit-reset-requests'), /^(\d+m)?\d+s$|^\d+ms$/);
  assert.match(error.headers.get('ratelimit-policy'), /;q=3;w=60/);
  const record = await world.record(error.requestID);
  assert.deepEqual([record.decision, record.status], ['deny', 429]);
});

test('the SDK tries again after retry-after, and gets its answer', async () => {
  const ron = world.onboard('ron');
  world.cli('quota', 'set', '--caller', 'ron', '--requests-per-minute', '60');
  let done = 0;
  await Promise.all(Array.from({ length: 61 }, async () => { await create(ron, { max_tokens: 1 }, { maxRetries: 5 }); done++; }));
  assert.equal(done, 61);
});

test('tokens per day: insufficient_quota, not to be tried again; what is used is what the engine says', async () => {
  const tom = world.onboard('tom');
  world.cli('quota', 'set', '--caller', 'tom', '--tokens-per-day', '400');
  const used = () => world.json('quota', 'usage', '--caller', 'tom').items.find((item) => /tokens/.test(JSON.stringify(item)));
  let sum = 0;
  for (let i = 0; i < 5; i++) sum += (await create(tom, { max_tokens: 10 })).usage.total_tokens;
  for await (const chunk of await create(tom, { max_tokens: 10, stream: true, stream_options: { include_usage: true } }))
    sum += chunk.usage?.total_tokens ?? 0;
  await until(() => used().used === sum, () => `${JSON.stringify(used())} to be ${sum}`);
  const error = await refused('RateLimitError', () => create(tom, { max_tokens: 400 - sum }), { status: 429, code: 'insufficient_quota', type: 'insufficient_quota' });
  assert.equal(error.headers.get('x-should-retry'), 'false');
  const wait = Number(error.headers.get('retry-after'));
  assert.ok(wait >= 1 && wait <= 86400);
  assert.equal(used().used, sum);
  // One that has no cap of its own gets what is left.
  const last = await create(tom, { max_tokens: undefined });
  assert.ok(last.usage.total_tokens <= 400 - sum);
  const { headers } = await world.chat(tom, { max_tokens: 300 });
  assert.equal(headers['x-ratelimit-limit-tokens'], '400');
});

test('many at once never get more than the budget', async () => {
  const uma = world.onboard('uma');
  world.cli('quota', 'set', '--caller', 'uma', '--tokens-per-day', '1000');
  const before = (await world.counters()).generation;
  const all = await Promise.allSettled(Array.from({ length: 50 }, async () => {
    let total = 0;
    for await (const chunk of await create(uma, { max_tokens: 30, stream: true, stream_options: { include_usage: true } }))
      total = chunk.usage?.total_tokens ?? total;
    return total;
  }));
  const given = all.filter((one) => one.status === 'fulfilled').map((one) => one.value);
  const total = given.reduce((sum, one) => sum + one, 0);
  assert.ok(given.length >= 5 && total <= 1000, `${total} in ${given.length}`);
  for (const one of all) if (one.status === 'rejected') assert.equal(one.reason.code, 'insufficient_quota');
  const now = (await world.counters()).generation;
  assert.equal(now.requests - before.requests, given.length);
  assert.equal(now.prompt_tokens + now.completion_tokens - before.prompt_tokens - before.completion_tokens, total);
});

test('an answer without usage is charged what can be counted, never nothing', async () => {
  const val = world.onboard('val');
  world.cli('quota', 'set', '--caller', 'val', '--tokens-per-day', '5000');
  const used = () => world.json('quota', 'usage', '--caller', 'val').items[0].used;
  fake.answer = (response) => whole(response, 'some words without a count', null);
  await create(val, { model: 'faulty', max_tokens: 40 });
  const first = used();
  assert.ok(first > 40, `${first}`); // the prompt's bound and the cap
  fake.answer = (response) => whole(response, 'x', usage(0, 0));
  await create(val, { model: 'faulty', max_tokens: 40 });
  assert.equal(used(), first); // an explicit nothing is the engine's word
});

// --- The SDK's classes -----------------------------------------------------------

test('401: AuthenticationError', async () => {
  for (const key of ['nothing', 'blf_nothing', alice.slice(0, -1) + (alice.endsWith('A') ? 'B' : 'A')]) {
    const error = await refused('AuthenticationError', () => create(key), { status: 401, code: 'invalid_api_key', type: 'authentication_error' });
    assert.match(error.headers.get('www-authenticate'), /^Bearer/);
    assert.equal(error.headers.get('x-should-retry'), 'false');
    assert.ok(!error.message.includes(key));
  }
});

test('403: PermissionDeniedError, naming the rule, its message and whom to ask', async () => {
  const error = await refused('PermissionDeniedError', () => create(ivy, { model: 'big' }), { status: 403, code: 'policy_denied', type: 'permission_error', param: 'model' });
  assert.equal(error.headers.get('x-should-retry'), 'false');
  assert.match(error.message, /interns-small-models/);
  assert.match(error.message, /The large models are not for interns/);
  const record = await world.record(error.requestID);
  assert.deepEqual([record.decision, record.status, record.policies], ['deny', 403, ['interns-small-models']]);
  await refused('PermissionDeniedError', () => create(ivy, { model: 'big', stream: true }), { status: 403 });
  await refused('PermissionDeniedError', () => create(alice, { model: 'draft' }), { status: 403, code: 'policy_denied' });
});

test('404: NotFoundError, listing what this caller may use', async () => {
  const error = await refused('NotFoundError', () => create(alice, { model: 'gpt-9' }), { status: 404, code: 'model_not_found', param: 'model', type: 'invalid_request_error' });
  for (const name of ['tiny', 'big', 'faulty']) assert.match(error.message, new RegExp(`\\b${name}\\b`));
  assert.doesNotMatch(error.message, /draft/);
  const hers = await refused('NotFoundError', () => create(ivy, { model: 'gpt-9' }), { status: 404 });
  assert.doesNotMatch(hers.message, /\bbig\b/);
  await refused('NotFoundError', () => world.client(alice).models.retrieve('gpt-9'), { status: 404 });
  await refused('NotFoundError', () => world.client(ivy).models.retrieve('draft'), { status: 404 });
  await refused('NotFoundError', () => world.client(alice).images.generate({ model: 'tiny', prompt: 'x' }), { status: 404 });
});

test('400: BadRequestError, naming the field', async () => {
  const bad = { max_tokens: -1, n: 'x', temperature: 'warm', stream: 'yes', messages: 'text' };
  for (const [name, value] of Object.entries(bad))
    await refused('BadRequestError', () => create(alice, { [name]: value }), { status: 400, param: name, type: 'invalid_request_error' });
  await refused('BadRequestError', () => create(alice, { model: 7 }), { status: 400, param: 'model' });
  await refused('BadRequestError', () => create(alice, { model: undefined }), { status: 400, param: 'model' });
  await refused('BadRequestError', () => create(alice, { messages: undefined }), { status: 400, param: 'messages' });
  await refused('BadRequestError', () => create(alice, { tools: [{ type: 'web_search' }] }), { status: 400 });
});

test('413 and 415: APIError with its status', async () => {
  const big = { messages: [{ role: 'user', content: 'x'.repeat(9.5 * 1024 * 1024) }] };
  await refused('APIError', () => create(alice, big), { status: 413, code: 'request_too_large' });
  await refused('APIError', () => world.client(alice, { defaultHeaders: { 'content-encoding': 'zstd' } })
    .chat.completions.create({ model: 'tiny', messages }), { status: 415, code: 'unsupported_encoding' });
  await world.untouched(async () => {
    const answer = await world.request('POST', '/v1/chat/completions', { key: alice, body: 'x', headers: { 'content-type': 'text/plain' } });
    assert.equal(answer.status, 415);
  });
});

test('405 names the methods', async () => {
  const answer = await world.request('GET', '/v1/chat/completions', { key: alice });
  assert.deepEqual([answer.status, answer.headers.allow], [405, 'POST']);
});

// --- Engines that cannot ---------------------------------------------------------

test('an engine that never answers: 504 within its time, and on record', async () => {
  fake.answer = () => {};
  const start = Date.now();
  const error = await create(alice, { model: 'faulty' }).catch((caught) => caught);
  const took = Date.now() - start;
  assert.ok(error instanceof OpenAI.InternalServerError && error.status === 504, `${error}`);
  assert.equal(error.code, 'upstream_unavailable');
  assert.ok(Number(error.headers.get('retry-after')) >= 1);
  assert.ok(took >= limit - 50 && took < limit + 4000 * patience, `${took} ms`);
  assert.equal((await world.record(error.requestID)).outcome, 'engine_error');
});

test('an engine that stops in the middle of a stream: the error event after its time', async () => {
  const { begin, say } = await import('./fake-engine.mjs');
  fake.answer = (response) => { begin(response); say(response, 'one'); };
  await assert.rejects(async () => { for await (const _ of await create(alice, { model: 'faulty', stream: true })); },
    (error) => error instanceof OpenAI.APIError && error.code === 'upstream_unavailable');
});

test('what engines answer instead', async () => {
  const ask = () => create(alice, { model: 'faulty' }).catch((caught) => caught);
  fake.answer = (response) => refuse(response, 500, 'secret stack trace');
  let error = await ask();
  assert.deepEqual([error.status, error.code], [502, 'upstream_unavailable']);
  fake.answer = (response) => refuse(response, 400, 'this model takes no tools');
  error = await ask();
  assert.deepEqual([error.status, error.code], [400, 'engine_refused']);
  assert.match(error.message, /takes no tools/);
  fake.answer = (response) => refuse(response, 401, 'bad engine key');
  assert.equal((await ask()).status, 502); // our credential, not the caller's
  fake.answer = (response) => refuse(response, 429, 'busy', { 'retry-after': '9' });
  assert.equal((await ask()).status, 503);
  await sleep(2100); // the breaker, after failures in a row
  fake.answer = (response) => { response.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello'); response.socket.end(); };
  assert.equal((await ask()).status, 502);
  fake.answer = (response) => { response.writeHead(302, { location: 'http://127.0.0.1:1/' }); response.end(); };
  assert.equal((await ask()).status, 502);
  await sleep(2100);
});

test('the engine is down: 503 at once; it comes back: answers again', async () => {
  fake.answer = (response) => whole(response);
  await until(async () => (await world.chat(alice, { model: 'faulty' })).status === 200, 'the engine to be used');
  await fake.down();
  // The first may find out by itself (502); then the health check knows.
  await until(async () => (await world.chat(alice, { model: 'faulty' })).status === 503, 'the health check to notice');
  const start = Date.now();
  const error = await create(alice, { model: 'faulty' }).catch((caught) => caught);
  assert.ok(Date.now() - start < 1500 * patience);
  assert.ok(error instanceof OpenAI.InternalServerError && error.status === 503, `${error}`);
  assert.equal(error.code, 'upstream_unavailable');
  assert.ok(Number(error.headers.get('retry-after')) >= 1);
  assert.equal((await create(alice)).choices.length, 1); // other engines go on
  await fake.up();
  await until(async () => (await world.chat(alice, { model: 'faulty' })).status === 200, 'the engine to be used again');
});

// --- Sizes ----------------------------------------------------------------------

test('8 MB go through whole, several at once', async () => {
  fake.answer = (response) => whole(response);
  fake.bodies = [];
  const content = 'word '.repeat(1_600_000);
  const answers = await Promise.all(Array.from({ length: 4 }, () => world.chat(alice, { model: 'faulty', messages: [{ role: 'user', content }] })));
  for (const answer of answers) assert.equal(answer.status, 200, answer.body);
  for (const body of fake.bodies) assert.equal(JSON.parse(body).messages[0].content, content);
  assert.equal(fake.bodies.length, 4);
  fake.bodies = [];
});

test('all bodies together are bounded: 503 for the next, and room again after', async () => {
  const head = (size) => `POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${rita}\r\nContent-Type: application/json\r\nContent-Length: ${size}\r\n\r\n`;
  const first = await tight.open(), second = await tight.open();
  await tight.untouched(async () => {
    first.socket.write(head(800000) + ' '.repeat(700000));
    await sleep(100);
    second.socket.write(head(800000) + ' '.repeat(700000));
    await second.sees(/^HTTP\/1\.1 503 [^]*overloaded/);
    assert.match(second.text, /retry-after: 1/i);
    await first.sees(/^HTTP\/1\.1 408 /); // its body does not come in time
  });
  first.socket.destroy();
  second.socket.destroy();
  await sleep(50);
  assert.equal((await tight.chat(rita, { messages: [{ role: 'user', content: 'x'.repeat(800000) }] })).status, 200);
});

test('a chunked body that grows too large: 413', async () => {
  const line = await tight.open();
  line.socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${rita}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`);
  for (let i = 0; i < 10; i++) line.socket.write(`19000\r\n${'x'.repeat(0x19000)}\r\n`);
  await line.sees(/^HTTP\/1\.1 413 /);
  line.socket.destroy();
});

test('an answer that is too large: 502, and the engine is let go', async () => {
  const source = await FakeEngine.make((response) => whole(response, 'x'.repeat(200000)));
  tight.cli('engine', 'add', 'wordy', `http://127.0.0.1:${source.port}`, '--kind', 'openai');
  tight.cli('model', 'add', 'wordy', '--engine', 'wordy', '--approve');
  const answer = await tight.chat(rita, { model: 'wordy' });
  assert.deepEqual([answer.status, JSON.parse(answer.body).error.code], [502, 'answer_too_large']);
  assert.equal((await tight.record(answer.headers['x-request-id'])).outcome, 'engine_error');
  await source.end();
});

test('a head that is too large: 431', async () => {
  const { text, closed } = await tight.raw(`GET /v1/models HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(40000)}\r\n\r\n`);
  assert.match(text, /^HTTP\/1\.1 431 /);
  assert.ok(closed);
});

// --- Times and connections --------------------------------------------------------

test('a head that does not end: 408; a silent connection: closed', async () => {
  const slow = await tight.raw('GET /v1/models HTTP/1.1\r\nHost: a\r\n', null, 3000);
  assert.match(slow.text, /^HTTP\/1\.1 408 /);
  assert.ok(slow.closed);
  const silent = await tight.raw('', null, 3000);
  assert.deepEqual(silent, { text: '', closed: true });
});

test('connections of one address are bounded; closed ones make room', async () => {
  const lines = await Promise.all(Array.from({ length: 6 }, () => tight.open()));
  const outcome = await tight.open().then((line) => { line.socket.destroy(); return 'open'; }, () => 'closed');
  assert.equal(outcome, 'closed');
  lines[0].socket.destroy();
  await until(() => tight.open().then((line) => { line.socket.destroy(); return true; }, () => false), 'room for another');
  for (const line of lines) line.socket.destroy();
});

test('streams of fakes still end well after all this', async () => {
  fake.answer = (response) => stream(response);
  let text = '';
  for await (const chunk of await create(alice, { model: 'faulty', stream: true })) text += chunk.choices[0].delta.content ?? '';
  assert.equal(text, 'one two three');
});
