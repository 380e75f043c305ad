// SPDX-License-Identifier: Apache-2.0
//
// Engines behind TLS: the demonstration engine behind a small https proxy that
// shows the certificate of the state's own CA.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, messages, sleep, until, events } from './harness.mjs';

let world, key, front, port;
let dying = false; // connections take a second request, and close without a word
const sockets = new Set();

function listen(at = 0) {
  const tls = (name) => readFileSync(join(world.state, 'tls', name));
  front = https.createServer({ cert: tls('server.pem'), key: tls('server.key') }, (request, response) => {
    if (dying && request.socket.served) {
      request.on('data', () => {});
      setTimeout(() => request.socket.destroy(), 5);
      return;
    }
    request.socket.served = true;
    const { host, connection, ...headers } = request.headers;
    const on = http.request({ host: '127.0.0.1', port: world.enginePort, method: request.method, path: request.url, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    on.on('error', () => response.destroy());
    response.on('close', () => on.destroy());
    request.pipe(on);
  });
  front.on('connection', (socket) => { sockets.add(socket); socket.on('close', () => sockets.delete(socket)); });
  return new Promise((resolve) => { front.listen(at, '127.0.0.1', () => { port = front.address().port; resolve(); }); });
}
function down() {
  for (const socket of sockets) socket.destroy();
  return new Promise((resolve) => { front.close(resolve); });
}

before(async () => {
  world = await World.make({ engine: ['--token-delay-ms', '5'] });
  await listen();
  const url = `https://127.0.0.1:${port}`;
  world.cli('engine', 'add', 'safe', url, '--kind', 'demo', '--ca-file', join(world.state, 'tls/ca.pem'));
  world.cli('engine', 'add', 'stranger', url, '--kind', 'demo');
  for (const name of ['safe', 'stranger'])
    world.cli('model', 'add', `on-${name}`, '--engine', name, '--upstream', 'tiny', '--approve');
  key = world.onboard('hal');
});
after(async () => { await world.end(); await down(); });

const chat = (body) => world.chat(key, { model: 'on-safe', ...body });
const generation = async () => (await world.counters()).generation;

test('chat and stream, one after the other and many at once', async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => chat({ stream: i % 2 === 1, max_tokens: 6 })));
  answers.forEach((answer, i) => {
    assert.equal(answer.status, 200, answer.body);
    if (i % 2) assert.equal(events(answer.body).at(-1), '[DONE]');
    else assert.ok(JSON.parse(answer.body).usage.completion_tokens <= 6);
  });
  for (let i = 0; i < 3; i++) assert.equal((await chat()).status, 200);
});

test('a large body goes through whole', async () => {
  const text = 'abcdefgh'.repeat(250000);
  const answer = await chat({ messages: [{ role: 'user', content: text }] });
  assert.equal(answer.status, 200, answer.body);
  assert.ok(JSON.parse(answer.body).usage.prompt_tokens >= 250000);
});

test('a tokeniser behind TLS counts', async () => {
  const other = world.onboard('ida');
  world.cli('quota', 'set', '--caller', 'ida', '--tokens-per-day', '120');
  const before = await world.counters();
  const answer = await world.chat(other, { model: 'on-safe', messages: [{ role: 'user', content: 'abcdefgh'.repeat(40) }], max_tokens: 5 });
  assert.equal(answer.status, 200, answer.body);
  assert.equal((await world.counters()).tokenising.requests, before.tokenising.requests + 1);
});

test('who hangs up stops the engine', async () => {
  const before = await generation();
  const lines = await Promise.all(Array.from({ length: 8 }, () => world.open()));
  for (const line of lines) line.post(key, { model: 'on-safe', stream: true, max_tokens: 5000 });
  await Promise.all(lines.map((line) => line.sees(/data: /)));
  for (const line of lines) line.tcp.destroy();
  await until(async () => (await generation()).active === 0, 'the engine to be idle');
  assert.ok((await generation()).completion_tokens - before.completion_tokens < 8 * 5000);
  // In the middle of sending, too.
  for (let i = 0; i < 8; i++) {
    const line = await world.open();
    line.post(key, { model: 'on-safe', max_tokens: 3, messages: [{ role: 'user', content: 'x'.repeat(3e6) }] });
    await sleep(5 * i);
    line.tcp.destroy();
  }
  const answer = await chat();
  assert.equal(answer.status, 200, answer.body);
  await until(async () => {
    const now = JSON.stringify(await generation());
    await sleep(200);
    return now === JSON.stringify(await generation());
  }, 'the engine to be at rest');
});

test('pooled connections that die are nobody\'s failure', async () => {
  dying = true;
  try {
    for (let i = 0; i < 12; i++) {
      const content = 'y'.repeat(i % 3 === 0 ? 2e6 : 20);
      const answers = await Promise.all([0, 1, 2].map(() => chat({ messages: [{ role: 'user', content }] })));
      for (const answer of answers) assert.equal(answer.status, 200, answer.body);
    }
  } finally { dying = false; }
});

test('a certificate of a stranger is refused, and nothing is sent', async () => {
  await world.untouched(async () => {
    const answer = await chat({ model: 'on-stranger' });
    assert.ok(answer.status === 502 || answer.status === 503, answer.body);
    assert.equal(JSON.parse(answer.body).error.code, 'upstream_unavailable');
    assert.ok(!answer.body.includes(messages[0].content));
  });
});

test('an engine that is down is an error, and is found again', async () => {
  await down();
  const answer = await chat();
  assert.ok(answer.status === 502 || answer.status === 503, answer.body);
  await listen(port);
  await until(async () => (await chat()).status === 200, 'the engine to be back', 20000);
});
