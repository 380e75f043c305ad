// SPDX-License-Identifier: Apache-2.0
//
// Commands about policies in files: they need no state directory and no
// server.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const dir = mkdtempSync(join(tmpdir(), 'bailiff-policies-'));
after(() => rmSync(dir, { recursive: true }));
const { BAILIFF_STATE: _, ...env } = process.env;
const run = (args, input = '') => {
  const done = spawnSync(process.env.BAILIFF, ['policy', ...args], { input, env, encoding: 'utf8' });
  return { code: done.status, out: done.stdout, err: done.stderr };
};
const file = (name, text) => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const starter = new URL('../../schema/starter.cedar', import.meta.url).pathname;
const schema = new URL('../../schema/bailiff.cedarschema', import.meta.url).pathname;

test('validate: our own rules against our own schema', () => {
  assert.equal(run(['validate', starter]).code, 0);
  const wrong = run(['validate', '-'], '@id("a") @title("b")\npermit(principal, action, resource)\nwhen { context.input.token > 1 };');
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /standard input:3:\d+: .*`token`.*`tokens` meant\? \(the number of input tokens\)/);
});

test('validate --schema: any policies, as text and as JSON', () => {
  const any = file('any.cedarschema', 'entity U { a: Long }; action v appliesTo { principal: U, resource: U };');
  assert.equal(run(['validate', '-', '--schema', any], 'permit(principal, action, resource) when { principal.a > 1 };').code, 0);
  const answer = run(['validate', '-', '--schema', any, '--json'], JSON.stringify({ staticPolicies: { p: { effect: 'permit',
    principal: { op: 'All' }, action: { op: 'All' }, resource: { op: 'All' },
    conditions: [{ kind: 'when', body: { '.': { left: { Var: 'principal' }, attr: 'b' } } }] } } }));
  assert.equal(answer.code, 1);
  const { valid, findings } = JSON.parse(answer.out);
  assert.equal(valid, false);
  assert.equal(findings[0].policy, 'p');
  assert.equal(run(['validate', '-', '--schema', starter], '').code, 1);
});

test('format: twice is once, comments stay, --check and --write', () => {
  const path = file('f.cedar', '// first\npermit(principal,action,resource)when{1<2&&true}; // why\n');
  const once = run(['format', path]).out;
  assert.match(once, /^\/\/ first\npermit \(principal, action, resource\)\nwhen \{ 1 < 2 && true \}; \/\/ why\n$/);
  assert.equal(run(['format', '-'], once).out, once);
  assert.equal(run(['format', path, '--check']).code, 1);
  assert.equal(run(['format', path, '--write']).code, 0);
  assert.equal(readFileSync(path, 'utf8'), once);
  assert.equal(run(['format', path, '--check']).code, 0);
  const broken = run(['format', '-'], 'permit(principal');
  assert.equal(broken.code, 1);
  assert.equal(broken.out, '');
  assert.match(broken.err, /standard input:1:\d+: error: unexpected end/);
});

test('describe: from the rule alone, in two languages', () => {
  const rule = '@id("x") @title("Everyone may do it") // all may\nforbid(principal in Team::"interns", action == Action::"chat", resource) unless { context.time.hour >= 8 && context.time.hour < 18 };';
  assert.equal(run(['describe', '-'], rule).out, 'x: No one in team “interns” may use any model to chat unless the hour is at least 8 and is less than 18.\n');
  assert.equal(run(['describe', '-', '--language', 'zh'], rule).out,
    'x：团队“interns”中的任何成员都不可以使用任何模型聊天，除非钟点不少于 8 并且小于 18。\n');
  const [item] = JSON.parse(run(['describe', '-', '--plain', '--json'], rule).out);
  assert.equal(item.effect, 'forbid');
  assert.match(item.sentence, /perform the action “chat” on anything/);
  assert.equal(run(['describe', '-', '--language', 'fr'], rule).code, 2);
});

test('authorize: a decision with its reasons', () => {
  const rules = file('r.cedar', '@id("a") permit(principal in Team::"staff", action, resource) when { context.tokens <= 4000 };\nforbid(principal, action, resource is Model) when { resource.x };');
  const entities = file('e.json', '[{"uid":{"type":"Caller","id":"c"},"attrs":{},"parents":[{"type":"Team","id":"staff"}]}]');
  const ask = (context, ...more) => run(['authorize', rules, '--entities', entities, '--principal', 'Caller::"c"',
    '--action', 'Action::"chat"', '--resource', 'Model::"m"', '--context', '-', ...more], context);
  const yes = ask('{"tokens": 4000}');
  assert.equal(yes.code, 0);
  assert.match(yes.out, /^ALLOW\n  a \(permit\) applies\n  policy1 \(forbid\) could not be evaluated: /);
  const no = ask('{"tokens": 4001}');
  assert.equal(no.code, 1);
  assert.match(no.out, /^DENY\n  no permit applies\n  a \(permit\) does not apply: the tokens is not at most 4000 \(the tokens is 4001\) \[1:\d+\]/);
  assert.deepEqual(JSON.parse(ask('{"tokens": 1}', '--json').out).reason, ['a']);
  const bad = ask('{"tokens": 1.5}');
  assert.equal(bad.code, 2);
  assert.equal(bad.out, '');
  assert.match(ask('[1').err, /standard input:1:3: /);
  assert.match(ask('{}', '--schema', schema).err, /Caller::"c"/);
});

test('batch: one line in, one line out', () => {
  const answer = run(['batch'], '{"id":"1","policies":"permit(principal, action, resource);","requests":[{"principal":"U::\\"a\\"","action":"Action::\\"r\\"","resource":"U::\\"b\\""}]}\n\n{"id":"2"}');
  assert.equal(answer.code, 0);
  const [one, two] = answer.out.trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(one, { id: '1', results: [{ decision: 'allow', reason: ['policy0'], errors: [] }] });
  assert.equal(two.error.stage, 'line');
  assert.equal(run(['batch', 'x']).code, 2);
});
