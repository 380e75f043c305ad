// SPDX-License-Identifier: Apache-2.0
//
// A disk that fills up is said in time, and no caller can fill it alone.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { statfsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { World, until } from './harness.mjs';

let world, alice, bob, low, room;
before(async () => {
  const fs = statfsSync(tmpdir()), free = fs.bavail * fs.bsize;
  room = Math.floor(Math.min(1.5 * 2 ** 30, free / 4));
  low = free - Math.floor(room * 2 / 3);
  world = await World.make({ settings: `max_log_bytes_per_caller = 1048576;\ndisk_low_bytes = ${low};\ndisk_critical_bytes = 0;\n` });
  alice = world.onboard('alice');
  bob = world.onboard('bob');
});
after(async () => { await world.end(); });

test('who fills the log gets 429, is counted, and hinders nobody else', { timeout: 60000 }, async () => {
  const tools = Array.from({ length: 120 }, (_, i) => ({ type: 'function', function: { name: `a_tool_with_a_rather_long_name_that_is_on_record_${i}` } }));
  let refused;
  for (let i = 0; i < 60 && !refused; i++) {
    const answers = await Promise.all([0, 1, 2, 3].map(() => world.chat(alice, { tools, max_tokens: 1 })));
    for (const answer of answers) assert.ok([200, 429].includes(answer.status), answer.body);
    refused = answers.find((answer) => answer.status === 429);
  }
  assert.match(refused?.body ?? '', /log_budget_exceeded/);
  assert.match(refused.body, /max_log_bytes_per_caller/);
  const wait = Number(refused.headers['retry-after']);
  assert.ok(wait > 0 && wait <= 3601, String(wait));
  await world.untouched(async () => {
    for (let i = 0; i < 5; i++) assert.equal((await world.chat(alice)).status, 429);
  });
  assert.equal((await world.chat(bob)).status, 200);
  const event = await until(() => world.json('audit', 'query', '--type', 'auth.failed').rows.find((row) => row.reason === 'log_budget'), 'the aggregate');
  assert.ok(event.count >= 1 && event.key.startsWith('key_'));
  assert.match(world.cli('audit', 'tail', '--entries', '60'), /filled as much of the log as one may/);
});

test('a disk that fills up: event, status, metrics, and again when there is room', { timeout: 90000 }, async () => {
  const disk = () => world.json('status').server.log.disk;
  assert.equal(disk(), 'good');
  const filler = join(tmpdir(), `bailiff-filler-${process.pid}`);
  try {
    execFileSync('fallocate', ['-l', String(room), filler]);
    await until(() => disk() === 'low', 'the alarm', 20000);
    assert.match(world.cli('status'), /warning: the journal's disk fills up/);
    await until(() => /disk_filling state=low/.test(world.server.log), 'the line in the log');
  } finally { rmSync(filler, { force: true }); }
  await until(() => disk() === 'good', 'the end of the alarm', 20000);
  await until(() => {
    const types = world.json('audit', 'query', '--type', 'system').rows.map((row) => row.type);
    return ['system.disk_low', 'system.disk_good'].every((type) => types.includes(type));
  }, 'both events');
});
