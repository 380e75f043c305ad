// SPDX-License-Identifier: Apache-2.0
//
// Rules on live traffic: a candidate in the shadow, what the active rules did;
// and signed bundles of rules from outside.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { World } from './harness.mjs';

let world, anna, ivo;
const file = (name, text) => {
  const path = join(world.dir, name);
  writeFileSync(path, text);
  return path;
};
const ask = (...args) => {
  const done = spawnSync(process.env.BAILIFF, ['-C', world.state, ...args], { encoding: 'utf8' });
  return { code: done.status, out: done.stdout, err: done.stderr };
};
const chat = (key, model, body = {}) => world.chat(key, { model, max_tokens: 2, ...body });

before(async () => {
  world = await World.make();
  anna = world.onboard('anna');
  ivo = world.onboard('ivo', 'interns');
});
after(() => world.end());

test('shadow: a candidate decides beside the active rules, and changes no answer', async () => {
  const text = world.cli('policy', 'show', '--text').replace(/@id\("interns-small-models"\)[^]*?;\n/, '') +
    '@id("no-tiny-for-anna") @title("t") forbid (principal == Caller::"anna", action in Action::"infer", resource == Model::"tiny");\n' +
    '@id("capped") @title("t") @max_tokens("1") permit (principal in Team::"interns", action in Action::"infer", resource == Model::"tiny");\n';
  const { version } = world.json('policy', 'put', file('candidate.cedar', text));
  assert.match(world.cli('policy', 'shadow', 'status'), /no version is asked in the shadow/);
  assert.match(ask('policy', 'shadow', 'stop').err, /no version is asked/);
  world.cli('policy', 'shadow', 'start', String(version), '--reason', 'before the board meets');
  assert.match(ask('policy', 'shadow', 'start', String(version)).err, /is asked already/);
  assert.match(ask('policy', 'shadow', 'start', '1').err, /is the active one/);
  for (let i = 0; i < 3; i++) assert.equal((await chat(anna, 'tiny')).status, 200);
  for (let i = 0; i < 2; i++) assert.equal((await chat(ivo, 'big')).status, 403);
  assert.equal((await chat(ivo, 'tiny')).status, 200);
  for (let i = 0; i < 4; i++) assert.equal((await chat(anna, 'big')).status, 200);
  const { counts } = world.json('policy', 'shadow', 'status');
  // A slow machine may pass requests over; none is counted otherwise.
  assert.equal(counts.asked + counts.skipped, 10);
  const rule = (id) => counts.rules.find((one) => one.rule === id) ?? { newlyDenied: 0, newlyPermitted: 0 };
  assert.equal(counts.newlyDenied, rule('no-tiny-for-anna').newlyDenied);
  assert.equal(counts.newlyPermitted, rule('approved-models').newlyPermitted);
  if (counts.skipped === 0)
    assert.deepEqual([counts.newlyDenied, counts.newlyPermitted, counts.boundOtherwise, counts.same], [3, 2, 1, 4]);
  assert.ok(counts.samples.length >= counts.newlyDenied + counts.newlyPermitted);
  for (const one of counts.samples) assert.ok(world.json('audit', 'show', one.id).entries.length > 0);
  const stopped = world.json('policy', 'shadow', 'stop');
  assert.equal(stopped.counts.asked, counts.asked);
  assert.equal((await chat(anna, 'tiny')).status, 200);
  assert.equal(world.json('policy', 'shadow', 'status').running, false);
  const acts = world.json('audit', 'query', '--type', 'policy', '--order', 'oldest').rows.map((row) => row.type);
  assert.ok(acts.includes('policy.shadow_started') && acts.includes('policy.shadow_stopped'));
});

test('stats: how often each rule decided, for whom, and which never did', () => {
  const stats = world.json('policy', 'stats', '--since', '1h');
  const rule = Object.fromEntries(stats.rules.map((one) => [one.id, one]));
  assert.deepEqual([rule['approved-models'].requests, rule['approved-models'].denied, rule['approved-models'].people], [9, 0, 2]);
  assert.ok(rule['approved-models'].tokens > 0 && rule['approved-models'].meanMicroseconds > 0);
  assert.deepEqual([rule['interns-small-models'].requests, rule['interns-small-models'].denied, rule['interns-small-models'].people], [2, 2, 1]);
  assert.deepEqual(stats.never.sort(), ['high-risk-cleared', 'interns-short-requests']);
  assert.match(world.cli('policy', 'stats'), /never decided a request in this time: .*high-risk-cleared/);
});

test('stats: before a rule came into force, and after', async () => {
  const text = world.cli('policy', 'show', '--text') +
    '@id("no-big") @title("t") forbid (principal, action in Action::"infer", resource == Model::"big");\n';
  const { version } = world.json('policy', 'put', file('nobig.cedar', text));
  world.cli('policy', 'activate', String(version));
  assert.equal((await chat(anna, 'big')).status, 403);
  assert.equal((await chat(anna, 'tiny')).status, 200);
  const stats = world.json('policy', 'stats', 'no-big', '--since', '1h');
  assert.deepEqual([stats.before.requests, stats.before.denied, stats.before.people], [11, 2, 2]);
  assert.deepEqual([stats.after.requests, stats.after.denied, stats.after.people], [2, 1, 1]);
  assert.deepEqual(stats.rules.map((one) => [one.id, one.denied]), [['no-big', 1]]);
  // One that the version took over is in force since the version before.
  assert.equal(world.json('policy', 'stats', 'approved-models').after.requests, 13);
  assert.match(ask('policy', 'stats', 'nosuch').err, /no rule "nosuch"/);
});

test('bundles: signed rules from outside become a draft with their source', () => {
  const key = join(world.dir, 'authority');
  const pub = `${key}.pub`;
  world.cli('policy', 'bundle', 'make-key', key, '--name', 'authority.example/rules');
  const head = 'bailiff rules bundle v1\nname: guidance-7\npublisher: Example Authority\nsource: https://authority.example/7\narticle: Guidance 7, section 3\nfrom: 2026-01-01\n';
  const rules = '// the authority says\n@id("g7-3")\n@title("No long requests")\nforbid (principal, action in Action::"infer", resource)\nwhen { context.input.tokens > 1000 };\n';
  const signed = file('g7.bundle', world.cli('policy', 'bundle', 'sign', file('g7.txt', `${head}until: 2099-01-01\n\n${rules}`), '--private-key', key));
  const seen = world.json('policy', 'bundle', 'verify', signed, '--key', pub);
  assert.deepEqual([seen.name, seen.publisher, seen.key, seen.inForce], ['guidance-7', 'Example Authority', 'authority.example/rules', true]);
  assert.match(world.cli('policy', 'bundle', 'verify', signed, '--key', readFileSync(pub, 'utf8').trim()), /g7-3: No one may use any model/);
  const made = world.json('policy', 'bundle', 'add', signed, '--key', pub, '--advise');
  const { shown, note } = world.json('policy', 'show', String(made.version));
  assert.match(shown, /\/\/ the authority says\n@source\("Example Authority: https:\/\/authority.example\/7"\)\n@article\("Guidance 7, section 3"\)\n@mode\("advise"\)\n@expires\("2099-01-01"\)\n@id\("g7-3"\)/);
  assert.equal(note, 'bundle guidance-7 of Example Authority, signed by authority.example/rules');
  // One byte otherwise, another key, an ended one, no bundle at all.
  const refused = (path, by, words) => {
    const done = ask('policy', 'bundle', 'add', path, '--key', by);
    assert.equal(done.code, 1);
    assert.match(done.err, words);
  };
  refused(file('bad.bundle', readFileSync(signed, 'utf8').replace('> 1000', '> 9999')), pub, /nothing was changed/);
  world.cli('policy', 'bundle', 'make-key', `${key}2`, '--name', 'authority.example/rules');
  refused(signed, `${key}2.pub`, /nothing was changed/);
  const ended = file('ended.bundle', world.cli('policy', 'bundle', 'sign', file('e.txt', `${head}until: 2026-02-01\n\n${rules}`), '--private-key', key));
  refused(ended, pub, /ended on 2026-02-01/);
  assert.match(ask('policy', 'bundle', 'sign', file('n.txt', `${head.replace('name:', 'nom:')}\n${rules}`), '--private-key', key).err, /line 2 .* is none of/);
  assert.match(ask('policy', 'bundle', 'sign', file('d.txt', `${head.replace('2026-01-01', '2026-13-01')}\n${rules}`), '--private-key', key).err, /no day/);
});
