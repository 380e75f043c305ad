// SPDX-License-Identifier: Apache-2.0
//
// The log's signing key is rotated twice: whoever was given the first key
// follows, with Bailiff and without; what is not continued is named.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World } from './harness.mjs';

const program = process.env.BAILIFF;
const verifier = new URL('../../schema/verify.py', import.meta.url).pathname;
let world, alice, first, second, third, kept;

const attempt = (...args) => { const done = spawnSync(program, ['-C', world.state, ...args], { encoding: 'utf8' }); return { code: done.status, text: done.stdout + done.stderr }; };
const python = (...args) => { const done = spawnSync('python3', [verifier, ...args], { encoding: 'utf8' }); return { code: done.status, text: done.stdout + done.stderr }; };
const logFile = (name) => readFileSync(join(world.state, 'log', name), 'utf8');
const lines = () => logFile('checkpoint').split('\n').filter((line) => line.startsWith('— '));
const holds = ({ code, text }) => assert.equal(code, 0, text);
function mirror(name) {
  const to = join(world.dir, name);
  rmSync(to, { recursive: true, force: true });
  cpSync(join(world.state, 'log'), to, { recursive: true });
  return to;
}

before(async () => {
  world = await World.make();
  alice = world.onboard('alice');
  await world.chat(alice);
  first = readFileSync(join(world.state, 'log.vkey'), 'utf8').trim();
  kept = join(world.dir, 'kept');
  world.cli('audit', 'checkpoint');
  writeFileSync(kept, logFile('checkpoint'));
});
after(() => world.end());

test('a rotation without overlap: the new key signs alone, and the first leads to it', async () => {
  second = world.json('audit', 'rotate-key', '--overlap-days', '0', '--reason', 'a copy was lost').newKey;
  assert.notEqual(second, first);
  assert.equal(lines().length, 1);
  for (const key of [first, second]) holds(attempt('audit', 'verify', '--key', key, '--against', kept));
  holds(attempt('audit', 'verify'));
  holds(python(first, 'log', mirror('a'), kept));
  const bundle = join(world.dir, 'bundle');
  world.cli('audit', 'bundle', bundle);
  for (const key of [first, second]) {
    holds(python(key, 'bundle', bundle));
    const done = spawnSync(program, ['audit', 'verify', join(bundle, 'entries.jsonl'), '--key', key], { encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
  }
  assert.match(world.cli('audit', 'tail', '--entries', '50'), /rotated the key that signs the log.*a copy was lost/);
  assert.equal(readFileSync(join(world.state, 'log.vkey'), 'utf8').trim(), first);
});

test('with an overlap both sign; it lives through a start', async () => {
  await world.stop();
  await world.serve();
  assert.ok(!existsSync(join(world.state, 'keys/log.key.old')), 'a key whose overlap is over is gone');
  assert.equal((await world.chat(alice)).status, 200);
  third = world.json('audit', 'rotate-key', '--overlap-days', '30').newKey;
  assert.equal(lines().length, 2);
  const again = attempt('audit', 'rotate-key');
  assert.equal(again.code, 1);
  assert.match(again.text, /overlap is not over/);
  await world.stop();
  await world.serve();
  world.cli('audit', 'checkpoint');
  assert.equal(lines().length, 2);
  for (const key of [first, second, third]) holds(attempt('audit', 'verify', '--key', key, '--against', kept));
  holds(python(first, 'log', mirror('b'), kept));
  holds(python(third, 'log', mirror('b')));
});

test('a rotation that a crash cut is finished at the next start', async () => {
  await world.stop();
  const at = (name) => join(world.state, 'keys', name);
  renameSync(at('log.key'), at('log.key.new'));
  renameSync(at('log.key.old'), at('log.key'));
  await world.serve();
  assert.ok(existsSync(at('log.key.old')) && !existsSync(at('log.key.new')));
  await world.stop();
  renameSync(at('log.key'), at('log.key.new'));
  await world.serve();
  assert.equal((await world.chat(alice)).status, 200);
  world.cli('audit', 'checkpoint');
  assert.equal(lines().length, 2);
  holds(attempt('audit', 'verify', '--key', first, '--against', kept));
});

test('what does not lead from the first key to the one that signs is named', async () => {
  await world.stop();
  const copy = join(world.dir, 'copy');
  cpSync(world.state, copy, { recursive: true });
  await world.serve();
  const verify = (...args) => { const done = spawnSync(program, ['-C', copy, 'audit', 'verify', ...args], { encoding: 'utf8' }); return { code: done.status, text: done.stdout + done.stderr }; };
  const notes = readFileSync(join(copy, 'log/key-rotations'), 'utf8'), parts = notes.split(/(?=bailiff\.key-rotation\/v1\n)/);
  assert.equal(parts.length, 2);
  const bad = (text, pattern) => {
    writeFileSync(join(copy, 'log/key-rotations'), text);
    const said = verify('--key', first);
    assert.equal(said.code, 1, said.text);
    assert.match(said.text, pattern);
    assert.notEqual(python(first, 'log', join(copy, 'log')).code, 0);
  };
  bad(notes.replace(/\n(\d+)\n20/, (all, size) => `\n${Number(size) + 1}\n20`), /does not fit the text/);
  bad(parts[1], /is in none of the rotations/);
  bad(parts[1] + parts[0], /does not continue/);
  bad(notes.slice(0, -10), /cut short|form/);
  // The last note taken away: what the third key signs, nobody vouches for; the
  // second still signs, so the checkpoint holds, by a key that is not the newest.
  writeFileSync(join(copy, 'log/key-rotations'), notes);
  writeFileSync(join(copy, 'log/checkpoint'), readFileSync(kept));
  const stale = verify('--key', first);
  assert.equal(stale.code, 1);
  assert.match(stale.text, /a key that was rotated away/);
  assert.notEqual(python(first, 'log', join(copy, 'log')).code, 0);
});
