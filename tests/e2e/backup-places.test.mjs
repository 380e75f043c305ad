// SPDX-License-Identifier: Apache-2.0
//
// What a backup must hold beside databases and journal, where a signing key may
// be, and where sinks go on after a restore.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, until } from './harness.mjs';
import { readLog } from './log.mjs';

const program = process.env.BAILIFF;
function run(...args) {
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: 30000 });
  return { code: done.status, text: done.stdout + done.stderr };
}
const good = (...args) => { const { code, text } = run(...args); assert.equal(code, 0, text); return text; };
const bad = (pattern, ...args) => { const { code, text } = run(...args); assert.notEqual(code, 0, text); assert.match(text, pattern); return text; };
const types = (dir) => readLog(dir).map((text) => JSON.parse(text).type);
// A checkpoint that is beyond every copy made so far.
function keep(world, name) {
  const held = join(world.dir, name);
  world.cli('team', 'add', `late-${name}`);
  writeFileSync(held, `${JSON.parse(world.cli('audit', 'checkpoint', '--json')).checkpoint}\n`);
  return held;
}

test('a log whose key was rotated, certificates, a closed log and positions come back', { timeout: 60000 }, async () => {
  const world = await World.make();
  const path = (name) => join(world.dir, name);
  try {
    world.onboard('alice');
    world.cli('audit', 'rotate-key', '--overlap-days', '0');
    for (const [folder, name] of [['certificates', 'one.json'], ['former/log', 'checkpoint'], ['sinks', 'snk_old']]) {
      mkdirSync(join(world.state, folder), { recursive: true });
      writeFileSync(join(world.state, folder, name), `${name}: 12\n`);
    }
    good('-C', world.state, 'backup', path('whole'), '--keys', 'with');
    const held = keep(world, 'held');
    await world.stop();
    const kept = ['certificates/one.json', 'former/log/checkpoint', 'sinks/snk_old', 'log/key-rotations', 'log.vkey', 'bailiff.conf'];
    for (const [source, to] of [[path('whole'), path('a')], [world.state, path('b')]]) {
      good('restore', source, to, '--unanchored', 'a test');
      for (const name of kept) assert.equal(readFileSync(join(to, name), 'utf8'), readFileSync(join(world.state, name), 'utf8'), name);
      assert.equal(statSync(join(to, 'log')).mode & 0o777, 0o755);
      assert.equal(statSync(join(to, 'log/key-rotations')).mode & 0o777, 0o644);
      good('audit', 'verify', '-C', to);
    }
    // A log that was closed earlier stays within the one that is closed now.
    good('restore', path('whole'), path('c'), '--checkpoint', held, '--new-log', 'second.example/log');
    assert.equal(readFileSync(path('c/former/former/log/checkpoint'), 'utf8'), 'checkpoint: 12\n');
    assert.ok(!existsSync(path('c/log/key-rotations')) && existsSync(path('c/former/log/key-rotations')));
    good('audit', 'verify', '-C', path('c'));
    good('audit', 'verify', '-C', path('c/former'));
    await world.serve();
  } finally { await world.end(); }
});

test('a signing key elsewhere is not in a backup, which says so; a new log has its own', { timeout: 60000 }, async () => {
  const world = await World.make();
  const path = (name) => join(world.dir, name), key = path('signing.key');
  try {
    await world.stop();
    renameSync(join(world.state, 'keys/log.key'), key);
    appendFileSync(world.settings, `\n  log_key_file = "${key}";\n`);
    await world.serve();
    assert.match(good('-C', world.state, 'backup', path('whole'), '--keys', 'with'), new RegExp(`not in it: ${key}`));
    assert.deepEqual(JSON.parse(good('-C', world.state, 'backup', path('json'), '--keys', 'only', '--json')).notInIt, [key]);
    assert.ok(!readdirSync(path('whole/keys')).includes('log.key'));
    const held = keep(world, 'held');
    const secret = readFileSync(key, 'utf8');
    good('restore', path('whole'), path('same'), '--unanchored', 'a test');
    good('audit', 'verify', '-C', path('same'));
    renameSync(key, `${key}.away`);
    bad(/signing\.key/, 'restore', path('whole'), path('never'), '--unanchored', 'a test');
    renameSync(`${key}.away`, key);
    const said = good('restore', path('whole'), path('new'), '--checkpoint', held, '--new-log', 'second.example/log');
    assert.match(said, new RegExp(`destroy ${key}, which signed the closed log`));
    assert.equal(readFileSync(key, 'utf8'), secret, 'another directory may need it');
    assert.match(readFileSync(path('new/bailiff.conf'), 'utf8'), /^# of the log that was closed:\s+log_key_file = /m);
    good('-C', path('new'), 'team', 'add', 'first'); // it signs
    good('audit', 'verify', '-C', path('new'));
    good('audit', 'verify', '-C', path('new/former'));
    assert.match(readFileSync(path('new/log/checkpoint'), 'utf8'), /^second\.example\/log\n/);
  } finally { await world.end(); }
});

test('a sink misses nothing that comes after a restore', { timeout: 60000 }, async () => {
  const world = await World.make();
  const path = (name) => join(world.dir, name), file = path('syslog');
  const receiver = spawn(process.execPath, [new URL('receiver.mjs', import.meta.url).pathname, 'syslog', '0', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const port = await new Promise((done) => { receiver.stdout.once('data', (data) => done(Number(String(data).match(/ready (\d+)/)[1]))); });
    const lines = () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []);
    const indexOf = (line) => Number(line.match(/,"index":(\d+)}$/)[1]);
    const alice = world.onboard('alice');
    world.cli('sink', 'add', 'siem', 'syslog', `tcp://127.0.0.1:${port}`);
    await world.chat(alice);
    const sink = () => world.json('status').server.sinks[0];
    await until(() => sink().position > 0 && sink().lag === 0 && lines().length > 0, 'the first entries', 30000); // it is confirmed after ten seconds
    await world.stop();
    // It had gone on after the copy was taken, as far as the receiver knows.
    const [position] = readdirSync(join(world.state, 'sinks'));
    const before = readLog(world.state).length;
    writeFileSync(join(world.state, 'sinks', position), `${before + 2}\n`);
    good('restore', world.state, path('same'), '--unanchored', 'a test');
    assert.equal(Number(readFileSync(path(`same/sinks/${position}`), 'utf8')), before);
    // As another log: all of it, from its first entry.
    await world.serve();
    good('-C', world.state, 'backup', path('whole'), '--keys', 'with');
    const later = keep(world, 'later');
    await world.stop();
    good('restore', path('whole'), path('other'), '--checkpoint', later, '--new-log', 'second.example/log');
    const state = world.state;
    for (const [dir, from] of [[path('same'), before], [path('other'), 0]]) {
      const there = types(dir), seen = lines().length;
      assert.ok(there.lastIndexOf('system.restored') >= from);
      world.state = dir;
      await world.serve();
      const missing = () => {
        const got = new Set(lines().slice(seen).map(indexOf));
        return there.map((type, i) => i).filter((i) => i >= from && !got.has(i));
      };
      await until(() => missing().length === 0, () => `entries ${missing()} of ${dir} at the receiver`);
      await world.stop();
    }
    world.state = state;
    await world.serve();
  } finally {
    receiver.kill('SIGKILL');
    await world.end();
  }
});
