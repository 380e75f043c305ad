// SPDX-License-Identifier: Apache-2.0
//
// kill -9 under load with every unsynced write dropped: what a client was
// answered and what an engine was sent is on record, and the books agree. The
// same with a journal that does not sync must be noticed.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Disk } from './disk.mjs';
import { readLog } from '../e2e/log.mjs';
import { sleep } from '../e2e/harness.mjs';

const ROUNDS = 8, CLIENTS = 12;
// The same moments in each run (mulberry32).
function random(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

async function prepare() {
  const disk = await Disk.make();
  const { world } = disk;
  const keys = {
    alice: world.onboard('alice'), bob: world.onboard('bob'),
    ivy: world.onboard('ivy', 'interns'), poor: world.onboard('poor'),
  };
  for (const one of ['alice', 'bob']) world.cli('quota', 'set', '--caller', one, '--tokens-per-day', '100000000');
  world.cli('quota', 'set', '--caller', 'poor', '--requests-per-day', '2');
  await world.stop();
  return { disk, world, keys, answered: new Map() };
}

// Calls until the server is gone; notes each answer whose head came.
async function load({ world, keys, answered }, next, done) {
  const call = async () => {
    const [key, body] = [
      [keys.alice, {}], [keys.bob, { max_tokens: 8 }], [keys.alice, { stream: true, max_tokens: 16 }],
      [keys.bob, { stream: true }], [keys.ivy, { model: 'big' }], [keys.poor, {}],
    ][Math.floor(next() * 6)];
    const line = await world.open();
    try {
      line.post(key, body);
      for (let waited = 0; !line.ended && waited < 3000; waited += 5) {
        if (/\r\n\r\n/.test(line.text) && !/text\/event-stream/.test(line.text)) break;
        if (/data: \[DONE\]/.test(line.text)) break;
        await sleep(5);
      }
      const head = line.text.match(/^HTTP\/1\.1 (\d+)[^]*?x-request-id: (\w+)/i);
      if (head) answered.set(head[2], Number(head[1]));
    } finally { line.socket.destroy(); }
  };
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (!done()) await call().catch(() => {});
  }));
}

// One round: load, the power fails after `ms`, the server comes back.
async function round(it, seed, switches = []) {
  const { disk } = it, next = random(seed);
  let over = false;
  await disk.serve(switches);
  const calls = load(it, next, () => over);
  await sleep(250 + next() * 500);
  over = true;
  await disk.kill();
  await calls;
  disk.power();
  await disk.serve();
}

// Looks at all that was promised so far; the server has stopped.
async function judge({ disk, world, keys, answered }) {
  const verify = disk.attempt('audit', 'verify');
  assert.equal(verify.code, 0, verify.text);
  const admitted = new Map(), ended = new Map(), denied = new Map();
  for (const text of readLog(world.state)) {
    const entry = JSON.parse(text);
    if (entry.type === 'request.admitted') admitted.set(entry.id, entry);
    else if (/^request\.(completed|withdrawn)$/.test(entry.type)) {
      assert.ok(!ended.has(entry.id), `${entry.id} ends twice`);
      ended.set(entry.id, entry);
    } else if (entry.type === 'request.denied') denied.set(entry.id, entry);
  }
  for (const [id, status] of answered) {
    if (status === 200) assert.ok(admitted.has(id), `${id} was answered 200 and is not on record`);
    else if (status === 403 || status === 429) assert.ok(denied.has(id), `${id} was answered ${status} and is not on record`);
  }
  for (const id of admitted.keys()) assert.ok(ended.has(id), `${id} was left open`);
  const seen = (await world.counters()).generation.requests;
  assert.ok(seen <= admitted.size, `the engine saw ${seen} calls, ${admitted.size} are on record`);
  // What each quota has used, by its records; who was interrupted is charged
  // what was reserved for it.
  const used = new Map();
  for (const [id, entry] of ended)
    for (const one of entry.outcome === 'interrupted' ? admitted.get(id).quotas ?? [] : entry.quotas ?? [])
      used.set(one.bucket, (used.get(one.bucket) ?? 0) + (one.settled ?? one.reserved));
  return { admitted, ended, denied, used };
}

test('power fails under load: every answer is on record, quotas are the sum of the records', { timeout: 120000 }, async () => {
  const it = await prepare();
  try {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      await round(it, seed);
      const usage = ['alice', 'bob', 'poor'].map((handle) => it.world.json('quota', 'usage', '--caller', handle).items);
      const { code } = (await it.world.stop());
      assert.equal(code, 0, it.world.logs.slice(-2000));
      const { used } = await judge(it);
      for (const row of usage.flat()) assert.equal(row.used, used.get(row.id) ?? 0, `round ${seed}: ${row.shown}`);
    }
    const { ended } = await judge(it);
    const statuses = [...it.answered.values()];
    for (const status of [200, 403, 429]) assert.ok(statuses.includes(status), `no ${status} among the answers`);
    assert.ok([...ended.values()].some((entry) => entry.outcome === 'interrupted'), 'nothing was interrupted');
  } finally { it.disk.end(); }
});

test('a mutant whose journal does not sync is caught', { timeout: 60000 }, async () => {
  const it = await prepare();
  try {
    await assert.rejects(async () => {
      await round(it, 1, ['lie']);
      await it.world.stop();
      await judge(it);
    }, /is not on record|calls, \d+ are on record|the journal ends before entry|smaller than/);
  } finally { it.disk.end(); }
});
