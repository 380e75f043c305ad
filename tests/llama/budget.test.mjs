// SPDX-License-Identifier: Apache-2.0
//
// A budget of 10,000 tokens and a real engine: what the engine used is at most
// what was charged, that is at most the budget, and nearly all of it can be
// had, however many streams run at once, vanish or are killed.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { World, sleep, until, events } from '../e2e/harness.mjs';
import { Llama } from './server.mjs';

const BUDGET = 10000;
let world, llama;
before(async () => {
  llama = await Llama.make();
  world = await World.make();
  world.cli('engine', 'add', 'llama', llama.url, '--kind', 'llama-server');
  world.cli('model', 'add', 'llama', '--engine', 'llama', '--approve', '--default-max-tokens', '60');
});
after(async () => { await world.end(); llama.end(); });

function caller(handle) {
  const key = world.onboard(handle);
  world.cli('quota', 'set', '--caller', handle, '--limit', `tokens/lifetime=${BUDGET}`);
  return key;
}
const charge = (handle) => world.json('quota', 'usage', '--caller', handle).items[0];
const settled = (handle) => until(() => { const row = charge(handle); return row.reserved === 0 && row.used; }, 'everything to be settled', 60000);
// Nothing of one is in the other's cache of a prompt, but for the template.
const prompt = (i) => [{ role: 'user', content: `${(i * 7919) % 1000} of the licensed works, and ${i} more?` }];
const cap = (i) => (i % 4 === 0 ? undefined : 10 + (i * 13) % 50);

// One whole stream; null where it was refused for the budget.
async function stream(key, i) {
  const answer = await world.chat(key, { model: 'llama', messages: prompt(i), max_tokens: cap(i), temperature: 0, stream: true, stream_options: { include_usage: true } });
  if (answer.status === 429) { assert.equal(JSON.parse(answer.body).error.code, 'insufficient_quota'); return null; }
  assert.equal(answer.status, 200, answer.body);
  return JSON.parse(events(answer.body).at(-2)).usage;
}

test('200 streams at once, each caller going on until it is refused', async (t) => {
  const key = caller('many');
  const start = await llama.idle();
  let prompts = 0, completions = 0, streams = 0;
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    for (let n = 0; ; n++) {
      const usage = await stream(key, i + 200 * n);
      if (usage === null) return;
      prompts += usage.prompt_tokens;
      completions += usage.completion_tokens;
      streams++;
    }
  }));
  const used = await settled('many'), end = await llama.idle();
  t.diagnostic(`${streams} streams, ${prompts} + ${completions} tokens of ${BUDGET}, ${used} charged`);
  assert.equal(used, prompts + completions);
  assert.equal(end.predicted - start.predicted, completions);
  assert.ok(end.prompt - start.prompt <= prompts);
  assert.ok(used <= BUDGET, `${used}`);
  assert.ok(used >= 0.95 * BUDGET, `${used} of ${BUDGET} could be used`);
});

test('callers that vanish: what the engine did is paid, and no more than the budget', async (t) => {
  const key = caller('gone');
  const start = await llama.idle();
  let opened = 0, whole = 0;
  await Promise.all(Array.from({ length: 60 }, async (_, i) => {
    const line = await world.open();
    line.post(key, { model: 'llama', messages: prompt(i), max_tokens: 100, temperature: 0, stream: true });
    await line.sees(/HTTP\/1.1 (200[^]*data: |429)/, 60000);
    if (/ 200 /.test(line.text)) opened++;
    // Some at once, some later, some not at all.
    if (i % 3 === 2 && / 200 /.test(line.text)) { await line.sees(/\r\n0\r\n\r\n$/, 60000); whole++; } else await sleep((i % 7) * 10);
    line.tcp.destroy();
  }));
  const used = await settled('gone'), end = await llama.idle();
  const engine = end.prompt - start.prompt + end.predicted - start.predicted;
  t.diagnostic(`${opened} streams, ${whole} to their end: the engine used ${engine}, ${used} charged`);
  assert.ok(opened > 20 && engine > 0);
  assert.ok(engine <= used, `the engine used ${engine}, ${used} were charged`);
  assert.ok(used <= BUDGET, `${used}`);
});

test('killed in the middle: what ran is charged its reservation, and the bound holds afterwards', async (t) => {
  const key = caller('killed');
  const start = await llama.idle();
  const lines = await Promise.all(Array.from({ length: 40 }, () => world.open()));
  lines.forEach((line, i) => line.post(key, { model: 'llama', messages: prompt(i), max_tokens: 120, temperature: 0, stream: true }));
  await until(() => lines.filter((line) => / 200 [^]*data: /.test(line.text)).length >= 4, 'some streams to run', 60000);
  await world.stop('SIGKILL');
  for (const line of lines) line.tcp.destroy();
  await world.serve();
  const idle = await llama.idle();
  const row = charge('killed');
  assert.equal(row.reserved, 0);
  const rows = world.json('audit', 'query', '--caller', 'killed', '--outcome', 'interrupted', '--limit', '100').rows;
  assert.ok(rows.length > 0);
  const reserved = rows.map(({ id }) => world.json('audit', 'show', id).entries.map((one) => one.entry ?? one)
    .find((one) => one.type === 'request.admitted').quotas[0].reserved);
  assert.ok(row.used >= reserved.reduce((sum, one) => sum + one, 0));
  const engine = idle.prompt - start.prompt + idle.predicted - start.predicted;
  t.diagnostic(`${rows.length} interrupted: the engine used ${engine}, ${row.used} charged`);
  assert.ok(engine <= row.used && row.used <= BUDGET, `the engine used ${engine}, ${row.used} were charged`);
  // What is left can be used, and not a token more.
  let more = 0;
  for (let i = 1; ; i++) {
    const usage = await stream(key, i);
    if (usage === null && cap(i) === undefined) break; // even a short one does not fit
    more += usage?.total_tokens ?? 0;
  }
  const end = await settled('killed');
  assert.equal(end, row.used + more);
  assert.ok(end <= BUDGET && end >= 0.95 * BUDGET, `${end}`);
});
