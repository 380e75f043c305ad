// SPDX-License-Identifier: Apache-2.0
//
// Disks that fill up, fail, tear and are tampered with: what the server does.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, statSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Disk, until } from './disk.mjs';
import { find, rewrite } from './frames.mjs';
import { readLog } from '../e2e/log.mjs';
import { sleep } from '../e2e/harness.mjs';

let disk, world, key;
const program = process.env.BAILIFF;
function change(path, at, how) {
  const bytes = readFileSync(path);
  how(bytes, at);
  writeFileSync(path, bytes);
}
const flip = (bytes, at) => { bytes[at] ^= 1; };
// A copy of the state, broken in some way, and what is said of it.
let copies = 0;
function copy(breaks) {
  const to = join(world.dir, `copy${++copies}`);
  cpSync(world.state, to, { recursive: true, filter: (path) => !statSync(path).isSocket() });
  breaks(to);
  return to;
}
function run(...args) {
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: 20000 });
  return { code: done.status, text: done.stdout + done.stderr };
}
const refuses = (state, pattern) => {
  const { code, text } = run('serve', state);
  assert.equal(code, 1, text);
  assert.match(text, pattern);
};

before(async () => {
  disk = await Disk.make();
  world = disk.world;
  key = world.onboard('alice');
  await world.stop();
  await disk.serve();
});
after(() => disk.end());
// Each test begins with a server at work.
const calls = async (n) => { for (let i = 0; i < n; i++) assert.equal((await world.chat(key)).status, 200); };
async function dies() {
  const end = await Promise.race([world.server.ended, sleep(15000)]);
  assert.ok(end, `the server goes on: ${world.server.log.slice(-1500)}`);
  return end;
}

test('a sync that fails: admits nothing more, exits, and the next start goes on', { timeout: 60000 }, async () => {
  await calls(2);
  disk.set('syncError', true);
  await world.untouched(async () => {
    const answer = await world.chat(key).catch((error) => ({ status: error.code }));
    assert.notEqual(answer.status, 200);
  });
  const { code } = await dies();
  assert.notEqual(code, 0);
  assert.match(world.server.log, /Input\/output error|sync/i);
  disk.power();
  await disk.serve();
  await calls(1);
});

test('a full disk: 503, nothing forwarded, and on when there is room', { timeout: 60000 }, async () => {
  disk.set('full', true);
  let refused;
  for (let i = 0; i < 400 && !refused; i++) {
    const answers = await Promise.all(Array.from({ length: 16 }, () => world.chat(key, { max_tokens: 1 })));
    refused = answers.find((answer) => answer.status !== 200);
  }
  assert.equal(refused?.status, 503, refused?.body);
  await world.untouched(async () => {
    for (let i = 0; i < 4; i++) assert.equal((await world.chat(key)).status, 503);
  });
  disk.set('full', false);
  await until(async () => (await world.chat(key)).status === 200, 'room again');
});

test('a journal file that is removed or cut while the server runs is noticed', { timeout: 60000 }, async () => {
  for (const breaks of [(path) => unlinkSync(path), (path) => truncateSync(path, 8192)]) {
    const { headers } = await world.chat(key);
    const { path } = find(headers['x-request-id'], world.state);
    breaks(path);
    const answer = await world.chat(key).catch((error) => ({ status: error.code }));
    assert.notEqual(answer.status, 200);
    await dies();
    assert.match(world.server.log, /removed|replaced|truncated|unlinked|shorter|cut/i);
    disk.power(); // the disk as it was
    await disk.serve();
  }
});

test('a torn last frame: dropped, and said', { timeout: 60000 }, async () => {
  const checkpoint = join(world.state, 'log/checkpoint');
  let headers;
  for (;;) { // the last frame must stand behind the newest checkpoint
    await calls(3);
    await sleep(1500);
    const published = statSync(checkpoint).mtimeMs;
    ({ headers } = await world.chat(key));
    await disk.kill();
    if (statSync(checkpoint).mtimeMs === published) break;
    await disk.serve();
  }
  const { path, at } = find(headers['x-request-id'], world.state);
  change(path, at, flip);
  await disk.serve();
  assert.match(world.server.log, /torn/i);
  await calls(1);
});

test('what was damaged, removed, swapped or cut is named, and not served', { timeout: 60000 }, async () => {
  const ids = [];
  for (let i = 0; i < 8; i++) ids.push((await world.chat(key)).headers['x-request-id']);
  for (const id of ids) await world.record(id);
  assert.equal((await world.stop()).code, 0);
  const anchor = join(world.dir, 'anchor');
  cpSync(join(world.state, 'log/checkpoint'), anchor);
  assert.equal(run('audit', 'verify', '-C', world.state, '--against', anchor).code, 0);

  const verify = (state, ...patterns) => {
    const { code, text } = run('audit', 'verify', '-C', state, '--against', anchor);
    assert.notEqual(code, 0, text);
    for (const pattern of patterns) assert.match(text, pattern);
  };
  const flipped = copy((state) => { const { path, at } = find(ids[3], state, false); change(path, at + 40, flip); });
  verify(flipped, new RegExp(ids[3]), /altered|damaged/);
  refuses(flipped, /offset \d+/);

  // The frame where the call begins is gone with all behind it: a cut tail, by
  // somebody who leaves everything before it whole.
  const cut = copy((state) => rewrite(ids[5], state, (entries, at) => entries.splice(at)));
  verify(cut, /cut: .*missing/i);
  refuses(cut, /ends before entry|smaller/);

  // By somebody who knows the format, and puts checksums and hashes right.
  const removed = copy((state) => rewrite(ids[3], state, (entries, at) => entries.splice(at, 1)));
  verify(removed, new RegExp(`^removed: .*${ids[3]}`, 'm'));
  refuses(removed, /root|ends before entry|smaller/);
  const swapped = copy((state) => rewrite(ids[3], state, (entries, at) => {
    [entries[at], entries[at + 2]] = [entries[at + 2], entries[at]];
  }));
  verify(swapped, new RegExp(`^swapped: .*${ids[3]}`, 'm'));
  const altered = copy((state) => rewrite(ids[3], state, (entries, at) => {
    entries[at] = Buffer.from(entries[at].toString().replace('"action":"chat"', '"action":"list"'));
  }));
  verify(altered, new RegExp(`^altered: .*${ids[3]}`, 'm'));
});

test('a control database that was edited: not served until adopted with a reason', { timeout: 60000 }, async () => {
  if (!world.server.over) await world.stop();
  const edit = spawnSync('python3', ['-c',
    'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute("UPDATE model SET owner = \'nobody\'"); c.commit()',
    join(world.state, 'control.db')], { encoding: 'utf8' });
  assert.equal(edit.status, 0, edit.stderr);
  refuses(world.state, /check .* --adopt --reason/);
  assert.equal(run('check', world.state).code, 1);
  const without = run('check', world.state, '--adopt');
  assert.notEqual(without.code, 0, without.text);
  refuses(world.state, /--adopt --reason/);
  const adopted = run('check', world.state, '--adopt', '--reason', 'restored from a backup');
  assert.equal(adopted.code, 0, adopted.text);
  await disk.serve();
  await calls(1);
  assert.equal((await world.stop()).code, 0);
  assert.ok(readLog(world.state).some((text) => text.includes('restored from a backup')));
});
