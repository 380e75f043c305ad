// SPDX-License-Identifier: Apache-2.0
//
// The record as an auditor works with it: asking, showing, following, verifying
// against what others kept, and who may.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, until } from './harness.mjs';

let world, alice, ivy, answered, denied, tokens = {};
const program = process.env.BAILIFF;

// A command that may fail: { code, text }.
function attempt(args, env = {}) {
  const done = spawnSync(program, ['-C', world.state, ...args], { encoding: 'utf8', env: { ...process.env, ...env } });
  return { code: done.status, text: done.stdout + done.stderr, out: done.stdout };
}

before(async () => {
  world = await World.make();
  alice = world.onboard('alice');
  ivy = world.onboard('ivy', 'interns');
  answered = (await world.chat(alice)).headers['x-request-id'];
  denied = (await world.chat(ivy, { model: 'big' })).headers['x-request-id'];
  await world.request('GET', '/v1/models', { key: 'blf_nothing' });
  await world.record(answered);
  for (const role of ['admin', 'policy-author', 'approver', 'auditor', 'operator']) {
    tokens[role] = world.json('admin', 'add', `a-${role}`, '--role', role).secret;
    world.keys.push(tokens[role]);
    world.handles.push(`a-${role}`);
  }
});
after(() => world.end());

test('a query finds by who, what and how it ended', () => {
  const ids = (...filters) => world.json('audit', 'query', ...filters).rows.map((row) => row.id);
  assert.deepEqual(ids('--caller', 'alice', '--type', 'request'), [answered]);
  assert.deepEqual(ids('--caller', 'ivy', '--decision', 'deny'), [denied]);
  assert.ok(ids('--type', 'admin').length > 5);
  assert.match(world.cli('audit', 'query', '--type', 'admin'), /\((root|offline), unattributed\)/);
  const wrong = attempt(['audit', 'query', '--decision', 'maybe']);
  assert.notEqual(wrong.code, 0);
  assert.match(wrong.text, /none of permit, deny/);
  assert.match(world.cli('audit', 'query', '--model', 'huge'), /nothing on record matches: nothing that was searched names the model "huge"/);
});

test('the index is compared with the log, and one file of it made anew', async () => {
  await world.record(answered);
  // Beside a running server; its newest entries may not be signed yet.
  const report = world.json('audit', 'verify', '--index');
  assert.deepEqual(report.findings.filter((one) => one.kind === 'index'), []);
  assert.equal(report.faults, 0);
  assert.match(world.cli('audit', 'reindex', '--entry', '0'), /the file of entry 0 was built anew/);
  assert.deepEqual(world.json('audit', 'query', '--caller', 'alice', '--type', 'request').rows.map((row) => row.id), [answered]);
  assert.match(attempt(['audit', 'reindex', '--entry', '999999999']).text, /the log has \d+ entries/);
  assert.match(attempt(['audit', 'verify', '--index', '--from', '0', '--to', '5']).text, /leave out --from/);
});

test('a page after a page is the whole, in both orders', () => {
  for (const order of ['newest', 'oldest']) {
    const whole = world.json('audit', 'query', '--type', 'admin', '--order', order, '--limit', '1000').rows.map((row) => row.seq);
    const seen = [];
    for (let next = [];;) {
      const page = world.json('audit', 'query', '--type', 'admin', '--order', order, '--limit', '3', ...next);
      seen.push(...page.rows.map((row) => row.seq));
      if (!page.more) break;
      next = ['--after', String(page.next)];
    }
    assert.deepEqual(seen, whole);
  }
});

test('one record as a sentence', () => {
  assert.match(world.cli('audit', 'show', answered),
    /^alice \(team everyone\) asked tiny to chat; permitted by rule [\w-]+ of policy version \d+; engine local answered 200 with \d+ tokens in and 4 out\.$/m);
  assert.match(world.cli('audit', 'show', denied), /^ivy .* asked big to chat; denied by rule [\w-]+ of policy version \d+ \(403 .*nothing reached an engine\.$/m);
  const unknown = attempt(['audit', 'show', '01J00000000000000000000000']);
  assert.equal(unknown.code, 1);
  assert.match(unknown.text, /no request or event/);
});

test('the log in words, and followed', async () => {
  // refusals before anybody is known are counted for a while, then written
  const text = await until(() => {
    const all = world.cli('audit', 'tail', '--entries', '200');
    return /A call was refused before anybody was known: /.test(all) && all;
  }, 'auth.failed', 40000);
  assert.match(text, /put policy version \d+ into force/);
  assert.doesNotMatch(text, /\(unreadable\)/);
});

test('only administrators and auditors read the record', () => {
  for (const [role, token] of Object.entries(tokens)) {
    const may = role === 'admin' || role === 'auditor';
    for (const command of [['audit', 'query'], ['audit', 'show', answered], ['audit', 'tail']]) {
      const { code, text } = attempt(command, { BAILIFF_ADMIN_TOKEN: token });
      assert.equal(code === 0, may, `${role}: ${command.join(' ')}: ${text.slice(0, 300)}`);
    }
  }
});

test('reading is on record, and the record names no handle', async () => {
  attempt(['audit', 'query', '--caller', 'alice'], { BAILIFF_ADMIN_TOKEN: tokens.auditor });
  const rows = world.json('audit', 'query', '--type', 'audit.queried', '--actor', 'a-auditor').rows;
  assert.ok(rows.length > 0);
  const shown = world.json('audit', 'show', rows[0].id);
  const entry = JSON.stringify(shown.entries[0].entry);
  assert.match(entry, /"filters":\{"caller":"cal_/);
  assert.doesNotMatch(entry, /alice|a-auditor/);
  assert.match(shown.sentence, /^a-auditor searched the log for caller alice \(rows \d+\)\.$/);
});

test('verify: whole, against a file and a folder that others kept, and a copy that was tampered with', async () => {
  const kept = join(world.dir, 'kept'), folder = join(world.dir, 'folder');
  mkdirSync(folder);
  world.cli('anchor', 'add', 'file', 'file', kept, '--every-minutes', '1');
  world.cli('anchor', 'add', 'folder', 'file', folder, '--every-minutes', '1');
  await until(() => { try { return readFileSync(kept).length > 0 && readdirSync(folder).length > 0; } catch { return false; } }, 'anchors');
  for (const target of [kept, folder]) {
    const { code, text } = attempt(['audit', 'verify', '--against', target]);
    assert.equal(code, 0, text);
    assert.match(text, /nothing changed since the checkpoint/);
  }
  world.cli('audit', 'checkpoint');
  const copy = join(world.dir, 'copy');
  cpSync(world.state, copy, { recursive: true, filter: (path) => !path.endsWith('.sock') });
  const segment = join(copy, 'journal/segments', readdirSync(join(copy, 'journal/segments')).filter((name) => name.endsWith('.seg'))[0]);
  const bytes = readFileSync(segment);
  const at = bytes.indexOf(Buffer.from(answered));
  assert.ok(at > 0);
  bytes[at + 3] ^= 1;
  writeFileSync(segment, bytes);
  const bad = spawnSync(program, ['-C', copy, 'audit', 'verify', '--against', kept], { encoding: 'utf8' });
  assert.equal(bad.status, 1);
  assert.match(bad.stdout, /NOT WHOLE/);
  // another log's checkpoint
  const other = join(world.dir, 'other');
  execFileSync(program, ['init', other], { stdio: 'ignore' });
  const foreign = attempt(['audit', 'verify', '--against', join(other, 'log/checkpoint')]);
  assert.notEqual(foreign.code, 0, foreign.text);
});

const python = spawnSync('python3', ['--version']).status === 0;
const verifier = new URL('../../schema/verify.py', import.meta.url).pathname;
// What our verifier and the one in Python say of the same thing.
function both(ours, theirs) {
  const own = spawnSync(program, ours, { encoding: 'utf8' });
  const other = spawnSync('python3', [verifier, ...theirs], { encoding: 'utf8' });
  assert.equal(own.status === 0, other.status === 0, `${own.stdout}${own.stderr}\n${other.stdout}${other.stderr}`);
  return { good: own.status === 0, text: own.stdout + own.stderr };
}

test('a proof leaves the house, and two verifiers agree on it', { skip: !python && 'python3 is not installed' }, () => {
  const folder = join(world.dir, 'proofs'), key = join(world.state, 'log.vkey');
  const files = world.cli('audit', 'prove', answered, '--out', folder).trim().split('\n');
  assert.equal(files.length, 2);
  for (const file of files) {
    const { good, text } = both(['audit', 'verify', file, '--key', key], [key, 'proof', file]);
    assert.ok(good, text);
    assert.match(text, /^holds: entry \d+ is in the log /);
  }
  const text = readFileSync(files[0], 'utf8'), lines = text.split('\n');
  for (const line of [1, 2, 3, lines.length - 2]) {
    const changed = [...lines];
    changed[line] = changed[line].replace(/.$/, '').replace(/.$/, (c) => (c === '1' ? '2' : '1')) + lines[line].slice(-1);
    const file = join(world.dir, `changed-${line}`);
    writeFileSync(file, changed.join('\n'));
    assert.equal(both(['audit', 'verify', file, '--key', key], [key, 'proof', file]).good, false, changed[line]);
  }
  const other = join(world.dir, 'other/log.vkey');
  assert.equal(both(['audit', 'verify', files[0], '--key', other], [other, 'proof', files[0]]).good, false);
});

test('a range, two checkpoints, and the published directory for the other verifier', () => {
  const old = join(world.dir, 'old-checkpoint');
  writeFileSync(old, world.cli('audit', 'checkpoint'));
  world.cli('team', 'add', 'later');
  const now = join(world.dir, 'new-checkpoint');
  writeFileSync(now, world.cli('audit', 'checkpoint'));
  assert.match(world.cli('audit', 'verify', '--checkpoint', now, '--against', old), /they agree/);
  assert.match(world.cli('audit', 'verify', '--from', '3', '--to', '9'), /^as signed: entries 3 to 8/m);
  const beyond = attempt(['audit', 'verify', '--from', '3', '--to', '999999']);
  assert.equal(beyond.code, 1);
  assert.match(beyond.text, /no part of the/);
  if (!python) return;
  const said = execFileSync('python3', [verifier, join(world.state, 'log.vkey'), 'log', join(world.state, 'log'), old], { encoding: 'utf8' });
  assert.match(said, /^whole: /);
});

test('an export and a bundle that prove themselves, and one that was cut', { skip: !python && 'python3 is not installed' }, () => {
  const key = join(world.state, 'log.vkey'), whole = join(world.dir, 'whole.jsonl'), some = join(world.dir, 'some.jsonl');
  world.cli('audit', 'export', whole);
  world.cli('audit', 'export', some, '--caller', 'alice');
  for (const file of [whole, some])
    assert.ok(both(['audit', 'verify', file, '--key', key], [key, 'export', file]).good);
  assert.ok(readFileSync(some, 'utf8').includes(answered) && !readFileSync(some, 'utf8').includes(denied));
  for (const file of [whole, some]) {
    const bytes = readFileSync(file), cut = join(world.dir, 'cut.jsonl');
    for (const part of [0.3, 0.6, 0.97]) {
      writeFileSync(cut, bytes.subarray(0, bytes.length * part));
      const { good, text } = both(['audit', 'verify', cut, '--key', key], [key, 'export', cut]);
      assert.equal(good, false);
      assert.match(text, /cut short/);
      world.cli('audit', 'export', cut, '--resume');
      assert.deepEqual(readFileSync(cut), bytes);
    }
    const altered = Buffer.from(bytes);
    altered[altered.indexOf(Buffer.from(answered)) + 2] ^= 1;
    writeFileSync(cut, altered);
    assert.equal(both(['audit', 'verify', cut, '--key', key], [key, 'export', cut]).good, false);
  }
  const folder = join(world.dir, 'bundle');
  world.cli('audit', 'bundle', folder, '--type', 'request');
  // the verifier in it is enough
  const said = execFileSync('python3', [join(folder, 'verify.py'), key, 'bundle', folder], { encoding: 'utf8' });
  assert.match(said, /^holds: \d+ entries/);
  const rules = readdirSync(join(folder, 'policies')).find((name) => name.endsWith('.cedar'));
  writeFileSync(join(folder, 'policies', rules), 'permit(principal, action, resource);');
  assert.notEqual(spawnSync('python3', [join(folder, 'verify.py'), key, 'bundle', folder]).status, 0);
});

test('CSV: quoted as RFC 4180 wants it', () => {
  const text = world.cli('audit', 'export', '-', '--format', 'csv', '--type', 'request');
  const lines = text.split('\r\n');
  assert.match(lines[0], /^seq,time,kind,type,id,/);
  assert.equal(lines.at(-1), '');
  const row = lines.find((line) => line.includes(denied));
  assert.match(row, /,"\[""everyone"",""interns""\]",/);
});

test('counts, gaps, samples, reports, access, and the index built anew', () => {
  const stats = world.json('audit', 'stats', '--by', 'caller,decision').groups;
  assert.deepEqual(stats.map((one) => [one.callerName, one.decision, one.requests]).sort(),
    [['alice', 'permit', 1], ['ivy', 'deny', 1]]);
  assert.match(world.cli('audit', 'gaps'), /without a missing index/);
  const sample = (...size) => world.json('audit', 'sample', '--seed', 'winter', '--type', 'admin', '--count', '5', ...size);
  const first = sample();
  assert.equal(first.items.length, 5);
  const indices = (one) => one.items.map((item) => item.index);
  assert.deepEqual(indices(sample('--size', String(first.size))), indices(first));
  for (const { name } of reports())
    if (!['activity', 'policy-at'].includes(name)) world.cli('audit', 'report', name);
  assert.match(world.cli('audit', 'report', 'activity', '--caller', 'alice'), new RegExp(answered));
  assert.match(world.cli('audit', 'report', 'policy-at', '--until', '2100-01-01'), /policy version 1, in force since/);
  assert.match(attempt(['audit', 'report', 'denial']).text, /did you mean "denials"/);
  const access = world.json('audit', 'access', '--model', 'big').items;
  assert.deepEqual(access.map((one) => [one.callerName, one.allowed]).sort(), [['alice', true], ['ivy', false]]);
  assert.deepEqual(access.find((one) => one.callerName === 'ivy').rules, ['interns-small-models']);
  assert.match(world.cli('audit', 'reindex'), /built anew: \d+ entries/);
  assert.deepEqual(world.json('audit', 'query', '--caller', 'alice', '--type', 'request').rows.map((row) => row.id), [answered]);
});

function reports() {
  return world.cli('audit', 'report').trim().split('\n').slice(1).map((line) => ({ name: line.split(' ')[0] }));
}

test('was exactly this sent?', async () => {
  const body = JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'a question that was asked once' }], max_tokens: 3 });
  const id = (await world.request('POST', '/v1/chat/completions', { key: alice, body })).headers['x-request-id'];
  await world.record(id);
  const file = join(world.dir, 'body.json');
  writeFileSync(file, body);
  const found = () => world.json('audit', 'find-text', file).items.map((item) => [item.id, item.which]);
  assert.deepEqual(found(), [[id, 'request']]);
  // looking for it is on record, as a digest, and is not found as a sending
  assert.deepEqual(found(), [[id, 'request']]);
  writeFileSync(file, body.replace('once', 'twice'));
  assert.match(world.cli('audit', 'find-text', file), /on record neither/);
  world.secrets.push('a question that was asked');
});

// The whole answer as the caller got it; of a stream what was relayed of it.
test('was exactly this answered?', async () => {
  const file = join(world.dir, 'answer');
  const look = (text) => {
    writeFileSync(file, text);
    return world.json('audit', 'find-text', file).items.map((item) => [item.id, item.which]);
  };
  const given = [];
  for (const stream of [false, true]) {
    const answer = await world.chat(alice, { stream });
    const id = answer.headers['x-request-id'];
    assert.equal(answer.status, 200);
    await world.record(id);
    given.push([answer.body, id]);
    assert.deepEqual(look(answer.body), [[id, 'answer']]);
    assert.deepEqual(look(answer.body.slice(0, -1)), []);
  }
  assert.match(given[1][0], /^data: [^]*data: \[DONE\]\n\n$/);
  // Under another key new ones are found, and the earlier ones still are.
  world.cli('audit', 'retention', 'digest-key');
  const later = await world.chat(alice, { stream: true });
  await world.record(later.headers['x-request-id']);
  given.push([later.body, later.headers['x-request-id']]);
  for (const [body, id] of given) assert.deepEqual(look(body), [[id, 'answer']]);
  const keys = given.map(([, id]) => world.json('audit', 'show', id).entries.find((one) => one.entry.type === 'request.completed').entry.answer.digestKey);
  assert.deepEqual(keys, ['1', '1', '2']);
  // A refusal is no answer.
  const refused = await world.chat(ivy, { model: 'big' });
  assert.equal(refused.status, 403);
  assert.deepEqual(look(refused.body), []);
});
