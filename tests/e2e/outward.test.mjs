// SPDX-License-Identifier: Apache-2.0
//
// The log as others take it in: OCSF events.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { World } from './harness.mjs';
import { checkOcsf } from './ocsf.mjs';

let world, alice, ivy, answered, denied;
const program = process.env.BAILIFF;

function attempt(args, env = {}) {
  const done = spawnSync(program, ['-C', world.state, ...args], { encoding: 'utf8', env: { ...process.env, ...env } });
  return { code: done.status, text: done.stdout + done.stderr, out: done.stdout };
}

before(async () => {
  world = await World.make();
  alice = world.onboard('alice');
  ivy = world.onboard('ivy', 'interns');
  answered = (await world.chat(alice)).headers['x-request-id'];
  denied = (await world.chat(ivy, { model: 'big' })).headers['x-request-id'];
  await world.record(answered);
});
after(() => world.end());

const events = (text) => text.trim().split('\n').map((line) => checkOcsf(JSON.parse(line)));

test('OCSF: an event for every entry, with the members the class requires', () => {
  const file = join(world.dir, 'all.ocsf');
  assert.match(world.cli('audit', 'export', file, '--format', 'ocsf'), /^\d+ events in /);
  const all = events(readFileSync(file, 'utf8'));
  assert.deepEqual(all.map((event) => event.metadata.sequence), all.map((event, index) => index));
  assert.equal(new Set(all.map((event) => event.metadata.uid)).size, all.length);
  const end = all.find((event) => event.metadata.correlation_uid === answered &&
    event.metadata.event_code === 'request.completed');
  assert.equal(end.status_id, 1);
  assert.equal(end.ai_model.name, 'tiny');
  assert.equal(end.ai_model.ai_provider, 'local');
  assert.match(end.actor.user.uid, /^cal_/);
  assert.equal(end.message_context.completion_tokens, 4);
  assert.equal(end.message_context.total_tokens, end.message_context.prompt_tokens + 4);
  assert.equal(end.http_response.code, 200);
  assert.ok(all.some((event) => event.metadata.event_code === 'admin.caller.added' && event.activity_id === 1));
  const refused = attempt(['audit', 'export', file, '--format', 'ocsf']);
  assert.equal(refused.code, 1, 'a file that is there is not written over');
});

test('OCSF: the filters of every export, to standard output', () => {
  const of = events(world.cli('audit', 'export', '-', '--format', 'ocsf', '--decision', 'deny'));
  assert.equal(of.length, 1);
  assert.equal(of[0].metadata.correlation_uid, denied);
  assert.equal(of[0].status_id, 2);
  assert.equal(of[0].api.response.code, 403);
  assert.equal(of[0].unmapped.decision, 'deny');
  const one = events(world.cli('audit', 'export', '-', '--format', 'ocsf', '--id', answered));
  assert.deepEqual(one.map((event) => event.metadata.event_code), ['request.admitted', 'request.completed']);
  const wrong = attempt(['audit', 'export', '-', '--format', 'xml']);
  assert.equal(wrong.code, 2);
  assert.match(wrong.text, /jsonl, csv or ocsf/);
});
