// SPDX-License-Identifier: Apache-2.0
//
// Failed authentications are slow and dull, and shut nobody out: who is known
// passes at once from the same address. And a revocation is there on every
// worker when the command returns.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { World, until } from './harness.mjs';

let world, key;
before(async () => {
  world = await World.make({ workers: 4, settings: 'refusals_per_minute = 5;\n' });
  key = world.onboard('alice');
});
after(async () => { await world.end(); });

const timed = async (work) => {
  const start = performance.now();
  const answer = await work();
  return { ...answer, ms: performance.now() - start };
};

test('unknown, mistyped, revoked and expired keys get one and the same answer', async () => {
  const revoked = world.keep(world.cli('key', 'issue', 'alice'));
  world.cli('key', 'revoke', world.json('key', 'list').items.find((one) => revoked.startsWith(one.hint)).id);
  const away = world.keep(world.cli('key', 'issue', 'alice', '--address', '192.0.2.1'));
  const answers = new Set();
  for (const text of [`blf_${'x'.repeat(38)}`, `${key.slice(0, -1)}${key.at(-1) === 'a' ? 'b' : 'a'}`, revoked, away, 'sk-something', 'x']) {
    const got = await world.untouched(() => world.chat(text));
    assert.equal(got.status, 401);
    answers.add(got.body.replace(/req_\w+|[0-9A-HJKMNP-TV-Z]{26}/g, ''));
    if (text.length > 20) world.secrets.push(text);
  }
  assert.equal(answers.size, 1, [...answers].join('\n'));
});

test('whoever goes on guessing waits, on every connection; who is known does not', async () => {
  // By now each worker has seen some; more than its share of a minute.
  const guesses = Array.from({ length: 60 }, () => timed(() => world.chat(`blf_${'y'.repeat(38)}`)));
  const known = [];
  for (let i = 0; i < 8; i++) known.push(await timed(() => world.chat(key)));
  for (const one of known) assert.equal(one.status, 200);
  const slow = (await Promise.all(guesses)).map((one) => { assert.equal(one.status, 401); return one.ms; });
  // What waits, waits two seconds: a server that is only busy does not make 30 wait so long.
  assert.ok(slow.filter((ms) => ms >= 1900).length >= 30, slow.map(Math.round).join(' '));
  assert.ok(Math.min(...known.map((one) => one.ms)) < 1900);
});

test('a guesser that goes away meanwhile leaves nothing behind', async () => {
  for (let i = 0; i < 10; i++) {
    const line = await world.open();
    line.post(`blf_${'z'.repeat(38)}`, {});
    line.socket.destroy();
  }
  assert.equal((await world.chat(key)).status, 200);
});

test('a revoked key is refused by every worker as soon as the command has returned', async () => {
  for (let round = 0; round < 3; round++) {
    const brief = world.keep(world.cli('key', 'issue', 'alice'));
    const lines = await Promise.all(Array.from({ length: 16 }, () => world.open()));
    for (const line of lines) line.get(brief, '/v1/models');
    for (const line of lines) await line.sees(/HTTP\/1.1 200 /);
    world.cli('key', 'revoke', world.json('key', 'list').items.find((one) => brief.startsWith(one.hint)).id);
    for (const line of lines) { line.text = ''; line.get(brief, '/v1/models'); }
    for (const line of lines) await line.sees(/HTTP\/1.1 401 /);
    for (const line of lines) line.socket.destroy();
  }
});
