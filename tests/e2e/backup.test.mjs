// SPDX-License-Identifier: Apache-2.0
//
// Backups made under load, and what may be put back: whole, of this log, and
// never so that two histories would be signed.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync, execFileSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { World, until, CANARY } from './harness.mjs';
import { readLog } from './log.mjs';

let world, key, anchor, tar, folder, keys;
const program = process.env.BAILIFF;
const path = (name) => join(world.dir, name);
function run(...args) {
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: 30000 });
  return { code: done.status, text: done.stdout + done.stderr };
}
const good = (...args) => { const { code, text } = run(...args); assert.equal(code, 0, text); return text; };
const bad = (pattern, ...args) => { const { code, text } = run(...args); assert.notEqual(code, 0, text); assert.match(text, pattern); return text; };
const size = (dir) => Number(readFileSync(join(dir, 'log/checkpoint'), 'utf8').split('\n')[1]);
// Ids of the calls that are on record in a state's log.
const calls = (dir) => readLog(dir).map((text) => JSON.parse(text)).filter((entry) => entry.type === 'request.completed').map((entry) => entry.id);

before(async () => {
  world = await World.make({ settings: 'segment_bytes = 1048576;\n' });
  key = world.onboard('alice');
  world.cli('quota', 'set', '--caller', 'alice', '--tokens-per-day', '1000000');
  anchor = path('anchor');
  mkdirSync(anchor);
  world.cli('anchor', 'add', 'vault', 'file', anchor, '--every-minutes', '1');
});
after(async () => { await world.end(); });

test('a backup under load holds every call that was answered before it', { timeout: 60000 }, async () => {
  let going = true, other = 0;
  const answered = [];
  const load = [0, 1, 2].map(async () => {
    while (going) {
      const answer = await world.chat(key, { max_tokens: 2 });
      assert.equal(answer.status, 200, answer.body);
      answered.push(answer.headers['x-request-id']);
    }
  });
  await until(() => answered.length > 20, 'calls');
  const change = (async () => { while (going) { world.cli('team', 'add', `t${++other}`); await new Promise((done) => { setTimeout(done, 5); }); } })();
  const before = answered.slice();
  tar = path('b.tar');
  const child = await new Promise((resolve) => {
    import('node:child_process').then(({ execFile }) => execFile(program, ['-C', world.state, 'backup', tar, '--keys', 'with'],
      (error, stdout, stderr) => resolve({ error, text: stdout + stderr })));
  });
  assert.equal(child.error, null, child.text);
  going = false;
  await Promise.all([...load, change]);
  const manifest = child.text.match(/manifest +([0-9a-f]{64})/)[1];
  assert.equal(statSync(tar).mode & 0o777, 0o600);
  execFileSync('tar', ['tf', tar]); // any tar reads it
  assert.ok(!existsSync(join(world.state, 'backup')), 'the copies of the databases are gone');

  // (The anchor may have been handed a checkpoint since: that is the last test.)
  const old = path('anchor-now');
  cpSync(anchor, old, { recursive: true });
  rmSync(anchor, { recursive: true });
  mkdirSync(anchor);
  const to = path('restored');
  bad(/cannot be asked how far/, 'restore', tar, to, '--manifest', manifest);
  bad(/not the one that was asked for/, 'restore', tar, to, '--manifest', 'a'.repeat(64));
  good('restore', tar, to, '--manifest', manifest, '--unanchored', 'a test of what is put back');
  cpSync(old, anchor, { recursive: true });
  good('audit', 'verify', '-C', to);
  const there = new Set(calls(to));
  for (const id of before) assert.ok(there.has(id), `${id} was answered before the backup`);
  assert.match(readLog(to).join('\n'), /"type":"system.restored"/);
  // It can be served, with all that was there.
  const status = JSON.parse(good('-C', to, 'status', '--json'));
  assert.equal(status.state.callers, 1);
  assert.ok(status.state.teams >= 3);
  assert.match(good('-C', to, 'audit', 'tail'), /put the state back from a backup/);
  const all = readLog(to).join('\n');
  assert.ok(!all.includes(CANARY));
});

test('a folder without keys wants them; keys alone are no state', { timeout: 60000 }, async () => {
  folder = path('b-folder');
  keys = path('b-keys.tar');
  bad(/--keys with, without or only/, '-C', world.state, 'backup', folder);
  good('-C', world.state, 'backup', folder, '--keys', 'without');
  good('-C', world.state, 'backup', keys, '--keys', 'only');
  bad(/is there already/, '-C', world.state, 'backup', keys, '--keys', 'only');
  for (const name of readdirSync(folder, { recursive: true })) assert.ok(!/\.key$/.test(name), name);
  const to = path('restored-2');
  bad(/without keys/, 'restore', folder, to, '--unanchored', 'a test');
  bad(/is without keys as well/, 'restore', folder, to, '--keys', folder, '--unanchored', 'a test');
  bad(/holds keys and nothing else/, 'restore', keys, to, '--unanchored', 'a test');
  bad(/is there already/, 'restore', folder, world.state, '--keys', keys);
  assert.ok(!existsSync(to) && !existsSync(`${to}.restoring`), 'a refusal leaves nothing');
  good('restore', folder, to, '--keys', keys, '--checkpoint', join(world.state, 'log/checkpoint'), '--new-log', 'unused.example/log');
  assert.ok(size(to) > 0);
});

test('what was altered, removed, put in or cut in a backup is refused by name', { timeout: 60000 }, async () => {
  let n = 0;
  const broken = (pattern, change, source = folder) => {
    const copy = path(`broken${++n}`);
    cpSync(source, copy, { recursive: true });
    change(copy);
    bad(pattern, 'restore', copy, path('never'), '--keys', keys, '--unanchored', 'a test');
    assert.ok(!existsSync(path('never')) && !existsSync(path('never.restoring')));
  };
  const flip = (name, at) => (copy) => {
    const bytes = readFileSync(join(copy, name));
    bytes[at < 0 ? bytes.length + at : at] ^= 1;
    writeFileSync(join(copy, name), bytes);
  };
  broken(/control\.db is not the file that was backed up/, flip('control.db', 5000));
  broken(/00000001\.seg is not the file/, flip('journal/segments/00000001.seg', 5000));
  broken(/persons\.db/, (copy) => rmSync(join(copy, 'persons.db')));
  broken(/no MANIFEST\.json/, (copy) => rmSync(join(copy, 'MANIFEST.json')));
  broken(/bailiff-backup-1/, flip('MANIFEST.json', readFileSync(join(folder, 'MANIFEST.json')).indexOf('bailiff-backup') + 3));
  const cut = path('cut.tar');
  writeFileSync(cut, readFileSync(tar).subarray(0, -3000));
  bad(/cut short|is missing/, 'restore', cut, path('never'));
  const none = path('none.tar');
  writeFileSync(none, 'no archive '.repeat(100));
  bad(/no head of a member/, 'restore', none, path('never'));
  // A manifest that was made to fit: then the log itself does not.
  const fitted = path('fitted');
  cpSync(folder, fitted, { recursive: true });
  const segment = join(fitted, 'journal/segments/00000001.seg');
  const bytes = readFileSync(segment);
  bytes[bytes.indexOf('"action":"chat"') + 11] ^= 1;
  writeFileSync(segment, bytes);
  const manifest = JSON.parse(readFileSync(join(fitted, 'MANIFEST.json'), 'utf8'));
  const { createHash } = await import('node:crypto');
  manifest.files.find((file) => file.path.endsWith('00000001.seg')).sha256 = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(join(fitted, 'MANIFEST.json'), JSON.stringify(manifest));
  bad(/offset \d+/, 'restore', fitted, path('never'), '--keys', keys, '--unanchored', 'a test');
});

test('a log that went on after the backup is not signed again below what is kept', { timeout: 60000 }, async () => {
  const to = path('restored-3'), held = path('held');
  for (let i = 0; i < 3; i++) assert.equal((await world.chat(key)).status, 200);
  writeFileSync(held, `${JSON.parse(world.cli('audit', 'checkpoint', '--json')).checkpoint}\n`);
  const text = bad(/a second history.*--new-log/, 'restore', tar, to, '--checkpoint', held);
  const missing = Number(text.match(/how many are missing \((\d+)\)/)[1]);
  assert.ok(missing >= 6);
  // The anchor knows by itself.
  writeFileSync(join(anchor, `checkpoint-${readFileSync(held, 'utf8').split('\n')[1]}`), readFileSync(held, 'utf8').trimEnd() + '\n');
  bad(/the anchor "vault".*went on after this copy/, 'restore', tar, to);
  // A checkpoint of another log, or none at all.
  const foreign = path('foreign');
  execFileSync(program, ['init', foreign, '--origin', 'other.example/log']);
  bad(/other\.example|name|key/, 'restore', tar, to, '--checkpoint', join(foreign, 'log/checkpoint'));
  bad(/no signed checkpoint/, 'restore', tar, to, '--checkpoint', join(world.state, 'bailiff.conf'));

  // The same entries under another name and key: the old log stays closed.
  good('restore', tar, to, '--new-log', 'second.example/log');
  assert.match(readFileSync(join(to, 'log/checkpoint'), 'utf8'), /^second\.example\/log\n/);
  assert.notEqual(readFileSync(join(to, 'log.vkey'), 'utf8'), readFileSync(join(world.state, 'log.vkey'), 'utf8'));
  good('audit', 'verify', '-C', to);
  const entries = readLog(to).map((one) => JSON.parse(one));
  assert.equal(entries[0].type, 'admin.state.adopted');
  assert.equal(entries[1].type, 'system.restored');
  assert.equal(entries[1].detail.missing, missing);
  good('audit', 'verify', '-C', join(to, 'former'));
  bad(/ends|cut|missing/i, 'audit', 'verify', '-C', join(to, 'former'), '--against', join(to, 'former/held-checkpoint'));
  good('check', to);
  assert.match(good('-C', to, 'caller', 'list'), /alice/);
  const log = world.cli('audit', 'tail', '--json');
  for (const type of ['system.backup_begun', 'system.backup_made']) assert.ok(log.includes(type) || readLog(world.state).join('').includes(type), type);
});

test('an old copy that is put back is not served while an anchor holds more', { timeout: 60000 }, async () => {
  const other = await World.make({ settings: 'segment_bytes = 1048576;\n' });
  try {
    const bob = other.onboard('bob');
    const vault = join(other.dir, 'vault');
    other.cli('anchor', 'add', 'vault', 'file', vault);
    await until(() => existsSync(vault), 'the first checkpoint at the anchor');
    assert.equal((await other.chat(bob)).status, 200);
    await other.stop();
    const old = join(other.dir, 'old');
    execFileSync('cp', ['-a', '--sparse=always', other.state, old]);
    // With an anchor that holds less, or the same, it is served.
    await other.serve();
    for (let i = 0; i < 5; i++) assert.equal((await other.chat(bob)).status, 200);
    appendFileSync(vault, `${JSON.parse(other.cli('audit', 'checkpoint', '--json')).checkpoint}\n`);
    bad(/that a process uses/, 'restore', other.state, join(other.dir, 'never'));
    await other.stop();
    await other.serve();
    await other.stop();
    const refused = spawnSync(program, ['serve', old], { encoding: 'utf8', timeout: 20000 });
    assert.equal(refused.status, 1, refused.stderr);
    assert.match(refused.stderr, /the anchor "vault" .* holds a checkpoint of \d+ entries, and the log has \d+: an old copy was put back/);
    const signed = size(old);
    assert.ok(signed < Number(readFileSync(vault, 'utf8').trimEnd().split('\n').at(-4)), 'nothing was signed by the old copy');
    const fresh = join(other.dir, 'fresh');
    bad(/a second history.*--new-log/, 'restore', old, fresh);
    good('restore', old, fresh, '--new-log', 'third.example/log');
    good('audit', 'verify', '-C', fresh);
    good('audit', 'verify', '-C', join(fresh, 'former'));
    // Another history of the same length: two copies that went on apart.
    const apart = join(other.dir, 'apart');
    execFileSync('cp', ['-a', '--sparse=always', old, apart]);
    good('-C', apart, 'anchor', 'list');
    for (let i = 0; i < 40 && size(apart) <= size(other.state); i++) good('-C', apart, 'team', 'add', `t${i}`);
    const forked = spawnSync(program, ['serve', apart], { encoding: 'utf8', timeout: 20000 });
    assert.equal(forked.status, 1, forked.stderr);
    assert.match(forked.stderr, /holds another history of this log/);
    await other.serve();
  } finally { await other.end(); }
});
