// SPDX-License-Identifier: Apache-2.0
//
// Budgets: nothing passes them, whatever runs at once, hangs up, fails or is
// killed, and nearly all of one can be spent. Where the upper bound does not
// fit, the engine's tokeniser is asked, on record first.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { World, messages, sleep, until, dechunk, events } from './harness.mjs';
import { FakeEngine, whole, refuse, usage, begin, say, finish, endless } from './fake-engine.mjs';

let world, fake;
before(async () => {
  world = await World.make({ settings: 'tokeniser_timeout_ms = 600;\n' });
  fake = await FakeEngine.make();
  const url = `http://127.0.0.1:${fake.port}`;
  for (const [engine, kind] of [['llama', 'llama-server'], ['vllm', 'vllm'], ['plain', 'openai']]) {
    world.cli('engine', 'add', engine, url, '--kind', kind);
    world.cli('model', 'add', `on-${engine}`, '--engine', engine, '--approve', '--default-max-tokens', '50');
  }
});
after(async () => { await world.end(); await fake.end(); });

const budget = (handle, tokens) => world.cli('quota', 'set', '--caller', handle, '--tokens-per-day', String(tokens));
const row = (handle) => world.json('quota', 'usage', '--caller', handle).items[0];
const used = (handle) => row(handle).used;
// Text that makes many bytes and few tokens: eight letters are one.
const prompt = (tokens) => [{ role: 'user', content: 'abcdefgh'.repeat(tokens) }];
const entries = (id) => world.json('audit', 'show', id).entries;
const kinds = (id) => entries(id).map((one) => one.type ?? one.entry.type);
const json = (response, body) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};

test('50 streams at once on a budget of 1,000 tokens stay within it; one by one nine tenths of it can be spent', async () => {
  const key = world.onboard('fifty');
  budget('fifty', 1000);
  const before = (await world.counters()).generation;
  const stream = async (cap) => {
    const answer = await world.chat(key, { max_tokens: cap, stream: true, stream_options: { include_usage: true } });
    if (answer.status === 429) return null;
    assert.equal(answer.status, 200, answer.body);
    return JSON.parse(events(answer.body).at(-2)).usage.total_tokens;
  };
  const given = (await Promise.all(Array.from({ length: 50 }, () => stream(20)))).filter((one) => one !== null);
  let total = given.reduce((sum, one) => sum + one, 0);
  assert.ok(given.length >= 1 && total <= 1000, `${total} in ${given.length}`);
  assert.equal(used('fifty'), total);
  for (let i = 0; i < 100; i++) {
    const one = await stream(20);
    if (one === null) break;
    total += one;
  }
  assert.ok(total >= 900 && total <= 1000, `${total} could be spent`);
  assert.equal(used('fifty'), total);
  const now = (await world.counters()).generation;
  assert.equal(now.prompt_tokens + now.completion_tokens - before.prompt_tokens - before.completion_tokens, total);
});

test('where the bound does not fit, the tokeniser is asked: on record first, then only its counter moves', async () => {
  const key = world.onboard('mia');
  budget('mia', 120);
  const before = await world.counters();
  // 320 bytes of 40 tokens: the bound is over the budget, the truth is not.
  const fits = await world.chat(key, { messages: prompt(40), max_tokens: 20 });
  assert.equal(fits.status, 200, fits.body);
  const after = await world.counters();
  assert.equal(after.tokenising.requests, before.tokenising.requests + 1);
  assert.equal(after.generation.requests, before.generation.requests + 1);
  await world.record(fits.headers['x-request-id']);
  assert.deepEqual(kinds(fits.headers['x-request-id']), ['request.measured', 'request.admitted', 'request.completed']);
  const [measured, admitted] = entries(fits.headers['x-request-id']).map((one) => one.entry ?? one);
  assert.equal(measured.engine, 'local');
  assert.ok(measured.input.bound > 320 && measured.quotas[0].asked > 120, JSON.stringify(measured.quotas));
  const { prompt_tokens, total_tokens } = JSON.parse(fits.body).usage;
  assert.equal(admitted.input.bound, prompt_tokens);
  assert.equal(used('mia'), total_tokens);
  // What truly does not fit is counted, refused, and not generated.
  const left = 120 - total_tokens;
  const refused = await world.chat(key, { messages: prompt(40), max_tokens: left - 10 });
  assert.equal(refused.status, 429);
  assert.deepEqual(kinds(refused.headers['x-request-id']), ['request.measured', 'request.denied']);
  const last = await world.counters();
  assert.equal(last.tokenising.requests, after.tokenising.requests + 1);
  assert.deepEqual(last.generation, after.generation);
  assert.equal(used('mia'), total_tokens);
});

test('without a cap of its own a request gets all that is truly left', async () => {
  const key = world.onboard('leo');
  budget('leo', 200);
  const answer = await world.chat(key, { messages: prompt(15), max_tokens: undefined });
  assert.equal(answer.status, 200, answer.body);
  const [, admitted] = entries(answer.headers['x-request-id']).map((one) => one.entry ?? one);
  assert.equal(admitted.capInjected, true);
  assert.equal(admitted.cap, 200 - JSON.parse(answer.body).usage.prompt_tokens);
  assert.ok(used('leo') <= 200);
});

test('completions, responses and embeddings are counted, too', async () => {
  const key = world.onboard('una');
  const text = 'abcdefgh'.repeat(40);
  let spent = 0;
  for (const [path, body] of [['completions', { prompt: text, max_tokens: 5 }], ['completions', { prompt: [text], max_tokens: 5 }],
    ['responses', { input: text, max_output_tokens: 5 }], ['embeddings', { input: text }]]) {
    budget('una', spent + 100);
    const answer = await world.request('POST', `/v1/${path}`, { key, body: { model: 'tiny', ...body } });
    assert.equal(answer.status, 200, `${path}: ${answer.body}`);
    assert.equal(kinds(answer.headers['x-request-id'])[0], 'request.measured', path);
    spent += JSON.parse(answer.body).usage.total_tokens;
    assert.equal(used('una'), spent);
  }
});

test('a tokeniser is not asked for what policy denies, nor where no count would help', async () => {
  const ivy = world.onboard('ivan', 'interns');
  const key = world.onboard('nora');
  budget('ivan', 50);
  world.cli('quota', 'set', '--caller', 'nora', '--requests-per-day', '1');
  await world.chat(key);
  budget('nora', 60);
  await world.untouched(async () => {
    assert.equal((await world.chat(ivy, { model: 'big', messages: prompt(40) })).status, 403);
    assert.equal((await world.chat(key, { messages: prompt(40) })).status, 429); // no request is left
    assert.equal((await world.chat(key, { messages: prompt(40), max_tokens: 61 })).status, 429); // the cap alone is too much
  });
});

test('llama-server is asked for the prompt, then for its tokens; vLLM at once; what has no tokeniser is refused by the bound', async () => {
  const key = world.onboard('kai');
  budget('kai', 120);
  const seen = [];
  fake.answer = (response, request) => {
    const body = JSON.parse(fake.bodies.at(-1));
    seen.push([request.url, body]);
    if (request.url === '/apply-template') json(response, { prompt: '<|user|>"words"\n<|end|>' });
    else if (request.url === '/tokenize' && body.content) json(response, { tokens: Array.from({ length: 30 }, (_, i) => i) });
    else if (request.url === '/tokenize') json(response, { count: 31, max_model_len: 4096, tokens: [1] });
    else whole(response, 'fine', usage(30, 3));
  };
  const llama = await world.chat(key, { model: 'on-llama', messages: prompt(40), max_tokens: 10 });
  assert.equal(llama.status, 200, llama.body);
  assert.deepEqual(seen.map(([url]) => url), ['/apply-template', '/tokenize', '/v1/chat/completions']);
  assert.deepEqual(seen[0][1].messages, prompt(40));
  assert.deepEqual(seen[1][1], { add_special: true, content: '<|user|>"words"\n<|end|>', parse_special: true });
  assert.equal(used('kai'), 33);
  seen.length = 0;
  const vllm = await world.chat(key, { model: 'on-vllm', messages: prompt(40), max_tokens: 10 });
  assert.equal(vllm.status, 200, vllm.body);
  assert.deepEqual(seen.map(([url]) => url), ['/tokenize', '/v1/chat/completions']);
  assert.deepEqual([seen[0][1].model, seen[0][1].messages], ['on-vllm', prompt(40)]);
  assert.equal(used('kai'), 66);
  const plain = fake.requests;
  assert.equal((await world.chat(key, { model: 'on-plain', messages: prompt(40), max_tokens: 10 })).status, 429);
  assert.equal(fake.requests, plain);
});

test('a tokeniser that fails, lies or sleeps lets nothing pass', async () => {
  const key = world.onboard('fay');
  budget('fay', 120);
  const answers = [
    (response) => refuse(response, 500),
    (response) => json(response, { count: 0 }),
    (response) => json(response, { count: -5 }),
    (response) => json(response, { count: 1.5 }),
    (response) => json(response, []),
    (response) => { response.writeHead(200); response.end('no JSON'); },
    (response) => response.destroy(),
    () => {}, // says nothing
  ];
  for (const answer of answers) {
    fake.answer = (response, request) =>
      request.url === '/tokenize' ? answer(response) : assert.fail('it was generated');
    const refused = await world.chat(key, { model: 'on-vllm', messages: prompt(40), max_tokens: 10 });
    assert.equal(refused.status, 429, answer.toString());
    assert.equal(used('fay'), 0);
  }
  // Who set no cap gets what the bound leaves.
  fake.answer = (response, request) =>
    request.url === '/tokenize' ? refuse(response, 500) : whole(response, 'fine', usage(9, 3));
  const bound = await world.chat(key, { model: 'on-vllm', messages: prompt(8), max_tokens: undefined });
  assert.equal(bound.status, 200, bound.body);
});

test('a caller who hangs up while its tokens are counted is on record, and costs nothing', async () => {
  const key = world.onboard('gus');
  budget('gus', 120);
  let asked = 0;
  fake.answer = () => { asked++; };
  const line = await world.open();
  const gone = fake.gone;
  line.post(key, { model: 'on-vllm', messages: prompt(40), max_tokens: 10 });
  await until(() => asked === 1, 'the tokeniser to be asked');
  line.tcp.destroy();
  await until(() => fake.gone === gone + 1, 'the tokeniser to be left');
  const denied = await until(() => world.json('audit', 'query', '--caller', 'gus').rows.find((one) => one.status === 499), 'its denial');
  assert.deepEqual(kinds(denied.id), ['request.measured', 'request.denied']);
  assert.equal(used('gus'), 0);
});

test('hang-ups, engine errors and failover settle what is true', async () => {
  const key = world.onboard('sam');
  budget('sam', 100000);
  const chat = (body) => world.chat(key, { model: 'on-plain', max_tokens: 20, ...body });
  // An engine's error costs nothing, its refusal neither.
  for (const status of [500, 400]) {
    fake.answer = (response) => refuse(response, status);
    assert.ok((await chat()).status >= 400);
    assert.equal(used('sam'), 0);
  }
  // A second engine takes over: paid once.
  world.cli('engine', 'add', 'dead', 'http://127.0.0.1:9', '--kind', 'openai');
  world.cli('model', 'add', 'two', '--engine', 'dead', '--approve');
  world.cli('model', 'target', 'two', 'plain', '--priority', '1');
  fake.answer = (response) => whole(response, 'fine', usage(9, 3));
  assert.equal((await chat({ model: 'two' })).status, 200);
  assert.equal(used('sam'), 12);
  // Hung up in the middle: what was seen and a little more, never the cap.
  fake.answer = (response) => { begin(response); say(response, 'one'); };
  const line = await world.open();
  line.post(key, { model: 'on-plain', max_tokens: 5000, stream: true });
  await line.sees(/one/);
  line.tcp.destroy();
  const bound = await until(() => used('sam') < 5000 && used('sam') > 12 && used('sam'), 'the settlement');
  assert.ok(bound - 12 < 700, `${bound}`);
  // A stream that ends well is what the engine says.
  fake.answer = (response) => { begin(response); say(response, 'one'); finish(response, usage(7, 1)); };
  const stream = await chat({ stream: true });
  assert.equal(stream.status, 200);
  assert.equal(used('sam'), bound + 8);
});

test('an engine that goes on past its cap is cut, and the charge is what was reserved', async () => {
  const key = world.onboard('otto');
  budget('otto', 1000);
  fake.answer = endless;
  const line = await world.open();
  const gone = fake.gone;
  line.post(key, { model: 'on-plain', max_tokens: 20, stream: true });
  await line.sees(/over_reservation/);
  await until(() => fake.gone === gone + 1, 'the engine to be left');
  const record = await world.record(line.id());
  assert.deepEqual([record.outcome, record.reason], ['cut', 'over_reservation']);
  const [admitted, completed] = entries(line.id()).map((one) => one.entry ?? one);
  assert.equal(completed.usage.output, 20);
  assert.equal(used('otto'), admitted.input.bound + 20);
  assert.ok(events(dechunk(line.text).body).length < 20 + 30);
  line.tcp.destroy();
});

test('what will be spent when, at the present rate', async () => {
  const key = world.onboard('fred');
  world.cli('quota', 'set', '--caller', 'fred', '--limit', 'requests/lifetime=3');
  world.cli('quota', 'set', '--caller', 'fred', '--tokens-per-day', '1000000000');
  const of = (dimension) => world.json('quota', 'usage', '--caller', 'fred').items.find((one) => one.dimension === dimension);
  assert.equal(of('requests').forecast, null);
  await world.chat(key);
  // One in t seconds, two are left: in 2 t more.
  const one = of('requests'), created = Date.parse(one.created), left = Date.parse(one.forecast) - Date.now();
  assert.ok(left > 0 && left <= 2 * (Date.now() - created) + 1000, JSON.stringify(one));
  assert.equal(one.since, null);
  const day = of('tokens');
  assert.equal(day.forecast, null); // not before it is full again
  assert.ok(Date.parse(day.since) <= Date.now() && Date.parse(day.resets) === Date.parse(day.since) + 86400e3);
  assert.match(world.cli('quota', 'usage', '--caller', 'fred'), /SPENT BY/);
});

test('a kill in the middle costs the reservation; quota usage says so on line and off line', async () => {
  const key = world.onboard('zoe');
  budget('zoe', 5000);
  world.cli('quota', 'set', '--caller', 'zoe', '--requests-per-minute', '30');
  const done = JSON.parse((await world.chat(key)).body).usage.total_tokens;
  fake.answer = (response) => { begin(response); say(response, 'one'); };
  const line = await world.open();
  line.post(key, { model: 'on-plain', max_tokens: 300, stream: true });
  await line.sees(/one/);
  const [{ cap, input }] = entries(line.id()).map((one) => one.entry ?? one);
  const tokens = () => world.json('quota', 'usage', '--caller', 'zoe').items.find((one) => one.dimension === 'tokens');
  assert.equal(tokens().reserved, cap + input.bound);
  await world.stop('SIGKILL');
  const held = done + cap + input.bound;
  const check = (item) => {
    assert.deepEqual([item.scope, item.shown, item.dimension, item.window, item.amount],
      ['caller', 'zoe', 'tokens', 'day', 5000]);
    assert.deepEqual([item.used, item.remaining, item.reserved], [held, 5000 - held, 0]);
    assert.ok(Date.parse(item.resets) > Date.now() && Date.parse(item.resets) <= Date.now() + 86400e3);
  };
  check(tokens()); // off line: the log's own words
  await world.serve();
  check(tokens());
  assert.match(world.cli('quota', 'usage', '--caller', 'zoe'), /zoe.*tokens.*day/);
  const record = await world.record(line.id());
  assert.equal(record.outcome, 'interrupted');
});
