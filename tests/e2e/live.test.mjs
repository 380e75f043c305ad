// SPDX-License-Identifier: Apache-2.0
//
// What changes while requests run: keys, callers, models, rules, settings,
// engines, and the server's own end.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { World, messages, sleep, until, dechunk, events, patience } from './harness.mjs';
import { FakeEngine, begin, say, stream, endless, whole, refuse } from './fake-engine.mjs';

let world, alice, one, two, river;
before(async () => {
  world = await World.make();
  alice = world.onboard('alice');
  one = await FakeEngine.make();
  two = await FakeEngine.make();
  river = await FakeEngine.make(endless);
  for (const [name, fake] of [['one', one], ['two', two], ['river', river]])
    world.cli('engine', 'add', name, `http://127.0.0.1:${fake.port}`, '--kind', 'openai');
  world.cli('model', 'add', 'pair', '--engine', 'one', '--approve');
  world.cli('model', 'target', 'pair', 'two', '--priority', '1');
  world.cli('model', 'add', 'faulty', '--engine', 'one', '--approve');
  world.cli('model', 'add', 'river', '--engine', 'river', '--approve');
});
after(async () => { await world.end(); await one.end(); await two.end(); await river.end(); });

// Every stream that was begun has been let go.
const idle = () => until(() => river.gone === river.requests, 'the streams to be let go');

// A stream without end, seen to run.
async function running(key, body = {}) {
  const line = await world.open();
  line.post(key, { model: 'river', stream: true, max_tokens: 4000, ...body });
  await line.sees(/data: [^]*data: /);
  return line;
}

// It ends with the dialect's error event, in proper framing.
async function cut(line, code) {
  await line.sees(/\r\n0\r\n\r\n$/);
  const { body, whole: complete } = dechunk(line.text);
  assert.ok(complete);
  const last = JSON.parse(events(body).at(-1));
  assert.equal(last.error?.code, code, JSON.stringify(last));
  line.socket.destroy();
  return world.record(line.id());
}

// --- Who may -------------------------------------------------------------------

test('a revoked key: refused at once, and its running streams are cut', async () => {
  const ann = world.onboard('ann');
  const lines = [await running(ann), await running(ann), await running(ann)];
  world.cli('key', 'revoke', world.keyId('ann'));
  await world.untouched(async () => {
    await assert.rejects(world.client(ann).models.list(), OpenAI.AuthenticationError);
    const error = await world.client(ann).chat.completions.create({ model: 'tiny', messages }).catch((caught) => caught);
    assert.ok(error instanceof OpenAI.AuthenticationError && error.code === 'invalid_api_key');
    assert.match(error.message, /revoked/);
  });
  for (const line of lines) {
    const record = await cut(line, 'revoked');
    assert.deepEqual([record.outcome, record.reason], ['cut', 'revoked']);
  }
  await idle();
  // A stream of somebody else goes on.
  const other = await running(alice);
  const length = other.text.length;
  await until(() => other.text.length > length, 'the other stream to go on');
  other.socket.destroy();
  await idle();
});

test('a key revoked while its answer is made: no answer', async () => {
  const bea = world.onboard('bea');
  one.answer = () => {};
  const asked = one.requests, gone = one.gone;
  const answer = world.chat(bea, { model: 'faulty' });
  await until(() => one.requests > asked, 'the request at the engine');
  world.cli('key', 'revoke', world.keyId('bea'));
  const { status, body } = await answer;
  assert.equal(status, 403);
  assert.equal(JSON.parse(body).error.code, 'revoked');
  await until(() => one.gone > gone, 'the engine to be let go');
});

test('a body that is on its way when the key is revoked never reaches an engine', async () => {
  const cat = world.onboard('cat');
  await world.untouched(async () => {
    const line = await world.open();
    const text = JSON.stringify({ model: 'tiny', messages });
    line.socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${cat}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text.slice(0, 20)}`);
    await sleep(100);
    world.cli('key', 'revoke', world.keyId('cat'));
    line.socket.write(text.slice(20));
    await line.sees(/^HTTP\/1\.1 401 /);
    line.socket.destroy();
  });
});

test('a key that expires: its running stream is cut, then it is refused', async () => {
  world.onboard('dan');
  const key = world.keep(world.cli('key', 'issue', 'dan', '--expires', `${2 * patience}s`));
  const line = await running(key);
  const record = await cut(line, 'expired');
  assert.deepEqual([record.outcome, record.reason], ['cut', 'expired']);
  await idle();
  await world.untouched(async () => {
    const error = await world.client(key).chat.completions.create({ model: 'tiny', messages }).catch((caught) => caught);
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.match(error.message, /expired/);
  });
});

test('a disabled caller: refused, cut, and served again when enabled', async () => {
  const eve = world.onboard('eve');
  const line = await running(eve);
  world.cli('caller', 'disable', 'eve', '--reason', 'left the house');
  assert.equal((await cut(line, 'revoked')).outcome, 'cut');
  await idle();
  await world.untouched(async () => assert.equal((await world.chat(eve)).status, 401));
  world.cli('caller', 'enable', 'eve');
  assert.equal((await world.chat(eve)).status, 200);
});

// --- What may be asked -----------------------------------------------------------

test('a rule changed live: denied, and allowed again after the rollback', async () => {
  const rules = JSON.parse(world.cli('policy', 'show', '--json')).text;
  const file = join(world.dir, 'rules.cedar');
  writeFileSync(file, `${rules}\n@id("nobody-tiny")\n@title("Nobody uses tiny now")\n@message("Wait until noon.")\n` +
    'forbid (principal, action in Action::"infer", resource)\nwhen { resource == Model::"tiny" || resource == Model::"river" };\n');
  const line = await running(alice);
  world.cli('policy', 'put', file, '--activate');
  await world.untouched(async () => {
    const error = await world.client(alice).chat.completions.create({ model: 'gpt-4o-mini', messages, max_tokens: 3 }).catch((caught) => caught);
    assert.ok(error instanceof OpenAI.PermissionDeniedError);
    assert.match(error.message, /nobody-tiny.*Wait until noon/);
    assert.deepEqual((await world.record(error.requestID)).policyVersion, 2);
  });
  const length = line.text.length;
  await until(() => line.text.length > length, 'the stream that was decided before to go on');
  line.socket.destroy();
  world.cli('policy', 'rollback', '--reason', 'a test');
  assert.equal((await world.chat(alice)).status, 200);
});

test('a rule that cannot be read changes nothing', async () => {
  const file = join(world.dir, 'bad.cedar');
  writeFileSync(file, '@id("x")\n@title("x")\npermit (principal in Team::"everyone", action, resource) when { context.nonsense > 3 };\n');
  assert.throws(() => world.cli('policy', 'put', file, '--activate'));
  writeFileSync(file, '@id("x")\n@title("x")\nforbid (principal in Team::"everyoen", action, resource);\n');
  assert.throws(() => world.cli('policy', 'put', file, '--activate'), /everyone/);
  assert.equal((await world.chat(alice)).status, 200);
});

test('a retired model: denied from then on', async () => {
  world.cli('model', 'add', 'old', '--engine', 'local', '--upstream', 'tiny', '--approve');
  assert.equal((await world.chat(alice, { model: 'old' })).status, 200);
  world.cli('model', 'retire', 'old');
  await world.untouched(async () => {
    const error = await world.client(alice).chat.completions.create({ model: 'old', messages }).catch((caught) => caught);
    assert.ok(error instanceof OpenAI.PermissionDeniedError && error.param === 'model', `${error}`);
    assert.match(error.message, /retired/);
    assert.ok(!(await world.client(alice).models.list()).data.some((model) => model.id === 'old'));
  });
});

// --- Failover --------------------------------------------------------------------

test('the second engine takes over before the first byte, and the caller pays once', async () => {
  const finn = world.onboard('finn');
  world.cli('quota', 'set', '--caller', 'finn', '--limit', 'requests/day=100', '--limit', 'tokens/day=10000');
  const used = (what) => world.json('quota', 'usage', '--caller', 'finn').items.find((item) => item.dimension === what).used;
  two.answer = (response) => whole(response, 'from two');
  const refusals = [(response) => refuse(response, 503), (response) => response.socket.destroy(), (response) => refuse(response, 429)];
  for (const [i, answer] of refusals.entries()) {
    one.answer = answer;
    const asked = [one.requests, two.requests];
    const { status, body, headers } = await world.chat(finn, { model: 'pair' });
    assert.equal(status, 200, body);
    assert.match(body, /from two/);
    assert.ok(one.requests > asked[0] && two.requests === asked[1] + 1);
    const record = await world.record(headers['x-request-id']);
    assert.deepEqual([record.outcome, record.engine, record.attempts], ['ok', 'two', 1 + one.requests - asked[0]]);
    const { entries } = world.json('audit', 'show', headers['x-request-id']);
    assert.ok(entries.some(({ entry }) => entry.type === 'request.attempt' && entry.engine === 'one'), JSON.stringify(entries));
    assert.deepEqual([used('requests'), used('tokens')], [i + 1, 10 * (i + 1)]);
    one.answer = (response) => whole(response); // and no failures in a row
    await until(async () => { await world.chat(alice, { model: 'faulty' }); return one.bodies.length; }, 'one to be well');
  }
});

test('after the first byte there is no second engine', async () => {
  one.answer = (response) => { begin(response); say(response, 'half'); setTimeout(() => response.destroy(), 30); };
  two.answer = (response) => stream(response);
  const asked = two.requests;
  const line = await world.open();
  line.post(alice, { model: 'pair', stream: true });
  assert.deepEqual((await cut(line, 'upstream_unavailable')).outcome, 'engine_error');
  assert.equal(two.requests, asked);
});

test('a timeout after the request was sent is no reason to ask twice', async () => {
  const slow = await World.make({ settings: `first_byte_timeout_ms = ${400 * patience};\n` });
  try {
    const gil = slow.onboard('gil');
    for (const [name, fake] of [['one', one], ['two', two]])
      slow.cli('engine', 'add', name, `http://127.0.0.1:${fake.port}`, '--kind', 'openai');
    slow.cli('model', 'add', 'pair', '--engine', 'one', '--approve');
    slow.cli('model', 'target', 'pair', 'two', '--priority', '1');
    one.answer = () => {};
    two.answer = (response) => whole(response);
    const asked = two.requests;
    assert.equal((await slow.chat(gil, { model: 'pair' })).status, 504);
    assert.equal(two.requests, asked);
  } finally { await slow.end(); }
});

test('failover goes to permitted engines only', async () => {
  const rules = JSON.parse(world.cli('policy', 'show', '--json')).text;
  const file = join(world.dir, 'rules.cedar');
  writeFileSync(file, `${rules}\n@id("not-two")\n@title("Engine two is not for pair")\n` +
    'forbid (principal, action in Action::"infer", resource == Model::"pair") when { context.target.engine == Engine::"two" };\n');
  world.cli('policy', 'put', file, '--activate');
  one.answer = (response) => refuse(response, 503);
  two.answer = (response) => whole(response);
  const asked = two.requests;
  const { status } = await world.chat(alice, { model: 'pair' });
  assert.equal(status, 503);
  assert.equal(two.requests, asked);
  world.cli('policy', 'rollback');
});

// --- The server itself -------------------------------------------------------------

test('SIGHUP with a broken file keeps what was', async () => {
  const good = readFileSync(world.settings, 'utf8');
  const refusals = () => (world.server.log.match(/reload_refused/g) ?? []).length;
  for (const bad of ['workers = "many";\n', 'no_such_key = 1;\n', 'listen = [\n', 'certificate = "tls/none.pem";\n']) {
    const before = refusals();
    appendFileSync(world.settings, bad);
    world.server.kill('SIGHUP');
    await until(() => refusals() === before + 1, `${bad} to be refused`);
    assert.equal((await world.chat(alice)).status, 200);
    writeFileSync(world.settings, good);
  }
  const line = await running(alice);
  world.server.kill('SIGHUP');
  await until(() => /info reloaded/.test(world.server.log), 'the reload');
  const length = line.text.length;
  await until(() => line.text.length > length, 'the stream to go on');
  assert.equal((await world.chat(alice)).status, 200);
  line.socket.destroy();
  await idle();
});

test('SIGTERM: running streams end well, new connections are refused, exit code 0', async () => {
  one.answer = (response) => stream(response, Array(100).fill(' so'), 10);
  const lines = [];
  for (let i = 0; i < 3; i++) {
    const line = await world.open();
    line.post(alice, { model: 'faulty', stream: true });
    await line.sees(/data: [^]*data: /);
    lines.push(line);
  }
  const quiet = await world.open(); // a connection without a request
  const end = world.stop();
  await quiet.ends();
  await assert.rejects(world.chat(alice));
  for (const line of lines) {
    await line.sees(/\r\n0\r\n\r\n$/);
    assert.equal(events(dechunk(line.text).body).at(-1), '[DONE]');
  }
  assert.deepEqual(await end, { code: 0, signal: null });
  await world.serve();
  for (const line of lines) assert.equal((await world.record(line.id())).outcome, 'ok');
});

test('SIGTERM does not wait for ever: the rest is cut, on record, exit code 0', async () => {
  const brief = await World.make({ settings: 'drain_timeout_ms = 500;\n' });
  const hal = brief.onboard('hal');
  brief.cli('engine', 'add', 'river', `http://127.0.0.1:${river.port}`, '--kind', 'openai');
  brief.cli('model', 'add', 'river', '--engine', 'river', '--approve');
  const line = await brief.open();
  line.post(hal, { model: 'river', stream: true });
  await line.sees(/data: [^]*data: /);
  assert.deepEqual(await brief.stop(), { code: 0, signal: null });
  await line.ends();
  assert.match(line.text, /"code":"shutting_down"[^]*\r\n0\r\n\r\n$/);
  await brief.serve();
  const record = await brief.record(line.id());
  assert.deepEqual([record.outcome, record.reason], ['cut', 'shutdown']);
  await brief.end();
});

test('a server that is killed: what ran is closed as interrupted, and charged its reservation', async () => {
  const ike = world.onboard('ike');
  world.cli('quota', 'set', '--caller', 'ike', '--tokens-per-day', '100000');
  const used = () => world.json('quota', 'usage', '--caller', 'ike').items[0].used;
  const line = await running(ike, { max_tokens: 3000 });
  const answer = await world.chat(ike, { max_tokens: 5 });
  const { total_tokens: tokens } = JSON.parse(answer.body).usage;
  await world.stop('SIGKILL');
  await line.ends();
  await world.serve();
  const record = await world.record(line.id());
  assert.equal(record.outcome, 'interrupted');
  assert.ok(used() >= 3000 + tokens, `${used()}`);
  assert.ok(used() <= 3000 + tokens + 200, `${used()}`);
  assert.equal((await world.chat(ike)).status, 200);
  assert.match(world.cli('audit', 'verify'), /intact|whole|ok/i);
});
