// SPDX-License-Identifier: Apache-2.0
//
// Claims of a token that rules ask about: typed, known to the schema, on record,
// and never taken for something else.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OAuth2Server } from 'oauth2-mock-server';
import { World, until } from './harness.mjs';

let world, provider;
async function token(claims = {}) {
  const text = await provider.issuer.buildToken({ expiresIn: 3600, scopesOrTransform: (header, payload) => {
    Object.assign(payload, { aud: 'bailiff', sub: 'alice', ...claims });
  } });
  world?.secrets.push(text.split('.')[2]);
  return text;
}
const chat = async (claims) => world.chat(await token(claims));
const shown = (answer) => world.json('audit', 'show', answer.headers['x-request-id']).entries[0].entry;
const has = (name) => `context has claims && context.claims has ${name} &&`;
const rule = (id, effect, condition) => `@id("${id}") @title("${id}") ${effect} (principal, action in Action::"infer", resource) when { ${condition} };\n`;
function rules(text) {
  const file = join(world.dir, 'rules.cedar');
  writeFileSync(file, text);
  return file;
}
function validate(condition) {
  try { return [true, world.cli('policy', 'validate', rules(rule('r', 'permit', condition)))]; }
  catch (error) { return [false, `${error.stdout}${error.stderr}`]; }
}
const map = (...args) => world.cli('issuer', 'map-claim', 'corp', ...args);

before(async () => {
  provider = new OAuth2Server();
  await provider.issuer.keys.generate('ES256');
  await provider.start(0, 'localhost');
  world = await World.make();
  world.onboard('corp:alice');
  world.cli('issuer', 'add', 'corp', provider.issuer.url, '--audience', 'bailiff', '--prefix', 'corp:', '--groups-claim', 'groups');
  await until(async () => (await chat()).status === 200, 'the keys', 20000);
});
after(async () => {
  try { await world?.end(); } finally { await provider.stop(); }
});

test('the schema knows what is mapped, and nothing else', () => {
  const wanted = `${has('department')} context.claims.department == "research"`;
  assert.equal(validate(wanted)[0], false);
  assert.match(map('org.department', 'department', 'string'), /org\.department = department \(string\)/);
  map('https://corp.example/level', 'level', 'long');
  map('cleared', 'cleared', 'bool');
  map('projects', 'projects', 'set');
  assert.deepEqual(validate(wanted)[0], true);
  assert.equal(validate(`${has('level')} context.claims.level >= 3`)[0], true);
  for (const wrong of [`${has('level')} context.claims.level == "3"`, `${has('projects')} context.claims.projects == "x"`,
    `${has('salary')} context.claims.salary > 3`, 'context.claims.department == "research"']) {
    const [good, text] = validate(wrong);
    assert.deepEqual([good, /rules\.cedar:1:\d+/.test(text)], [false, true], `${wrong}: ${text}`);
  }
  assert.throws(() => map('other', 'level', 'string'), /is a long already|claim of this issuer already/);
  assert.throws(() => map('x', 'if', 'string'), /cannot be written/);
});

test('rules decide by them; the record has them', async () => {
  const file = rules(rule('in', 'permit', `${has('department')} context.claims.department == "research" && context.claims has level && context.claims.level >= 3`) +
    rule('list', 'permit', 'context.input.tokens < 0') +
    rule('secret', 'forbid', `${has('projects')} context.claims.projects.contains("secret")`) +
    rule('cleared', 'forbid', `${has('cleared')} !context.claims.cleared`));
  world.cli('policy', 'put', file, '--activate');
  const good = { org: { department: 'research' }, 'https://corp.example/level': 3 };
  const answer = await chat(good);
  assert.equal(answer.status, 200, answer.body);
  assert.deepEqual(shown(answer).context.claims, { department: 'research', level: 3 });
  assert.equal((await chat({ ...good, projects: ['a', 'b'], cleared: true })).status, 200);
  const same = await token(good); // once verified, once remembered
  for (let i = 0; i < 3; i++) assert.equal((await world.chat(same)).status, 200);
  for (const bad of [{}, { org: { department: 'sales' }, 'https://corp.example/level': 3 }, { ...good, 'https://corp.example/level': 2 },
    { ...good, projects: ['a', 'secret'] }, { ...good, cleared: false }, { department: 'research', level: 3 }]) {
    const text = await token(bad);
    for (let i = 0; i < 2; i++) assert.equal((await world.untouched(() => world.chat(text))).status, 403, JSON.stringify(bad));
  }
  // What was decided can be decided again, by the record alone.
  await world.record(answer.headers['x-request-id']);
  assert.equal(world.json('audit', 'redecide', answer.headers['x-request-id']).result, 'same');
  const replayed = world.json('policy', 'replay', '--since', '1h', '--draft', file);
  assert.equal(replayed.newlyDenied, 0, JSON.stringify(replayed));
});

test('of another type: not served, on record, and it says which', async () => {
  const good = { org: { department: 'research' }, 'https://corp.example/level': 3 };
  for (const [claims, pattern] of [
    [{ ...good, org: { department: 7 } }, /"org\.department\" is not of the type String/],
    [{ ...good, org: { department: null } }, /String/], [{ ...good, org: { department: ['research'] } }, /String/],
    [{ ...good, 'https://corp.example/level': '3' }, /level\" is not of the type Long/],
    [{ ...good, 'https://corp.example/level': 3.5 }, /Long/], [{ ...good, 'https://corp.example/level': 2 ** 60 }, /Long/],
    [{ ...good, cleared: 'true' }, /"cleared\" is not of the type Bool/], [{ ...good, cleared: 1 }, /Bool/],
    [{ ...good, projects: 'secret' }, /"projects\" is not of the type Set<String>/], [{ ...good, projects: ['a', 7] }, /Set<String>/],
  ]) {
    const text = await token(claims);
    for (let i = 0; i < 2; i++) { // the second time from what is remembered
      const answer = await world.untouched(() => world.chat(text));
      assert.equal(answer.status, 403, answer.body);
      const { error } = JSON.parse(answer.body);
      assert.equal(error.code, 'invalid_claim');
      assert.match(error.message, pattern);
      await world.record(answer.headers['x-request-id']);
      const { denied } = shown(answer);
      assert.deepEqual([denied.code, denied.message], ['invalid_claim', error.message]);
    }
  }
  const answer = await chat({ ...good, org: { department: 'x'.repeat(3000) } });
  assert.deepEqual([answer.status, /claims_invalid/.test(answer.body)], [401, true]);
});

test('an attribute outlives its issuer as long as rules name it', async () => {
  world.cli('issuer', 'unmap-claim', 'corp', 'cleared'); // which a rule names
  world.cli('issuer', 'remove', 'corp');
  await world.stop();
  await world.serve();
  const key = world.onboard('bob');
  assert.equal((await world.chat(key)).status, 403, 'the rules are in force, and want a department');
  world.cli('issuer', 'add', 'corp', provider.issuer.url, '--audience', 'bailiff', '--prefix', 'corp:');
  assert.throws(() => map('cleared', 'cleared', 'string'), /is a bool already/);
  map('dep', 'department', 'string');
  map('level', 'level', 'long');
  await until(async () => (await chat({ dep: 'research', level: 4 })).status === 200, 'the keys', 20000);
  assert.match(world.cli('issuer', 'claims'), /department\s+string\s+corp/);
  // The command line compiles the active rules itself where it changes them.
  const made = world.cli('policy', 'new', 'office-hours', '--team', 'interns', '--from', '09:00', '--to', '17:30').match(/version (\d+)/)[1];
  for (const step of ['submit', 'activate']) world.cli('policy', step, made);
  const edited = world.cli('policy', 'edit-recipe', 'interns-office-hours', '--to', '20:00').match(/version (\d+)/)[1];
  assert.match(world.cli('policy', 'show', edited), /context\.claims\.department[^]*interns-office-hours/);
  // Named by no rule and of no issuer: its type may be another.
  map('x', 'unused', 'bool');
  world.cli('issuer', 'unmap-claim', 'corp', 'unused');
  map('x', 'unused', 'long');
});
