// SPDX-License-Identifier: Apache-2.0
//
// Test cases beside rules, explanations, recipes and packs.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { World } from './harness.mjs';

let world, anna, ivo;
const starter = () => world.cli('policy', 'show', '1', '--text');
const file = (name, text) => {
  const path = join(world.dir, name);
  writeFileSync(path, typeof text === 'string' ? text : JSON.stringify(text, null, 1));
  return path;
};
// Exit code, standard output and standard error of a command that may say no.
const ask = (...args) => {
  const done = spawnSync(process.env.BAILIFF, ['-C', world.state, ...args], { encoding: 'utf8' });
  return { code: done.status, out: done.stdout, err: done.stderr };
};
const bare = (...args) => {
  const { BAILIFF_STATE: _, ...env } = process.env;
  const done = spawnSync(process.env.BAILIFF, args, { encoding: 'utf8', env });
  return { code: done.status, out: done.stdout, err: done.stderr };
};

before(async () => {
  world = await World.make();
  anna = world.onboard('anna');
  ivo = world.onboard('ivo', 'interns');
});
after(() => world.end());

// --- Test cases ---------------------------------------------------------------

const cases = { cases: [
  { name: 'interns and large models', caller: 'ivo', model: 'big', expect: 'deny', by: ['interns-small-models'] },
  { name: 'anna and large models', caller: 'anna', model: 'big', expect: 'permit', by: ['approved-models'] },
] };

test('policy test: cases beside the rules, asked of the directory', () => {
  const rules = file('mine.cedar', starter());
  file('mine.tests.json', cases);
  const good = ask('policy', 'test', rules);
  assert.deepEqual([good.code, good.out], [0, 'ok      interns and large models\nok      anna and large models\n2 passed, 0 failed\n']);
  const changed = file('mine2.cedar', starter().replace(/@id\("interns-small-models"\)[^]*?;\n/, ''));
  const bad = ask('policy', 'test', changed, '--tests', join(world.dir, 'mine.tests.json'));
  assert.equal(bad.code, 1);
  assert.match(bad.out, /FAILED {2}interns and large models: deny was expected; the rule interns-small-models did not decide \(permit by approved-models\)/);
  assert.match(ask('policy', 'test', rules, '--tests', file('bad.json', '{"cases": [{"name": "x", "caler": "ivo"}]}')).err, /did you mean "caller"/);
  assert.match(ask('policy', 'test').err, /has no test cases/);
});

test('policy test: with a world of their own they need no state', () => {
  const rules = file('alone.cedar', '@id("a") @title("t") permit (principal in Team::"t", action, resource);');
  const tests = { world: { teams: { t: '' }, callers: { c: { teams: ['t'] }, d: {} }, engines: { e: {} }, models: { m: {} } },
    cases: [{ name: 'one', caller: 'c', model: 'm', expect: 'permit' }, { name: 'two', caller: 'd', model: 'm', expect: 'deny' }] };
  file('alone.tests.json', tests);
  assert.deepEqual(bare('policy', 'test', rules).out, 'ok      one\nok      two\n2 passed, 0 failed\n');
  assert.match(bare('policy', 'test', rules, '--tests', file('none.json', cases)).err, /give -C DIR/);
});

test('a version keeps its cases, and goes no further than a draft while they fail', () => {
  const stored = world.json('policy', 'put', join(world.dir, 'mine.cedar'));
  assert.equal(JSON.parse(world.json('policy', 'show', String(stored.version)).tests).cases.length, 2);
  world.cli('policy', 'activate', String(stored.version));
  // Without cases of its own the next version takes them over.
  const next = world.json('policy', 'put', file('next.cedar', starter().replace(/@id\("interns-small-models"\)[^]*?;\n/, '')));
  for (const step of ['submit', 'activate']) {
    const refused = ask('policy', step, String(next.version));
    assert.equal(refused.code, 1);
    assert.match(refused.err, /1 of 2 test cases of policy version \d+ fail: interns and large models: deny was expected/);
  }
  assert.equal(world.json('policy', 'show', String(next.version)).state, 'draft');
  assert.equal(world.json('policy', 'show').version, stored.version);
  assert.equal(ask('policy', 'test', String(next.version)).code, 1);
  const dropped = world.json('policy', 'put', join(world.dir, 'next.cedar'), '--no-tests');
  assert.equal(world.json('policy', 'show', String(dropped.version)).tests, undefined);
  world.cli('policy', 'submit', String(dropped.version));
  assert.equal(world.json('audit', 'query', '--type', 'policy.tests_stored').rows.length, 2);
});

test('the effect is taken at submission and kept with the version', async () => {
  for (let i = 0; i < 3; i++) await world.chat(anna, { model: 'big', max_tokens: 2 });
  const text = starter() + '@id("no-big") @title("Nobody uses big") forbid (principal, action in Action::"infer", resource == Model::"big");\n';
  const { version } = world.json('policy', 'put', file('effect.cedar', text), '--no-tests');
  world.cli('policy', 'submit', String(version));
  const { effect } = world.json('policy', 'show', String(version));
  assert.deepEqual([effect.replay.replayed, effect.replay.newlyDenied, effect.replay.newlyPermitted], [3, 3, 0]);
  assert.deepEqual(effect.access.lost.map((one) => [one.model, one.people]), [['big', 1]]);
  assert.match(effect.sentence, /^3 of 3 requests of the last 7 days would now be denied, 0 would now be permitted; big newly closed to 1 caller$/);
  assert.match(world.cli('policy', 'show', String(version)), /effect +3 of 3 requests/);
});

// --- Explain -------------------------------------------------------------------

test('explain: of those that nearly applied the condition that failed, with its values', () => {
  const no = ask('policy', 'explain', '--caller', 'ivo', '--model', 'big');
  assert.equal(no.code, 1);
  assert.match(no.out, /^DENIED: ivo may not chat with big\n/);
  assert.match(no.out, /these rules apply:[^]*interns-small-models \(forbid\) applies/);
  assert.match(no.out, /nearly applied:[^]*interns-short-requests \(forbid\) does not apply: .*\(the number of input tokens is 0\)/);
  const yes = ask('policy', 'explain', '--caller', 'anna', '--model', 'tiny', '--input-tokens', '5000', '--all');
  assert.equal(yes.code, 0);
  assert.match(yes.out, /these are about other callers:[^]*interns-/);
  assert.match(ask('policy', 'explain').err, /ID of a request/);
});

test('explain: obligations, each with the rule it comes from', () => {
  const text = starter() + '@id("cap-100") @title("c") @max_tokens("100") permit (principal, action in Action::"infer", resource);\n' +
    '@id("cap-50") @title("c") @max_tokens("50") @record("full") permit (principal, action in Action::"infer", resource);\n';
  const { version } = world.json('policy', 'put', file('caps.cedar', text), '--no-tests');
  const out = ask('policy', 'explain', '--caller', 'anna', '--model', 'tiny', '--version', String(version)).out;
  assert.match(out, /obligation maxTokens 100 from cap-100, which a stricter one overrides\n/);
  assert.match(out, /obligation maxTokens 50 from cap-50\n/);
  assert.match(out, /obligation recordFull true from cap-50\n/);
});

test('explain: a request on record, by the rules of its time', async () => {
  const answer = await world.chat(ivo, { model: 'big' });
  const id = answer.headers['x-request-id'];
  const out = world.cli('policy', 'explain', id);
  assert.match(out, /^ivo asked to chat with big: denied by the rules of version \d+\n/);
  assert.match(out, /interns-small-models \(forbid\) applies/);
  assert.equal(world.json('policy', 'explain', id).permitted, false);
  assert.equal(world.json('audit', 'query', '--type', 'policy.explained').rows.length, 2);
  const early = await world.chat(anna, { model: 'nonesuch' });
  assert.match(ask('policy', 'explain', early.headers['x-request-id']).err, /the rules were not asked about this request/);
  assert.match(ask('policy', 'explain', '01J00000000000000000000000').err, /no request or event/);
});

// --- Recipes and packs ------------------------------------------------------------

test('recipes: a form becomes a rule, and the form can be opened again', () => {
  assert.ok(JSON.parse(bare('policy', 'recipes', '--json').out).length >= 20);
  assert.match(bare('policy', 'recipes', 'office-hours').out, /--from clock +when the day begins \(08:00\)/);
  assert.match(bare('policy', 'new', 'office-hours', '--print', '--team', 'interns').out, /@param_days\("Mon-Fri"\)/);
  const made = world.cli('policy', 'new', 'office-hours', '--team', 'interns', '--from', '09:00', '--to', '17:30');
  assert.match(made, /No one in team “interns” may use/);
  const version = made.match(/version (\d+) stored/)[1];
  assert.deepEqual(world.json('policy', 'diff', version).rules.added.map((one) => one.id), ['interns-office-hours']);
  const night = ['--caller', 'ivo', '--model', 'tiny', '--version', version, '--at'];
  assert.equal(ask('policy', 'try', ...night, '2026-11-23T17:29:00Z').code, 0);
  assert.equal(ask('policy', 'try', ...night, '2026-11-23T17:30:00Z').code, 1);
  world.cli('policy', 'activate', version);
  const edited = world.cli('policy', 'edit-recipe', 'interns-office-hours', '--to', '20:00').match(/version (\d+)/)[1];
  const { rules } = world.json('policy', 'diff', edited);
  assert.deepEqual([rules.added, rules.removed, rules.changed.map((one) => one.id)], [[], [], ['interns-office-hours']]);
  assert.match(world.cli('policy', 'show', edited, '--text'), /@param_from\("09:00"\)\n@param_to\("20:00"\)/);
  assert.match(ask('policy', 'edit-recipe', 'approved-models').err, /was not made by a recipe/);
  assert.match(ask('policy', 'new', 'office-hours', '--team', 'nosuch').err, /nosuch/);
  assert.match(ask('policy', 'new', 'office-hours', '--team', 'interns', '--from', '9').err, /no time of day/);
});

test('packs: shown, tested and added as a draft', () => {
  const list = JSON.parse(bare('policy', 'packs', '--json').out).map((one) => one.name);
  for (const name of list) {
    const rules = file(`${name}.cedar`, bare('policy', 'pack', 'rules', name).out);
    file(`${name}.tests.json`, bare('policy', 'pack', 'tests', name).out);
    const tested = bare('policy', 'test', rules);
    assert.equal(tested.code, 0, tested.out + tested.err);
    assert.match(bare('policy', 'pack', 'show', name).out, /^# .*/);
    const added = ask('policy', 'pack', 'add', name, '--make-names');
    assert.equal(added.code, 0, added.err);
  }
  assert.ok(list.includes('least-privilege'));
  const twice = world.json('policy', 'put', file('twice.cedar', bare('policy', 'pack', 'rules', 'least-privilege').out), '--no-tests');
  world.cli('policy', 'activate', String(twice.version));
  assert.match(ask('policy', 'pack', 'add', 'least-privilege').err, /already; nothing was changed/);
  assert.match(bare('policy', 'pack', 'show', 'least-privilige').err, /did you mean "least-privilege"/);
});
