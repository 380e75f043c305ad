// SPDX-License-Identifier: Apache-2.0
//
// Groups of an OpenID provider's tokens that stand for teams: rules and quotas
// count them in for that request, the record names them, and a decision can be
// repeated after the mapping is gone.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OAuth2Server } from 'oauth2-mock-server';
import { World, until } from './harness.mjs';

let world, provider;
const RULES = `@id("list") @title("Everybody may look")
permit (principal, action in Action::"read", resource);
@id("science") @title("Science may infer")
permit (principal in Team::"science", action in Action::"infer", resource);
@id("guests") @title("Guests may not use big")
forbid (principal, action in Action::"infer", resource) when { principal in Team::"guests" && resource.name == "big" };
`;

async function token(groups, claims = {}) {
  const text = await provider.issuer.buildToken({ expiresIn: 3600, scopesOrTransform: (header, payload) => {
    Object.assign(payload, { aud: 'bailiff', sub: 'alice', ...(groups && { groups }), ...claims });
  } });
  world.secrets.push(text.split('.')[2]);
  return text;
}
const idOf = (answer, status) => { assert.equal(answer.status, status, answer.body); return answer.headers['x-request-id']; };
const redecide = (id) => JSON.parse(spawnSync(process.env.BAILIFF, ['-C', world.state, 'audit', 'redecide', id, '--json'], { encoding: 'utf8' }).stdout);
// The refusal, as the command says it.
const refused = (...args) => {
  const { status, stderr } = spawnSync(process.env.BAILIFF, ['-C', world.state, ...args], { encoding: 'utf8' });
  assert.notEqual(status, 0);
  return stderr;
};
// The entry that decided.
async function entry(id) {
  await world.record(id);
  return JSON.stringify(world.json('audit', 'show', id));
}

before(async () => {
  provider = new OAuth2Server();
  await provider.issuer.keys.generate('RS256');
  await provider.start(0, 'localhost');
  world = await World.make();
  world.cli('team', 'add', 'science');
  world.cli('team', 'add', 'lab', '--parent', 'science');
  world.cli('team', 'add', 'guests');
  world.onboard('corp:alice');
  const file = join(world.dir, 'groups.cedar');
  writeFileSync(file, RULES);
  world.cli('policy', 'put', file, '--activate');
  world.cli('issuer', 'add', 'corp', provider.issuer.url, '--audience', 'bailiff', '--prefix', 'corp:', '--groups-claim', 'groups');
  await until(async () => (await world.chat(await token())).status === 403, 'the keys');
});
after(async () => {
  await world.end();
  if (provider.listening) await provider.stop();
});

test('a group that stands for a team, and for those above it', async () => {
  const text = await token(['/eng/lab 1', 'noise']);
  idOf(await world.untouched(() => world.chat(text)), 403);
  assert.match(world.cli('issuer', 'map-group', 'corp', '/eng/lab 1', 'lab'), /\/eng\/lab 1 = lab/);
  world.cli('issuer', 'map-group', 'corp', 'visitor', 'guests');
  assert.match(world.cli('issuer', 'list'), /\/eng\/lab 1 = lab, visitor = guests/);
  assert.match(refused('issuer', 'map-group', 'corp', '/eng/lab 1', 'guests'), /unmap it first/);
  assert.match(refused('team', 'remove', 'lab'), /unmap those/);
  // The same token, which was remembered meanwhile.
  const id = idOf(await world.chat(text), 200);
  const shown = await entry(id);
  assert.match(shown, /"groupTeams":\["lab"\]/);
  assert.match(shown, /"teams":\["everyone","lab","science"\]/);
  // Without the group, or with another spelling, the caller is as ever.
  for (const groups of [undefined, ['/eng/lab'], ['/ENG/lab 1'], ['lab'], ['science']]) {
    const other = await token(groups);
    const denied = idOf(await world.untouched(() => world.chat(other)), 403);
    assert.doesNotMatch(await entry(denied), /groupTeams/);
  }
  // A forbid sees it, too.
  const both = await token(['visitor', '/eng/lab 1']);
  idOf(await world.chat(both), 200);
  const forbidden = await world.untouched(() => world.chat(both, { model: 'big' }));
  assert.match(forbidden.body, /guests/);
  assert.match(await entry(idOf(forbidden, 403)), /"groupTeams":\["guests","lab"\]/);
});

test('repeated, explained and replayed out of the log: the same', async () => {
  const text = await token(['/eng/lab 1', 'visitor']);
  const permit = idOf(await world.chat(text), 200);
  const forbid = idOf(await world.chat(text, { model: 'big' }), 403);
  for (const id of [permit, forbid]) {
    await world.record(id);
    const answer = redecide(id);
    assert.equal(answer.result, 'same', JSON.stringify(answer, null, 1));
    assert.ok(answer.checks.some((one) => one.what === 'teams by groups' && one.repeated.lab && one.repeated.guests));
  }
  const draft = join(world.dir, 'draft.cedar');
  writeFileSync(draft, RULES.replace('&& resource.name == "big"', ''));
  const answer = world.json('policy', 'replay', '--since', '1h', '--draft', draft);
  assert.equal(answer.drifted, 0, JSON.stringify(answer));
  assert.equal(answer.newlyDenied, 2); // this one, and that of the test before
  assert.equal(answer.newlyPermitted, 0);
});

test('the team\'s quota is drawn from by whoever comes with the group, and by nobody else', async () => {
  const quota = world.json('quota', 'set', '--team', 'science', '--requests-per-day', '2');
  assert.ok(JSON.stringify(quota).includes('quo_'));
  const inside = await token(['/eng/lab 1']), outside = await token();
  const usage = async (key) => JSON.parse((await world.request('GET', '/v1/bailiff/usage', { key })).body).data.filter((one) => one.scope === 'team').map((one) => [one.subject, one.remaining]);
  assert.deepEqual(await usage(inside), [['science', 2]]);
  assert.deepEqual(await usage(outside), []);
  idOf(await world.chat(inside), 200);
  idOf(await world.chat(inside), 200);
  const over = idOf(await world.untouched(() => world.chat(inside)), 429);
  assert.deepEqual(await usage(inside), [['science', 0]]);
  await world.record(over);
  const answer = redecide(over);
  assert.equal(answer.result, 'same', JSON.stringify(answer, null, 1));
});

test('more teams than the record can hold: refused rather than judged by some', async () => {
  const names = Array.from({ length: 9 }, (_, i) => `${'t'.repeat(127)}${i}`);
  for (const name of names) {
    world.cli('team', 'add', name);
    world.cli('issuer', 'map-group', 'corp', `g-${name.at(-1)}`, name);
  }
  const groups = names.map((name) => `g-${name.at(-1)}`);
  const text = await token(groups);
  const answer = await world.untouched(() => world.chat(text));
  assert.equal(answer.status, 401);
  assert.match(answer.body, /groups_invalid/);
  idOf(await world.untouched(async () => world.chat(await token(groups.slice(1)))), 403);
});

test('a mapping that is gone counts no more, and what was decided by it comes out the same', async () => {
  world.cli('quota', 'remove', world.json('quota', 'list').items.find((one) => one.subject === 'science').id);
  const text = await token(['/eng/lab 1']);
  const id = idOf(await world.chat(text), 200);
  await world.record(id);
  world.cli('issuer', 'unmap-group', 'corp', '/eng/lab 1');
  assert.match(refused('issuer', 'unmap-group', 'corp', '/eng/lab 1'), /stands for no team/);
  const denied = idOf(await world.untouched(() => world.chat(text)), 403);
  assert.doesNotMatch(await entry(denied), /groupTeams/);
  world.cli('team', 'remove', 'lab');
  for (const one of [id, denied]) {
    const answer = redecide(one);
    assert.equal(answer.result, 'same', JSON.stringify(answer, null, 1));
  }
});
