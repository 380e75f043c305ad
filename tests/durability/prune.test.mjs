// SPDX-License-Identifier: Apache-2.0
//
// A prefix of the log is pruned: what speaks against it, what is left, and that
// kill -9 at each step leaves a log that starts, goes on and verifies.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { World, until } from '../e2e/harness.mjs';
import { verifyLog } from '../e2e/verifier.mjs';

const OLD = 'n0tes-from-l0ng-ago';
let world, key, saved, first, counter, note;
const program = process.env.BAILIFF;
const run = (...args) => spawnSync(program, ['-C', world.state, ...args], { encoding: 'utf8' });
const says = (args, pattern, status) => {
  const answer = run(...args);
  if (status !== undefined) assert.equal(answer.status, status, `${args.join(' ')}: ${answer.stdout}${answer.stderr}`);
  else assert.notEqual(answer.status, 0, `${args.join(' ')}: ${answer.stdout}`);
  assert.match(answer.stdout + answer.stderr, pattern);
};
const PRUNE = ['audit', 'prune', '--before', '200d'];
const WHY = ['--reason', 'their time is over', '--basis', 'records policy 4.2'];
const prune = (...args) => [...PRUNE, ...args, ...WHY];
const verified = (...args) => {
  const answer = run('audit', 'verify', ...args);
  assert.equal(answer.status, 0, answer.stdout + answer.stderr);
  return answer.stdout;
};
const segments = (state = world.state) => readdirSync(join(state, 'journal/segments'));
const plan = (...args) => {
  const { stdout, stderr } = run('audit', 'prune', '--dry-run', ...args, '--json');
  assert.equal(stderr, '');
  return JSON.parse(stdout);
};
const file = (name) => new Promise((resolve, reject) => {
  http.get({ socketPath: join(world.state, 'admin.sock'), path: `/v1/audit/log/${name}` }, (answer) => {
    let all = '';
    answer.on('data', (piece) => { all += piece; });
    answer.on('end', () => resolve({ status: answer.statusCode, text: all }));
  }).on('error', reject);
});
async function many(count, pad) {
  let id, left = count;
  await Promise.all([...Array(20)].map(async () => {
    while (left-- > 0) {
      const answer = await world.chat(key, { user: `${OLD}-${'x'.repeat(pad)}` });
      assert.equal(answer.status, 200, answer.body);
      id ??= answer.headers['x-request-id'];
    }
  }));
  return id;
}

const bundleOf = (entry) => `tile/entries/${String(Math.floor(entry / 256)).padStart(3, '0')}`;
function putBack() { // with what the anchor had then
  for (const [from, to] of [[saved, world.state], [join(world.dir, 'anchored.saved'), join(world.dir, 'anchored')]]) {
    rmSync(to, { recursive: true, force: true });
    cpSync(from, to, { recursive: true });
  }
}

before(async () => {
  process.env.LD_PRELOAD = process.env.EARLIER;
  process.env.EARLIER_DAYS = '230';
  world = await World.make({ settings: 'segment_bytes = 1048576;\n' });
  await world.stop('SIGKILL'); // the first segment is of the default size, and is left behind so
  await world.serve();
  key = world.onboard('canary-handle-4711');
  world.cli('anchor', 'add', 'beside', 'file', join(world.dir, 'anchored'));
  world.cli('quota', 'set', '--organisation', '--limit', 'requests/lifetime=100000');
  first = await many(400, 4000);
  await until(() => segments().filter((name) => /seg$/.test(name)).length > 3 || many(100, 4000).then(() => false), 'segments', 120000);
  await world.stop();
  delete process.env.LD_PRELOAD;
  delete process.env.EARLIER_DAYS;
  await world.serve();
  const before = segments().length;
  await until(() => segments().length > before + 1 || many(100, 4000).then(() => false), 'younger segments', 120000);
  note = join(world.dir, 'before.note');
  writeFileSync(note, world.cli('audit', 'checkpoint'));
  counter = join(world.dir, 'counter');
  writeFileSync(counter, Buffer.alloc(4096));
});
after(async () => {
  await world.stop();
  await world.engine.stop();
  rmSync(world.dir, { recursive: true, force: true });
});

test('what speaks against it is said, all of it', async () => {
  // Sealing keys of those months are there yet.
  let asked = plan('--before', '200d');
  assert.equal(asked.allowed, false);
  assert.ok(asked.limits.some((one) => one.kind === 'keys' && one.stands), JSON.stringify(asked));
  assert.equal(asked.pruned, null);
  says(prune(), /sealing keys of \d{4}-\d\d are not destroyed/);
  world.cli('audit', 'retention', 'run');
  await until(() => plan('--before', '200d').allowed, 'the anchor');
  asked = plan('--before', '200d');
  assert.ok(asked.would.entries > 300 && asked.would.segments >= 2, JSON.stringify(asked.would));
  assert.deepEqual(asked.possible, asked.would);
  // Within the longest period: nothing but what is possible.
  says(['audit', 'prune', '--to', '100000000', ...WHY], /keeps records for 184 days[^]*Possible is --to \d+/);
  says(['audit', 'prune', '--to', '3', ...WHY], /whole segments/);
  says(['audit', 'prune', '--before', 'yesterday', ...WHY], /is no time/);
  says(['audit', 'prune', '--before', '200d'], /reason/);
  // A class with a longer one, and the lock.
  world.cli('audit', 'retention', 'class', 'long', '--days', '400');
  says(prune(), /class long keeps records for 400 days/);
  world.cli('audit', 'retention', 'class', 'long', '--days', '100');
  // Legal holds: of the caller then, of a time; none of another time.
  world.cli('audit', 'hold', 'add', 'c-1', '--caller', 'canary-handle-4711', '--reason', 'r', '--basis', 'b');
  says(prune(), /legal hold c-1 is about records from entry \d+ on/);
  world.cli('audit', 'hold', 'release', 'c-1', '--reason', 'settled');
  world.cli('audit', 'hold', 'add', 'c-2', '--since', '2020-01-01', '--reason', 'r', '--basis', 'b');
  says(prune(), /legal hold c-2/);
  world.cli('audit', 'hold', 'release', 'c-2', '--reason', 'settled');
  const lately = new Date(Date.now() - 864e5).toISOString();
  world.cli('audit', 'hold', 'add', 'c-3', '--since', lately, '--reason', 'r', '--basis', 'b');
  assert.ok(plan('--before', '200d').allowed);
  world.cli('audit', 'hold', 'release', 'c-3', '--reason', 'settled');
  // A receiver that has not come so far.
  const closed = net.createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await new Promise((resolve) => closed.once('listening', resolve));
  world.cli('sink', 'add', 'siem', 'syslog', `tcp://127.0.0.1:${closed.address().port}`, '--from', 'start');
  says(prune(), /the sink siem has the log up to entry 0/);
  world.cli('sink', 'remove', 'siem');
  closed.close();
  // Nobody does it while the server, who knows all this, is down.
  await world.stop();
  says(prune(), /running server/);
  await world.serve();
  await until(() => plan('--before', '200d').allowed, 'the anchor, asked anew');
  verified('--against', note);
  await world.stop();
  saved = join(world.dir, 'saved');
  cpSync(world.state, saved, { recursive: true });
  cpSync(join(world.dir, 'anchored'), join(world.dir, 'anchored.saved'), { recursive: true });
});

test('kill -9 at each step of it', async () => {
  let done = 0, not = 0, died = true;
  for (let n = 1; died; n += n < 30 ? 2 : 8) {
    putBack();
    const set = (value) => { const bytes = Buffer.alloc(4); bytes.writeInt32LE(value); writeFileSync(counter, bytes, { flag: 'r+' }); };
    set(0);
    world.env = { LD_PRELOAD: process.env.KILLED, KILLED_FILE: counter };
    await world.serve();
    world.env = {};
    await until(() => plan('--before', '200d').allowed, 'the anchor');
    set(n);
    const answer = run(...prune());
    died = answer.status !== 0;
    set(0);
    if (died) await until(() => world.server.child.signalCode ?? world.server.child.exitCode, `the end at step ${n}: ${answer.stderr}`);
    else await world.stop('SIGKILL');
    verified('--against', note);
    await world.serve(); // takes it up again
    const { pruned, disposals } = world.json('audit', 'retention', 'show');
    const own = disposals.find((one) => one.kind === 'prune');
    assert.equal(Boolean(own), Boolean(pruned), JSON.stringify({ own, pruned }));
    if (own) assert.ok(own.ended && own.certificate.length === 64 && own.entries === pruned.entries, JSON.stringify(own));
    if (own) assert.ok(!segments().includes('00000001.seg'), 'segments are left');
    if (own) done++; else not++;
    if (!died) assert.ok(own);
    await many(3, 10);
    await world.stop();
    const text = verified('--against', note);
    if (own) assert.match(text, /entries 0 to \d+ were pruned on .* under certificate [0-9a-f]{64}/);
    assert.ok(n < 3000);
  }
  assert.ok(done > 3 && not > 3, `${done} done, ${not} not`);
});

test('what is left serves everything but what went', async () => {
  putBack();
  await world.serve();
  await until(() => plan('--before', '200d').allowed, 'the anchor');
  const would = plan('--before', '200d').would;
  const at = new Date(Date.parse(would.until) - 1000).toISOString();
  const state = world.json('audit', 'state');
  const answer = world.json(...prune());
  assert.equal(answer.kind, 'prune');
  assert.equal(answer.entries, would.entries);
  assert.ok(answer.files >= would.segments && answer.bytes > 1e6, JSON.stringify(answer));
  const gone = answer.entries;
  const { pruned } = world.json('audit', 'retention', 'show');
  assert.deepEqual([pruned.entries, pruned.minimumIndex % 256, pruned.disposal], [gone, 0, answer.id]);
  const certificate = readFileSync(join(world.state, 'certificates', `${answer.id}.json`));
  assert.equal(createHash('sha256').update(certificate).digest('hex'), answer.certificate);
  assert.equal(JSON.parse(certificate).prefix.entries, gone);
  // On record, and signed.
  const [begun] = world.json('audit', 'query', '--type', 'audit.prune_begun').rows;
  const event = JSON.parse(world.cli('audit', 'show', String(begun.seq), '--json')).entries[0].entry;
  assert.equal(event.detail.prefix.entries, gone);
  assert.equal(event.reason, 'their time is over');
  assert.match(verified('--against', note), new RegExp(`entries 0 to ${gone - 1} were pruned`));
  assert.match(verified('--from', String(gone - 100), '--to', String(gone + 100)), /the hashes alone/);
  // Verifiers that share no code with the program, and what they would miss.
  const vkey = readFileSync(join(world.state, 'log.vkey'), 'utf8');
  const log = join(world.state, 'log'), spare = join(world.dir, 'log');
  const python = (folder, ...args) => spawnSync('python3', [new URL('../../schema/verify.py', import.meta.url).pathname,
    join(world.state, 'log.vkey'), 'log', folder, ...args], { encoding: 'utf8' });
  const said = await until(() => { // the log grows meanwhile: a copy whose checkpoint and tiles are of one moment
    rmSync(spare, { recursive: true, force: true });
    cpSync(log, spare, { recursive: true });
    const { status, stdout } = python(spare, note);
    return status === 0 && stdout;
  }, 'a copy that holds');
  assert.match(said, new RegExp(`^whole: .*; entries 0 to ${gone - 1} were pruned on .*${answer.id}`));
  assert.ok(verifyLog(spare, vkey).length > 0);
  rmSync(join(spare, bundleOf(pruned.minimumIndex)));
  assert.match(python(spare).stderr, /no entry says that it was pruned/);
  assert.throws(() => verifyLog(spare, vkey), /no entry says/);
  // What went is named as such; what is left is there.
  const index = () => until(() => { const gaps = world.json('audit', 'gaps'); return !gaps.incomplete && gaps; }, 'the index', 60000);
  const gaps = await index();
  assert.equal(gaps.pruned.entries, gone);
  says(['audit', 'show', '5'], /entry 5 is gone: entries 0 to \d+ were pruned/);
  says(['audit', 'prove', '5', '--out', join(world.dir, 'p')], /entries 0 to \d+ were pruned/);
  says(['audit', 'show', first], /no request or event .* may be one of those that went: entries 0 to/);
  says(['audit', 'redecide', first], /may be one of those that went/);
  says(['audit', 'content', first], /may be one of those that went/);
  says(['audit', 'reconcile'], /the log begins at .*\(--since\)/);
  says(['quota', 'set', '--organisation', '--limit', 'output_tokens/lifetime=100000', '--count-earlier-use'], /what was before was pruned/);
  const rows = world.json('audit', 'query', '--order', 'oldest', '--limit', '1').rows;
  assert.ok(rows[0].seq >= gone);
  assert.ok(world.json('audit', 'stats', '--by', 'day').pruned.entries === gone);
  const stated = world.json('audit', 'state');
  assert.deepEqual(stated.items, state.items);
  says(['audit', 'state', '--at', at.replace(/^\d{4}/, '2019')], /cannot be told any more: entries 0 to/);
  const sample = world.json('audit', 'sample', '--seed', 's', '--count', '3');
  assert.ok(sample.items.every((one) => one.index >= gone));
  const redecided = rows.length && world.json('audit', 'query', '--type', 'request', '--limit', '1').rows[0].id;
  says(['audit', 'redecide', redecided], /./, 0);
  // Files of the log, by the specification.
  const bundle = bundleOf;
  assert.equal((await file(bundle(0))).status, 404);
  assert.match((await file(bundle(0))).text, /minimum index/);
  assert.equal((await file(bundle(pruned.minimumIndex - 1))).status, 404);
  assert.equal((await file(bundle(pruned.minimumIndex))).status, 200);
  assert.equal((await file('tile/0/000')).status, 200);
  // An export of everything begins where the log does; a part that went fails.
  const all = join(world.dir, 'all.jsonl');
  world.cli('audit', 'export', all);
  says(['audit', 'verify', all, '--key', readFileSync(join(world.state, 'log.vkey'), 'utf8').trim()], /holds|as signed|whole/, 0);
  assert.equal(JSON.parse(readFileSync(all, 'utf8').split('\n')[0]).from, gone);
  says(['audit', 'export', join(world.dir, 'none.jsonl'), '--from', '3', '--to', '9'], /were pruned/);
  // The index anew; the state anew; the tiles anew.
  world.cli('audit', 'reindex');
  await index();
  verified('--index');
  // A sink from the start begins with what is there.
  let got = '';
  const receiver = http.createServer((request, reply) => {
    request.on('data', (piece) => { got += piece; });
    request.on('end', () => reply.end());
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => receiver.once('listening', resolve));
  world.cli('sink', 'add', 'lake', 'https', `http://127.0.0.1:${receiver.address().port}/in`, '--from', 'start');
  await until(() => got.includes('\n'), 'the first entries');
  assert.equal(JSON.parse(got.split('\n')[0]).index, gone);
  world.cli('sink', 'remove', 'lake');
  receiver.close();
  receiver.closeAllConnections();
  const usage = () => world.json('quota', 'usage').items.map((one) => [one.quota ?? one.id, one.used]);
  const used = usage();
  assert.ok(used.length > 0 && used[0][1] > 300, JSON.stringify(used));
  await world.stop();
  for (const name of ['journal/state', 'journal/state.previous', 'log/tile/1'])
    rmSync(join(world.state, name), { recursive: true, force: true });
  await world.serve();
  assert.deepEqual(usage(), used);
  await many(3, 10);
  verified('--against', note);
});

test('a backup carries what cannot be made anew', async () => {
  const backup = join(world.dir, 'backup'), back = join(world.dir, 'back');
  world.cli('backup', backup, '--keys', 'with');
  await world.stop();
  const put = spawnSync(program, ['restore', backup, back], { encoding: 'utf8' });
  assert.equal(put.status, 0, put.stderr);
  const checked = () => spawnSync(program, ['-C', back, 'audit', 'verify', '--against', note], { encoding: 'utf8' });
  const aside = world.state;
  world.state = back;
  await world.serve();
  await many(3, 10);
  await world.stop();
  let found = checked();
  assert.equal(found.status, 0, found.stdout + found.stderr);
  assert.match(found.stdout, /were pruned on/);
  // The same out of the stopped directory itself.
  world.state = join(world.dir, 'again');
  const other = spawnSync(program, ['restore', back, world.state], { encoding: 'utf8' });
  assert.equal(other.status, 0, other.stderr);
  await world.serve();
  await world.stop();
  verified('--against', note);
  world.state = aside;
});

test('a segment that was not pruned is missed as ever', () => {
  const names = segments().filter((name) => /seg$/.test(name)).sort();
  const path = join(world.state, 'journal/segments', names[0]);
  renameSync(path, `${path}.aside`);
  says(['audit', 'verify'], new RegExp(`${names[0]} is missing`));
  says(['audit', 'prune', '--dry-run'], /is missing/);
  renameSync(`${path}.aside`, path);
  // Nor is a marker believed that the log does not know of.
  const marker = join(world.state, 'journal/segments/pruned');
  const was = readFileSync(marker, 'utf8');
  writeFileSync(marker, was.replace(/"time":"20\d\d/, '"time":"2020'));
  says(['audit', 'verify'], /no signed entry of the log says so/);
  writeFileSync(marker, was);
  verified('--against', note);
});

test('where anything is for two people, so is this', async () => {
  putBack();
  await world.serve();
  const token = (name) => {
    const path = join(world.dir, name);
    writeFileSync(path, world.json('admin', 'add', name, '--role', 'admin').secret, { mode: 0o600 });
    return ['--token-file', path];
  };
  const ann = token('ann'), bob = token('bob');
  world.cli('setting', 'set', 'two_person_for', 'holds');
  await until(() => plan('--before', '200d').allowed, 'the anchor');
  const asked = run(...prune(), ...ann, '--json');
  assert.equal(asked.status, 3, asked.stderr);
  const proposal = JSON.parse(asked.stdout);
  assert.match(proposal.rule, /two people/);
  assert.deepEqual(proposal.changes.map((one) => [one.type, one.object]), [['audit.prune_begun', String(plan('--before', '200d').would.entries)]]);
  assert.equal(world.json('audit', 'retention', 'show').pruned, null);
  assert.ok(segments().includes('00000001.seg'));
  says(['proposal', 'approve', proposal.id, ...ann], /someone else/);
  says(['proposal', 'approve', proposal.id, ...bob], /./, 0);
  const { pruned, disposals } = world.json('audit', 'retention', 'show');
  assert.ok(pruned.entries > 0 && disposals[0].ended, JSON.stringify({ pruned, disposals }));
  assert.ok(!segments().includes('00000001.seg'));
  verified('--against', note);
  // Records of an exempt class stay for good, whatever their age.
  world.cli('audit', 'retention', 'class', 'sec', '--profile', 'sec17a4');
  world.cli('audit', 'retention', 'team', 'everyone', 'sec');
  await until(async () => { await many(1, 10); return plan('--to', '100000000').limits.find((one) => one.kind === 'exempt'); }, 'an exempt record');
  says(['audit', 'prune', '--to', '100000000', ...WHY, ...ann], /class sec is exempt: the log keeps its records/);
});
