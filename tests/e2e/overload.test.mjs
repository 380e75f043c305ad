// SPDX-License-Identifier: Apache-2.0
//
// More requests than can be answered in time: what is taken is answered, the
// rest is refused at once, and nothing of it is left afterwards.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import * as tls from 'node:tls';
import { World, messages, until } from './harness.mjs';

const crowd = 500; // above what a turn takes in any case
let world, alice;
before(async () => {
  world = await World.make({ workers: 1, settings: 'max_queue_ms = 1;\n' });
  alice = world.onboard('alice');
});
after(() => world.end());

function connect() {
  return new Promise((done, failed) => {
    const socket = tls.connect({ port: world.port, host: '127.0.0.1', rejectUnauthorized: false }, () => done(socket));
    socket.on('error', failed);
  });
}

// The answer to a request that was written: head and body.
function answer(socket) {
  return new Promise((done, failed) => {
    let text = '';
    socket.on('error', failed);
    socket.on('close', () => failed(new Error(`closed after ${text.length} bytes`)));
    socket.on('data', (bytes) => {
      text += bytes;
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(text.slice(0, end))[1]);
      if (text.length >= end + 4 + length)
        done({ status: Number(text.slice(9, 12)), head: text.slice(0, end), body: text.slice(end + 4) });
    });
  });
}

test('a crowd: some are served, the rest is told when to come again', async () => {
  const body = JSON.stringify({ model: 'tiny', messages, max_tokens: 1 });
  const request = `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${alice}\r\n`
    + `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  const sockets = [];
  for (let i = 0; i < crowd; i += 50)
    sockets.push(...await Promise.all(Array.from({ length: 50 }, connect)));
  const answers = sockets.map(answer);
  // They all stand there when it looks the next time.
  process.kill(world.server.pid, 'SIGSTOP');
  try {
    await Promise.all(sockets.map((socket) => new Promise((done) => socket.write(request, done))));
  } finally {
    process.kill(world.server.pid, 'SIGCONT');
  }
  const got = await Promise.all(answers);
  for (const socket of sockets) { socket.removeAllListeners('close'); socket.destroy(); }
  const refused = got.filter(({ status }) => status === 503);
  assert.equal(got.filter(({ status }) => status === 200).length + refused.length, crowd);
  assert.ok(refused.length > 0, 'nobody was refused');
  assert.ok(refused.length <= crowd - 100, `${refused.length} of ${crowd} were refused`);
  for (const { head, body: text } of refused) {
    assert.match(head, /\r\nretry-after: 1(\r\n|$)/i);
    assert.equal(JSON.parse(text).error.code, 'overloaded');
  }
  // The alarm for what cannot be judged or recorded stays silent.
  assert.equal(await world.metric('bailiff_overload_refused_total'), refused.length);
  assert.equal(await world.metric('bailiff_governance_unavailable_total'), 0);
  // It is over at once, and on record: by count, as nobody was asked who he is.
  const response = await world.client(alice).chat.completions.create({ model: 'tiny', messages, max_tokens: 1 });
  assert.equal(response.choices.length, 1);
  const counted = () => world.json('audit', 'query', '--type', 'auth.failed').rows
    .filter((row) => row.reason === 'overload').reduce((sum, row) => sum + row.count, 0);
  await until(() => counted() === refused.length, () => `${counted()} on record to be ${refused.length}`, 70000);
});
