// SPDX-License-Identifier: Apache-2.0
//
// What a record must hold, and what is refused because it could not.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World } from './harness.mjs';

let world, key;
before(async () => { world = await World.make(); key = world.onboard('ann'); });
after(async () => { await world.end(); });

test('rules that only advise are on record, and decide nothing', async () => {
  const file = join(world.dir, 'advice.cedar');
  writeFileSync(file, '@id("all") @title("Everybody chats")\npermit (principal, action == Action::"chat", resource);\n' +
    '@id("mind") @title("Few tokens, please") @mode("advise")\nforbid (principal, action, resource) when { context.params has maxTokens && context.params.maxTokens > 3 };\n');
  const version = world.cli('policy', 'put', file).match(/version (\d+)/)[1];
  world.cli('policy', 'activate', version);
  for (const [cap, advice] of [[4, ['mind']], [3, undefined]]) {
    const answer = await world.chat(key, { max_tokens: cap });
    assert.equal(answer.status, 200, answer.body);
    const [admitted] = world.json('audit', 'show', answer.headers['x-request-id']).entries.map((one) => one.entry ?? one);
    assert.deepEqual(admitted.candidates[0].policies, ['all']);
    assert.deepEqual(admitted.candidates[0].advice, advice);
  }
});

test('more tools than a record can hold: 400 that names the limit', async () => {
  const tools = (count, length) => Array.from({ length: count }, (_, i) => ({ type: 'function',
    function: { name: `t${i}_`.padEnd(length, 'x'), parameters: { type: 'object' } } }));
  assert.equal((await world.chat(key, { tools: tools(100, 60) })).status, 200);
  await world.untouched(async () => {
    const answer = await world.chat(key, { tools: tools(128, 120) });
    const { error } = JSON.parse(answer.body);
    assert.equal(answer.status, 400, answer.body);
    assert.ok(error.param === 'tools' || error.param.startsWith('tools['), answer.body);
    assert.match(error.message, /12288 bytes/);
    assert.equal(answer.headers['x-should-retry'], 'false');
  });
});
