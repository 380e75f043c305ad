// SPDX-License-Identifier: Apache-2.0
//
// Streams: callers who go away, who read slowly, who are many; engines that
// die in the middle.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { World, messages, sleep, until, dechunk, events, sanitizer, patience } from './harness.mjs';
import { FakeEngine, begin, say, finish, stream, usage } from './fake-engine.mjs';

// The demonstration engine's texts are short: sixteen of them take a while.
const long = { stream: true, n: 16, max_tokens: 4000 };
let world, key, fake;
before(async () => {
  world = await World.make({ engine: ['--token-delay-ms', '20'] });
  key = world.onboard('alice');
  fake = await FakeEngine.make();
  world.cli('engine', 'add', 'fake', `http://127.0.0.1:${fake.port}`, '--kind', 'openai');
  world.cli('model', 'add', 'faulty', '--engine', 'fake', '--approve');
});
after(async () => { await world.end(); await fake.end(); });

const idle = () => until(async () => (await world.counters()).generation.active === 0, 'the engine to be idle');

async function leave(how) {
  await idle();
  const before = (await world.counters()).generation;
  const line = await world.open();
  line.post(key, long);
  await line.sees(/data: [^]*data: /);
  assert.equal((await world.counters()).generation.active, before.active + 1);
  how(line);
  await idle();
  const now = (await world.counters()).generation;
  assert.equal(now.aborted, before.aborted + 1);
  assert.ok(now.completion_tokens - before.completion_tokens < 60, 'the engine went on for a long time');
  const record = await world.record(line.id());
  assert.equal(record.outcome, 'client_gone');
  assert.equal(record.engine, 'local');
  assert.ok(record.outputTokens >= 1 && record.outputTokens <= 16 * 4000);
}

test('a caller that resets its connection stops the engine', () => leave((line) => line.tcp.resetAndDestroy()));
test('a caller that closes its connection stops the engine', () => leave((line) => line.socket.destroy()));
test('a caller that says goodbye stops the engine', () => leave((line) => line.socket.end()));

test('the SDK cancels a stream', async () => {
  await idle();
  const before = (await world.counters()).generation;
  const answer = await world.client(key).chat.completions.create({ model: 'tiny', messages, ...long });
  let chunks = 0;
  for await (const _ of answer) if (++chunks === 3) break;
  await idle();
  assert.equal((await world.counters()).generation.aborted, before.aborted + 1);
});

test('a caller that leaves before the first byte stops the engine', async () => {
  fake.answer = () => {}; // never a word
  const gone = fake.gone;
  const line = await world.open();
  line.post(key, { model: 'faulty', stream: true });
  await until(() => fake.requests > 0, 'the request at the engine');
  line.socket.destroy();
  await until(() => fake.gone === gone + 1, 'the engine to be let go');
  const row = await until(() => world.json('audit', 'query', '--model', 'faulty').rows.find((one) => one.outcome), 'its record');
  assert.equal(row.outcome, 'client_gone');
});

// --- Engines that fail ---------------------------------------------------------

async function broken(answer) {
  fake.answer = answer;
  const line = await world.open();
  line.post(key, { model: 'faulty', stream: true, max_tokens: 50 });
  await line.sees(/\r\n0\r\n\r\n$/);
  assert.match(line.text, /^HTTP\/1\.1 200 /);
  const { body, whole } = dechunk(line.text);
  assert.ok(whole);
  const data = events(body).map((text) => (text === '[DONE]' ? text : JSON.parse(text)));
  const record = await world.record(line.id());
  line.socket.destroy();
  return { data, record };
}

const faults = {
  'dies in the middle of an event': (response) => {
    begin(response); say(response, 'one');
    response.write('data: {"choices":[{"index":0,"delta":{"content":"tw');
    setTimeout(() => response.destroy(), 50);
  },
  'closes without its end': (response) => { begin(response); say(response, 'one'); response.end(); },
};
for (const [name, fault] of Object.entries(faults)) {
  test(`an engine that ${name}: the error event, and on record`, async () => {
    const { data, record } = await broken(fault);
    assert.equal(data[1].choices[0].delta.content, 'one');
    assert.equal(data.at(-1).error?.code, 'upstream_unavailable', JSON.stringify(data));
    assert.equal(data.at(-1).error.type, 'api_error');
    assert.ok(!data.includes('[DONE]'));
    assert.equal(record.outcome, 'engine_error');
    assert.equal(record.status, 200);
  });
}

test('an engine that reports an error in its stream: the error goes through, and on record', async () => {
  const { data, record } = await broken((response) => {
    begin(response); say(response, 'one');
    response.end('data: {"error":{"message":"out of slots","type":"server_error","code":500}}\n\n');
  });
  assert.match(JSON.stringify(data.at(-1)), /"error":/);
  assert.equal(record.outcome, 'engine_error');
});

test('the SDK raises what broke a stream', async () => {
  fake.answer = faults['dies in the middle of an event'];
  const seen = [];
  await assert.rejects(async () => {
    const answer = await world.client(key).chat.completions.create({ model: 'faulty', messages, stream: true, max_tokens: 50 });
    for await (const chunk of answer) seen.push(chunk.choices[0].delta.content);
  }, (error) => error instanceof OpenAI.APIError && error.code === 'upstream_unavailable');
  assert.deepEqual(seen, ['', 'one']);
});

test('the process of the engine is killed in the middle', async () => {
  await idle();
  const line = await world.open();
  line.post(key, long);
  await line.sees(/data: [^]*data: /);
  await world.engine.stop('SIGKILL');
  await line.sees(/"error":[^]*\r\n0\r\n\r\n$/);
  assert.equal((await world.record(line.id())).outcome, 'engine_error');
  line.socket.destroy();
  await world.startEngine(['--token-delay-ms', '20'], world.enginePort);
  await until(async () => (await world.chat(key)).status === 200, 'the engine to be used again');
});

test('pieces cut anywhere, comments and other line ends arrive as they should', async () => {
  fake.answer = async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.socket.setNoDelay(true);
    const text = ': ping\r\n\r\ndata: {"choices":[{"index":0,"delta":{"content":"über"},"finish_reason":null}]}\r\n\r\n' +
      'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n' +
      `data: {"choices":[],"usage":${JSON.stringify(usage(4, 2))}}\n\ndata: [DONE]\n\n`;
    for (const byte of Buffer.from(text)) { response.write(Buffer.from([byte])); await new Promise(setImmediate); }
    response.end();
  };
  const line = await world.open();
  line.post(key, { model: 'faulty', stream: true, max_tokens: 50 });
  await line.sees(/\r\n0\r\n\r\n$/);
  const record = await world.record(line.id());
  assert.deepEqual([record.outcome, record.inputTokens, record.outputTokens], ['ok', 4, 2]);
  const data = events(dechunk(line.text).body);
  assert.equal(data.length, 3); // the usage was not asked for
  assert.equal(JSON.parse(data[0]).choices[0].delta.content, 'über');
  assert.equal(data[2], '[DONE]');
  line.socket.destroy();
});

// --- Many, and one after the other ------------------------------------------

test('50 streams at once: each whole and in order', async () => {
  const one = async (seed) => {
    const answer = await world.client(key).chat.completions.create(
      { model: 'faulty', messages, seed, max_tokens: 100, stream: true, stream_options: { include_usage: true } });
    let text = '', figures = null;
    for await (const chunk of answer) { text += chunk.choices[0]?.delta.content ?? ''; figures = chunk.usage ?? figures; }
    return { seed, text, figures };
  };
  fake.answer = async (response) => {
    const tag = JSON.parse(fake.bodies.shift()).seed;
    begin(response);
    for (let i = 0; i < 40; i++) { say(response, ` ${tag}:${i}`); if (i % 4 === 0) await sleep(2); }
    finish(response, usage(7, 40));
  };
  fake.bodies = [];
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => one(i + 1)));
  for (const { seed, text, figures } of all) {
    assert.equal(text, Array.from({ length: 40 }, (_, i) => ` ${seed}:${i}`).join(''));
    assert.equal(figures.completion_tokens, 40);
  }
});

test('50 streams of the demonstration engine at once', async () => {
  const before = (await world.counters()).generation;
  const all = await Promise.all(Array.from({ length: 50 }, async () => {
    const answer = await world.client(key).chat.completions.create(
      { model: 'tiny', messages, max_tokens: 20, stream: true, stream_options: { include_usage: true } });
    let made = 0;
    for await (const chunk of answer) made = chunk.usage?.completion_tokens ?? made;
    return made;
  }));
  const now = (await world.counters()).generation;
  assert.equal(all.reduce((sum, made) => sum + made, 0), now.completion_tokens - before.completion_tokens);
  assert.equal(now.requests, before.requests + 50);
});

test('streams sent ahead on one connection are answered in order, with others between', async () => {
  fake.bodies = [];
  fake.answer = (response) => stream(response, [`<${JSON.parse(fake.bodies.shift()).seed}>`], 5);
  const line = await world.open();
  line.post(key, { model: 'faulty', stream: true, seed: 1 });
  line.get(key, '/v1/models/tiny');
  line.post(key, { model: 'faulty', stream: true, seed: 2 });
  line.post(key, { max_tokens: 3 });
  line.post(key, { model: 'no-such-model' });
  line.post(key, { model: 'faulty', stream: true, seed: 3 });
  await line.sees(/<3>[^]*\r\n0\r\n\r\n$/);
  const order = [...line.text.matchAll(/<\d>|"id":"tiny"|"object":"chat\.completion"|model_not_found/g)].map((m) => m[0]);
  assert.deepEqual(order, ['<1>', '"id":"tiny"', '<2>', '"object":"chat.completion"', 'model_not_found', '<3>']);
  assert.deepEqual([...line.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((m) => m[1]), ['200', '200', '200', '200', '404', '200']);
  assert.ok(!line.ended);
  // And once more after a pause: the connection was kept.
  line.text = '';
  line.post(key, { model: 'faulty', stream: true, seed: 4 });
  await line.sees(/<4>[^]*\r\n0\r\n\r\n$/);
  line.socket.destroy();
});

// --- Slow readers --------------------------------------------------------------

const room = (response) => new Promise((resolve) => {
  const go = () => { response.off('drain', go); response.off('close', go); resolve(); };
  response.on('drain', go);
  response.on('close', go);
});

// Writes as fast as it is read: what it wrote is what somebody holds.
function flood(bytes) {
  const state = { written: 0 };
  const answer = async (response) => {
    begin(response);
    for (let made = 0; made < bytes && !response.destroyed; made += 1000, state.written += 1000) {
      if (!say(response, 'x'.repeat(1000)))
        await room(response);
    }
    if (!response.destroyed) finish(response);
  };
  return { state, answer };
}

test('readers that pause hold little memory and stall nobody', async (t) => {
  const alone = await World.make({ workers: 1, settings: `write_timeout_ms = ${4000 * patience};\n` });
  const source = await FakeEngine.make();
  try {
    const bob = alone.onboard('bob');
    alone.cli('engine', 'add', 'flood', `http://127.0.0.1:${source.port}`, '--kind', 'openai');
    alone.cli('model', 'add', 'flood', '--engine', 'flood', '--approve');
    const quick = async () => {
      const start = Date.now();
      assert.equal((await alone.chat(bob)).status, 200);
      return Date.now() - start;
    };
    for (let i = 0; i < 5; i++) await quick();
    const before = alone.memory();
    const { state, answer } = flood(40 << 20);
    source.answer = answer;
    const lines = await Promise.all(Array.from({ length: 12 }, () => alone.open()));
    for (const line of lines) {
      line.socket.pause();
      line.post(bob, { model: 'flood', stream: true, max_tokens: 60000 }); // a piece is a token
    }
    await until(() => source.requests === 12, 'the streams to begin');
    let held = -1; // until nothing moves any more
    await until(async () => { const was = held; held = state.written; await sleep(300 * patience); return was === held; }, 'the engine to stand still', 20000);
    const times = [];
    for (let i = 0; i < 20; i++) times.push(await quick());
    times.sort((a, b) => a - b);
    if (!sanitizer) assert.ok(times[10] < 200, `half of the others took ${times[10]} ms`);
    // What the engine gave is bounded by the buffers of the two sockets (the
    // kernel's, a few megabytes each); what the proxy holds is much less.
    const grown = alone.memory() - before;
    t.diagnostic(`12 readers that pause: ${grown >> 10} KiB, the engine gave ${state.written >> 10} KiB`);
    if (!sanitizer) assert.ok(grown < 12 << 20, `${grown} bytes for 12 readers that pause`);
    assert.ok(state.written < 12 * (20 << 20), `the engine gave ${state.written} bytes that nobody read`);
    // One of them reads again, all of it.
    lines[0].socket.resume();
    await until(() => lines[0].text.endsWith('\r\n0\r\n\r\n'), 'all of the stream', 60000);
    const said = events(dechunk(lines[0].text).body);
    assert.equal(said.at(-1), '[DONE]');
    assert.equal(said.length, Math.ceil((40 << 20) / 1000) + 3);
    assert.equal((await alone.record(lines[0].id())).outcome, 'ok');
    // The others are cut once they have refused to read for so long.
    await until(() => source.gone === 11, 'readers that never read to be cut', 15000);
    await until(() => alone.json('audit', 'query', '--outcome', 'client_gone').rows.length === 11, 'their records');
    for (const line of lines) line.socket.destroy();
  } finally {
    await alone.end();
    await source.end();
  }
});

test('a reader of a little at a time gets the whole of it', async () => {
  fake.answer = flood(4 << 20).answer;
  const line = await world.open();
  let pieces = 0, pauses = 0;
  line.socket.on('data', () => {
    if (++pieces % 40 !== 0) return;
    pauses++;
    line.socket.pause();
    setTimeout(() => line.socket.resume(), 20);
  });
  line.post(key, { model: 'faulty', stream: true, max_tokens: 6000 });
  await line.sees(/\r\n0\r\n\r\n$/, 20000);
  assert.ok(pauses > 20, `${pauses} pauses`);
  const said = events(dechunk(line.text).body);
  assert.equal(said.length, Math.ceil((4 << 20) / 1000) + 3);
  assert.equal(said.at(-1), '[DONE]');
  line.socket.destroy();
});
