// SPDX-License-Identifier: Apache-2.0
//
// Witnesses: two of our own watch a log, one goes away, one answers nonsense;
// a log that was rolled back, and one that was split, are told from that.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash, createPrivateKey, sign } from 'node:crypto';
import { cpSync, existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { World, until } from './harness.mjs';

const program = process.env.BAILIFF;
const verifier = new URL('../../schema/verify.py', import.meta.url).pathname;
let world, alice, w1, w2;
const running = new Set();

class Witness {
  constructor(name) {
    this.dir = join(world.dir, name.replace('/', '-'));
    this.name = name;
    execFileSync(program, ['witness', 'init', this.dir, name]);
    execFileSync(program, ['witness', 'watch', this.dir, join(world.state, 'log.vkey')]);
    this.key = readFileSync(join(this.dir, 'witness.vkey'), 'utf8').trim();
    this.port = 0;
  }

  async start() {
    this.child = spawn(program, ['witness', 'run', this.dir, '--listen', `127.0.0.1:${this.port}`], { stdio: ['ignore', 'ignore', 'pipe'] });
    running.add(this.child);
    this.log = '';
    this.child.stderr.on('data', (data) => { this.log += data; });
    this.gone = new Promise((done) => { this.child.once('exit', (code) => done(code)); });
    await until(() => / ready /.test(this.log), () => `the witness: ${this.log}`);
    this.port = Number(this.log.match(/listen=http:\/\/127\.0\.0\.1:(\d+)/)[1]);
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  async stop() {
    this.child.kill('SIGTERM');
    assert.equal(await this.gone, 0, this.log);
  }

  ask(body) {
    return fetch(`${this.url}/add-checkpoint`, { method: 'POST', body });
  }
}

const status = () => world.json('status').server.witnesses;
// (Set, it is there once the thread that asks has taken it over.)
const row = (name) => status().items.find((one) => one.name === name);
const of = (name) => row(name) ?? {};
const witnessed = () => { try { return readFileSync(join(world.state, 'log/checkpoint.witnessed'), 'utf8'); } catch { return ''; } };
const sizeOf = (note) => Number(note.split('\n')[1]);
const origin = () => readFileSync(join(world.state, 'log.vkey'), 'utf8').split('+')[0];
const attempt = (...args) => { const done = spawnSync(program, ['-C', world.state, ...args], { encoding: 'utf8' }); return { code: done.status, text: done.stdout + done.stderr }; };
const types = () => world.json('audit', 'query', '--type', 'audit.witness', '--order', 'oldest').rows.map((row) => row.type.slice(14));

before(async () => {
  world = await World.make();
  alice = world.onboard('alice');
  w1 = await new Witness('w.example/1').start();
  w2 = await new Witness('w.example/2').start();
  world.cli('witness', 'add', 'one', w1.url, w1.key);
  world.cli('witness', 'add', 'two', `${w2.url}/`, w2.key);
  world.cli('witness', 'quorum', '2', '--every-seconds', '1');
});
after(async () => {
  for (const child of running) child.kill('SIGKILL');
  await world.end();
});

test('both cosign, and everybody can see it', async () => {
  await world.chat(alice);
  await until(() => status().witnessed >= 5 && of('one').size === of('two').size && !of('one').failing, 'cosignatures');
  const note = witnessed();
  assert.match(note, /^— w\.example\/1 \S{104}$/m);
  assert.match(note, /^— w\.example\/2 \S{104}$/m);
  const { code, text } = attempt('audit', 'verify', '--witness', w1.key, '--witness', w2.key);
  assert.equal(code, 0, text);
  assert.match(text, /cosigned by w\.example\/1 at 20\S+Z: the first \d+ entries\ncosigned by w\.example\/2 at /);
  assert.deepEqual(JSON.parse(attempt('audit', 'verify', '--json', '--witness', w1.key).text).witnesses.map((one) => one.name), ['w.example/1']);
  const key = join(world.state, 'log.vkey');
  const python = (...args) => spawnSync('python3', [verifier, key, ...args], { encoding: 'utf8' });
  const copy = join(world.dir, 'witnessed');
  writeFileSync(copy, note);
  assert.match(python('checkpoint', copy, '--witness', w1.key, '--witness', w2.key).stdout, /^signed: .*, cosigned by w\.example\/1 at 20.*, cosigned by w\.example\/2/);
  const logCopy = join(world.dir, 'log');
  cpSync(join(world.state, 'log'), logCopy, { recursive: true });
  assert.match(python('log', logCopy, '--witness', w2.key).stdout, /^whole: .*, cosigned by w\.example\/2/);
  // A cosignature with one bit of its time changed; a witness that did not.
  writeFileSync(copy, note.replace(/(— w\.example\/1 .{6})(.)/, (all, head, one) => head + (one === 'A' ? 'B' : 'A')));
  assert.notEqual(python('checkpoint', copy, '--witness', w1.key).status, 0);
  const other = new Witness('w.example/3');
  const absent = attempt('audit', 'verify', '--witness', other.key);
  assert.equal(absent.code, 1);
  assert.match(absent.text, /the witness w\.example\/3: there is no cosignature/);
  assert.match(python('checkpoint', copy, '--witness', other.key).stderr, /did not cosign/);
  // The witness gives out what it has seen; that is a checkpoint kept elsewhere.
  const kept = await (await fetch(`${w1.url}/${createHash('sha256').update(origin()).digest('hex')}/checkpoint`)).text();
  assert.ok(sizeOf(kept) >= sizeOf(note));
  writeFileSync(copy, kept);
  world.cli('audit', 'checkpoint');
  assert.equal(attempt('audit', 'verify', '--against', copy).code, 0);
});

test('one is down: requests go on, and it catches up', async () => {
  await w2.stop();
  await world.chat(alice);
  await until(() => of('two').failing, 'the failure');
  assert.equal((await world.chat(alice)).status, 200);
  assert.ok(!of('one').failing);
  await w2.start();
  await until(() => !of('two').failing && of('two').size === of('one').size, 'its return', 15000);
  assert.deepEqual(types().slice(-2), ['failed', 'recovered']);
});

test('closed: without the quorum nothing is admitted, until it is there again', async () => {
  world.cli('witness', 'quorum', '2', '--mode', 'closed', '--grace-minutes', '0', '--every-seconds', '1');
  await until(() => !status().lost && status().quorum === 2, 'the quorum');
  await w2.stop();
  await until(() => status().closed, 'the alarm');
  const refused = await world.chat(alice);
  assert.equal(refused.status, 503);
  assert.match(refused.body, /Too few witnesses cosign the record/);
  await w2.start();
  await until(() => !status().closed, 'the quorum', 20000);
  const answer = await world.chat(alice);
  assert.equal(answer.status, 200);
  // Evidence is under what the quorum has cosigned, and under nothing else.
  const id = answer.headers['x-request-id'], file = join(world.dir, 'all.jsonl'), proof = join(world.dir, 'proofs');
  await world.record(id);
  await until(() => attempt('audit', 'prove', id, '--out', proof).code === 0, 'its cosignatures', 20000);
  for (const name of readdirSync(proof))
    assert.match(spawnSync('python3', [verifier, join(world.state, 'log.vkey'), 'proof', join(proof, name), '--witness', w1.key, '--witness', w2.key],
      { encoding: 'utf8' }).stdout, /^holds: .*cosigned by w\.example\/1 .*cosigned by w\.example\/2/);
  world.cli('audit', 'export', file);
  assert.match(JSON.parse(readFileSync(file, 'utf8').split('\n')[0]).checkpoint, /^— w\.example\/1 /m);
  assert.equal(attempt('audit', 'verify', file, '--key', join(world.state, 'log.vkey')).code, 0);
  await w2.stop();
  await until(() => status().closed, 'the alarm');
  world.cli('team', 'add', 'later');
  const [later] = world.json('audit', 'query', '--type', 'admin.team.added', '--object', 'later').rows;
  const early = attempt('audit', 'prove', String(later.seq), '--out', join(world.dir, 'early'));
  assert.equal(early.code, 1);
  assert.match(early.text, /is not cosigned yet: the witnesses' quorum has the first \d+/);
  await w2.start();
  await until(() => !status().closed, 'the quorum', 20000);
  world.cli('witness', 'quorum', '1', '--every-seconds', '1');
  assert.ok(types().includes('quorum_lost') && types().includes('quorum_restored'));
});

test('nonsense, refusals and another\'s cosignature are no cosignature', async () => {
  const answers = [[200, 'garbage'], [200, ''], [200, '— w.example/9 AAAA\n'], [403, ''], [404, ''], [409, 'many\n'], [409, '00\n'], [500, 'x'.repeat(100000)]];
  const words = [/form|newline/, /no cosignature/, /form|no cosignature/, /does not trust the key/, /does not watch this log/, /without the size/, /refuses the size|without the size|another size/, /answered 500|accepted/];
  let answer = answers[0];
  const server = http.createServer((request, reply) => { request.resume(); request.on('end', () => { reply.writeHead(answer[0]); reply.end(answer[1]); }); });
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  try {
    const liar = new Witness('w.example/9');
    for (let i = 0; i < answers.length; i++) {
      answer = answers[i];
      world.cli('witness', 'add', 'liar', `http://127.0.0.1:${server.address().port}`, liar.key);
      await until(() => of('liar').failing, () => `a failure with ${answer}`);
      assert.match(of('liar').why, words[i]);
      assert.equal(of('liar').conflict, false);
      world.cli('witness', 'remove', 'liar');
      await until(() => !row('liar'), 'its removal');
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
  assert.doesNotMatch(witnessed(), /w\.example\/9/);
});

// A checkpoint with the log's own key, as a thief of it would sign one.
function forge(size, root) {
  const secret = readFileSync(join(world.state, 'keys/log.key'), 'utf8').trim().slice(12).split('+').slice(2).join('+');
  const seed = Buffer.from(secret, 'base64').subarray(1);
  const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
  const text = `${origin()}\n${size}\n${root.toString('base64')}\n`;
  const id = Buffer.from(readFileSync(join(world.state, 'log.vkey'), 'utf8').split('+')[1], 'hex');
  return `${text}\n— ${origin()} ${Buffer.concat([id, sign(null, Buffer.from(text), key)]).toString('base64')}\n`;
}

test('a witness refuses what does not continue what it has seen', async () => {
  const hash = createHash('sha256').update(origin()).digest('hex');
  const seen = sizeOf(await (await fetch(`${w1.url}/${hash}/checkpoint`)).text());
  const root = createHash('sha256').update('another log').digest();
  assert.equal((await w1.ask(`old ${seen}\n\n${forge(seen - 1, root)}`)).status, 400);
  const behind = await w1.ask(`old 0\n\n${forge(seen + 1, root)}`);
  assert.equal(behind.status, 409);
  assert.equal(behind.headers.get('content-type'), 'text/x.tlog.size');
  assert.match(await behind.text(), /^\d+\n$/);
  const now = sizeOf(await (await fetch(`${w1.url}/${hash}/checkpoint`)).text());
  assert.ok([409, 422].includes((await w1.ask(`old ${now}\n\n${forge(now, root)}`)).status));
  assert.equal((await w1.ask('nonsense')).status, 400);
  assert.equal((await fetch(`${w1.url}/${'0'.repeat(64)}/checkpoint`)).status, 404);
  assert.equal((await fetch(`${w1.url}/..%2fwitness.key/checkpoint`)).status, 404);
});

test('a log that was rolled back is told from a witness that is down', async () => {
  await world.stop();
  const old = join(world.dir, 'old');
  cpSync(world.state, old, { recursive: true });
  await world.serve();
  for (let i = 0; i < 3; i++) await world.chat(alice);
  const size = () => world.json('status').server.log.entries;
  const before = size();
  await until(() => of('one').size >= before, 'cosignatures of the longer log');
  await world.stop();
  renameSync(world.state, join(world.dir, 'longer'));
  renameSync(old, world.state);
  await world.serve();
  await until(() => status().items.some((one) => one.conflict), 'the conflict');
  assert.match(of('one').why, /w\.example\/1 has seen (a longer|another) log of this name/);
  await until(() => types().includes('conflict'), 'the event');
  assert.match(world.cli('audit', 'tail', '--entries', '50'), /Bailiff was told by the witness (one|two) that it has seen another log of this name/);
  assert.ok(existsSync(join(world.dir, 'longer')));
});
