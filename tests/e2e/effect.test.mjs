// SPDX-License-Identifier: Apache-2.0
//
// What rules would do before they are on: diff, replay of what is on record,
// and why one request was decided as it was.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { World } from './harness.mjs';

let world, anna, ivo;
const starter = () => world.cli('policy', 'show', '--text');
const rules = (text, name = 'draft.cedar') => {
  const path = join(world.dir, name);
  writeFileSync(path, text);
  return path;
};
// Exit code, standard output and standard error of a command that may say no.
const ask = (...args) => {
  const done = spawnSync(process.env.BAILIFF, ['-C', world.state, ...args], { encoding: 'utf8' });
  return { code: done.status, out: done.stdout, err: done.stderr };
};
const short = '@id("short-answers") @title("No long inputs") forbid (principal, action == Action::"chat", resource in ModelGroup::"large") when { context.input.tokens > 300 };\n';

before(async () => {
  world = await World.make();
  anna = world.onboard('anna');
  ivo = world.onboard('ivo', 'interns');
  const ask = (key, model, words) => world.chat(key, { model, max_tokens: 4, messages: [{ role: 'user', content: 'word '.repeat(words) }] });
  for (let i = 0; i < 5; i++) await ask(anna, 'tiny', 3);
  for (let i = 0; i < 3; i++) await ask(anna, 'big', 3);
  for (let i = 0; i < 2; i++) await ask(anna, 'big', 200);
  for (let i = 0; i < 4; i++) await ask(ivo, 'big', 3); // denied: large
  await ask(ivo, 'draft', 3);                           // refused before the rules
});
after(() => world.end());

test('diff: an unchanged text has no difference, whatever its layout', () => {
  const same = world.json('policy', 'diff', rules('// a comment\n' + starter().replaceAll('\n    ', ' ')));
  assert.deepEqual([same.rules.added, same.rules.removed, same.rules.changed, same.rules.same], [[], [], [], 4]);
  assert.deepEqual([same.access.gained, same.access.lost], [[], []]);
  assert.equal(same.access.callers, 2);
});

test('diff: rules with their sentences, and who may newly do what', () => {
  const text = starter().replace(/@id\("interns-small-models"\)[^]*?;\n/, '')
    .replace('context.input.tokens > 4000', 'context.input.tokens > 100')
    .replace('Interns send short requests', 'Interns send very short requests') +
    '@id("no-embeddings") @title("No embeddings") forbid (principal in Team::"everyone", action == Action::"embed", resource == Model::"tiny");\n';
  const diff = world.json('policy', 'diff', rules(text));
  assert.deepEqual(diff.rules.added.map((r) => r.id), ['no-embeddings']);
  assert.match(diff.rules.added[0].sentence, /No one in team “everyone” may use model “tiny” to make embeddings/);
  assert.deepEqual(diff.rules.removed.map((r) => r.id), ['interns-small-models']);
  assert.deepEqual(diff.rules.changed.map((r) => [r.id, r.differs]), [['interns-short-requests', ['conditions', 'words']]]);
  assert.match(diff.rules.changed[0].sentenceBefore, /4000/);
  assert.match(diff.rules.changed[0].sentence, /100/);
  assert.deepEqual(diff.access.gained.map((a) => [a.model, a.people, a.callers]), [['big', 1, ['ivo']]]);
  assert.ok(diff.access.gained[0].actions.includes('chat') && !diff.access.gained[0].actions.includes('listModels'));
  assert.deepEqual(diff.access.lost, [{ model: 'tiny', people: 2, actions: ['embed'], callers: ['anna', 'ivo'] }]);
  const words = world.cli('policy', 'diff', rules(text));
  assert.match(words, /^\+ no-embeddings\n/);
  assert.match(words, /big is newly open to 1 caller \(chat, .*\): ivo\n/);
  assert.match(words, /~ interns-short-requests {2}\(conditions, words\)/);
});

test('diff: bad rules and versions that are not there are refused', () => {
  assert.match(ask('policy', 'diff', rules('permit(')).err, /nothing was changed/);
  assert.match(ask('policy', 'diff', '99').err, /99/);
  assert.equal(ask('policy', 'diff', 'nothing', '1').code, 2);
});

test('replay: an unchanged draft changes nothing', () => {
  const answer = world.json('policy', 'replay', '--since', '1h', '--draft', rules(starter()));
  assert.deepEqual([answer.replayed, answer.newlyDenied, answer.newlyPermitted, answer.drifted, answer.boundOtherwise], [14, 0, 0, 0, 0]);
  assert.deepEqual(answer.notReplayed, { beforeRules: 1, sealedAddress: 0, unreadable: 0 });
  assert.deepEqual([answer.callers, answer.models, answer.rules, answer.samples], [[], [], [], []]);
});

test('replay: a known edit changes exactly the known requests', () => {
  const before = world.json('audit', 'query', '--type', 'request', '--caller', 'anna', '--model', 'big', '--order', 'oldest').rows;
  const known = before.slice(3).map((row) => row.id);
  assert.equal(known.length, 2);
  const text = starter().replace(/@id\("interns-small-models"\)[^]*?;\n/, '') + short;
  const answer = world.json('policy', 'replay', '--since', '1h', '--draft', rules(text));
  assert.deepEqual([answer.replayed, answer.newlyDenied, answer.newlyPermitted], [14, 2, 4]);
  assert.deepEqual(answer.samples.filter((s) => s.after === 'deny').map((s) => s.id), known);
  assert.deepEqual(answer.rules, [{ rule: 'approved-models', newlyPermitted: 4, newlyDenied: 0 }, { rule: 'short-answers', newlyPermitted: 0, newlyDenied: 2 }]);
  assert.deepEqual(answer.models.map((m) => [m.model, m.newlyDenied, m.newlyDeniedPeople, m.newlyPermitted, m.newlyPermittedPeople]), [['big', 2, 1, 4, 1]]);
  assert.deepEqual(answer.callers.map((c) => [c.handle, c.newlyDenied, c.newlyPermitted]), [['ivo', 0, 4], ['anna', 2, 0]]);
  assert.match(world.cli('policy', 'replay', '--draft', rules(text)), /^2 of 14 recorded requests would now be denied, 4 would now be permitted\n/);
  assert.deepEqual(world.json('policy', 'replay', '--draft', rules(text), '--caller', 'ivo').newlyDenied, 0);
  // As a stored version, too; and the looking is on record.
  const { version } = world.json('policy', 'put', rules(text));
  assert.equal(world.json('policy', 'replay', '--draft', String(version)).newlyDenied, 2);
  assert.ok(world.json('audit', 'query', '--type', 'policy.replayed').rows.length >= 3);
});

test('replay: a draft that keeps the same records for longer binds otherwise', () => {
  world.cli('audit', 'retention', 'class', 'six-years', '--profile', 'hipaa');
  const kept = starter().replaceAll(/^permit/mg, '@retain("six-years")\npermit');
  const answer = world.json('policy', 'replay', '--since', '1h', '--draft', rules(kept));
  assert.deepEqual([answer.replayed, answer.newlyDenied, answer.newlyPermitted], [14, 0, 0]);
  assert.equal(answer.boundOtherwise, world.json('audit', 'query', '--type', 'request', '--decision', 'permit').rows.length);
});

test('replay: a rule that asks for the sealed address is counted apart, or asked with it', () => {
  const text = starter() + '@id("house") @title("In the house only") forbid (principal, action, resource) unless { context.request.ip.isInRange(ip("10.0.0.0/8")) };\n';
  const apart = world.json('policy', 'replay', '--draft', rules(text));
  assert.deepEqual([apart.replayed, apart.notReplayed.sealedAddress], [0, 14]);
  const opened = world.json('policy', 'replay', '--draft', rules(text), '--addresses');
  assert.deepEqual([opened.replayed, opened.newlyDenied, opened.notReplayed.sealedAddress], [14, 10, 0]);
  const loop = world.json('policy', 'replay', '--draft', rules(text.replace('10.0.0.0', '127.0.0.0')), '--addresses');
  assert.deepEqual([loop.replayed, loop.newlyDenied], [14, 0]);
});

test('show --plain: what is to be approved, in sentences', () => {
  assert.match(world.cli('policy', 'show', '--plain'), /interns-small-models: No one in team “interns” may use any model in model group “large”/);
});
