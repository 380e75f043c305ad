// SPDX-License-Identifier: Apache-2.0
//
// The fault sweep: one server's life (start, calls of every kind, a change of
// an administrator, stop) again and again, and each time exactly one call that
// touches the state directory fails, or the process dies there (fault.c). After
// every one:
//   - what was answered is on record: 200 admitted and ended, 403 and 429 denied;
//   - no call reached the engine without its record;
//   - a change that was answered is in force and on record;
//   - a server that ended said why, in words;
//   - verification before the next start passes, or says what is wrong;
//   - the next start needs nobody's help, serves, and then all verifies.
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { World, until, messages } from '../e2e/harness.mjs';
import { readLog } from '../e2e/log.mjs';
import { copyTree } from './frames.mjs';

const program = process.env.BAILIFF;
export const KINDS = { o: 'open', w: 'write', s: 'sync', r: 'rename', u: 'unlink', z: 'size', m: 'mkdir' };
// What may become of a call of each kind.
const WAYS = { o: ['EIO', 'ENOSPC', 'kill'], w: ['EIO', 'ENOSPC', 'short', 'kill', 'killed'], s: ['EIO', 'ENOSPC', 'kill', 'killed'],
  r: ['EIO', 'ENOSPC', 'kill', 'killed'], u: ['EIO', 'kill'], z: ['EIO', 'ENOSPC', 'kill', 'killed'], m: ['EIO', 'ENOSPC', 'kill'] };

const run = (...args) => new Promise((resolve) => {
  execFile(program, args, { timeout: 60000, encoding: 'utf8' }, (error, stdout, stderr) =>
    resolve({ code: error ? (error.code ?? -1) : 0, text: stdout + stderr }));
});

// A state with callers and quotas; every case gets a copy of it.
export async function prepare() {
  const world = await World.make({ settings: 'segment_bytes = 1048576;\ndrain_timeout_ms = 3000;\n' });
  const keys = { alice: world.onboard('alice'), ivy: world.onboard('ivy', 'interns'), poor: world.onboard('poor') };
  world.cli('quota', 'set', '--caller', 'alice', '--tokens-per-day', '100000000');
  world.cli('quota', 'set', '--caller', 'poor', '--requests-per-day', '1');
  await world.stop();
  return { world, keys };
}

// Each case has an engine of its own, whose counters are the case's alone.
async function startEngine(port) {
  const child = spawn(program, ['demo-engine', '--port', String(port), '--model', 'tiny', '--model', 'big'], { stdio: ['ignore', 'pipe', 'pipe'] });
  await new Promise((resolve, reject) => {
    let text = '';
    const look = (data) => { text += data; if (/listening on/.test(text)) resolve(); };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.once('exit', () => reject(new Error(`demo-engine: ${text}`)));
  });
  return child;
}

function ask(port, ca, key, body) {
  return new Promise((resolve) => {
    const text = JSON.stringify({ model: 'tiny', messages, max_tokens: 3, ...body });
    const request = https.request({ host: '127.0.0.1', port, method: 'POST', path: '/v1/chat/completions', ca, agent: false, timeout: 8000,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } }, (answer) => {
      let body = '';
      answer.on('data', (data) => { body += data; });
      const done = () => resolve({ status: answer.statusCode, id: answer.headers['x-request-id'], body });
      answer.on('end', done);
      answer.on('error', done);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve({ status: 0 }));
    request.end(text);
  });
}

function addTeam(socketPath, name) {
  return new Promise((resolve) => {
    const text = JSON.stringify({ name });
    const request = http.request({ socketPath, method: 'POST', path: '/v1/teams', agent: false, timeout: 8000,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode));
      answer.on('error', () => resolve(0));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(0));
    request.end(text);
  });
}

// A server that is served until it is told to stop, or ends by itself.
function start(state, env) {
  const child = spawn(program, ['serve', state], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const server = { child, log: '', over: false };
  child.stderr.on('data', (data) => { server.log += data; });
  server.ended = new Promise((resolve) => child.once('close', (code, signal) => { server.over = true; resolve({ code, signal }); }));
  return server;
}
async function ready(server) {
  await until(() => server.over || / ready /.test(server.log), () => `ready: ${server.log}`, 20000);
  return !server.over;
}

export class Sweep {
  constructor(it) {
    this.it = it;
    this.dir = mkdtempSync(join(tmpdir(), 'bailiff-sweep-'));
    this.next = 0;
    this.figures = { cases: 0, died: 0, refusedToStart: 0, servedOn: 0, verifyNamed: 0, met: 0 };
  }

  end() {
    rmSync(this.dir, { recursive: true, force: true });
    this.it.world.engine.kill('SIGKILL');
    rmSync(this.it.world.dir, { recursive: true, force: true });
  }

  // How many calls of each kind a life without a fault makes.
  async count() {
    const counts = join(this.dir, 'counts');
    await this.one(null, { FAULT_COUNTS: counts });
    const text = readFileSync(counts, 'utf8');
    return Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, text.split(kind).length - 1]));
  }

  // All cases, in a fixed order.
  static cases(counts) {
    const list = [];
    for (const [kind, ways] of Object.entries(WAYS))
      for (const way of ways)
        for (let when = 1; when <= counts[kind]; when++) list.push({ kind, way, when });
    return list;
  }

  async one(fault, env = {}) {
    const n = ++this.next, state = join(this.dir, `s${n}`);
    copyTree(this.it.world.state, state);
    const enginePort = await freePort();
    const moved = await run('-C', state, 'engine', 'change', 'local', '--url', `http://127.0.0.1:${enginePort}`);
    assert.equal(moved.code, 0, moved.text);
    const engine = await startEngine(enginePort);
    try {
      await this.life(fault, state, enginePort, env);
    } catch (error) {
      error.message = `${fault ? `${KINDS[fault.kind]} ${fault.when}: ${fault.way}` : 'without a fault'}: ${error.message}`;
      throw error;
    } finally {
      engine.kill('SIGKILL');
      rmSync(state, { recursive: true, force: true });
    }
  }

  async life(fault, state, enginePort, env) {
    const { keys } = this.it;
    const preload = { LD_PRELOAD: process.env.FAULT, FAULT_DIR: state, ...env,
      ...(fault ? { FAULT_CALL: fault.kind, FAULT_WHEN: String(fault.when), FAULT_DO: fault.way } : {}) };
    const answers = [];
    let team = 0;
    const server = start(state, preload);
    let end;
    try {
      if (await ready(server)) {
        const port = Number(server.log.match(/listening address=127\.0\.0\.1:(\d+)/)[1]);
        const ca = readFileSync(join(state, 'tls/ca.pem'));
        const first = await Promise.all([ask(port, ca, keys.alice, {}), ask(port, ca, keys.ivy, { model: 'big' }), ask(port, ca, keys.poor, {})]);
        team = await addTeam(join(state, 'admin.sock'), 'swept');
        const second = await Promise.all([ask(port, ca, keys.alice, { stream: true }), ask(port, ca, keys.poor, {}), ask(port, ca, keys.alice, { max_tokens: 2 })]);
        answers.push(...first, ...second);
        server.child.kill('SIGTERM');
        this.figures.servedOn++;
      } else {
        this.figures.refusedToStart++;
      }
      const timer = setTimeout(() => server.child.kill('SIGABRT'), 25000);
      end = await server.ended;
      clearTimeout(timer);
    } finally { server.child.kill('SIGKILL'); }
    this.figures.cases++;
    if (end.signal === 'SIGKILL') this.figures.died++;
    assert.ok(end.signal === null || (end.signal === 'SIGKILL' && fault?.way.startsWith('kill')), `it ended by ${end.signal}: ${server.log.slice(-1500)}`);
    if (end.code !== 0 && end.signal === null) assert.match(server.log, /bailiff serve: \S|cannot|error|refus|failed|no room/i, 'it ended without a word');
    if (!fault) assert.deepEqual([end.code, answers.map((one) => one.status), team], [0, [200, 403, 200, 200, 429, 200], 201], server.log);

    // As it lies there: whole, or what is wrong is named.
    const lying = await run('audit', 'verify', '-C', state);
    if (lying.code !== 0) {
      assert.match(lying.text, /^(damaged|cut|tile|checkpoint|chain|altered|removed|inserted): \S/m, lying.text);
      this.figures.verifyNamed++;
    }
    await this.recover(state, enginePort, keys, answers, team);
  }

  async recover(state, enginePort, keys, answers, team) {
    const seen = (await (await fetch(`http://127.0.0.1:${enginePort}/counters`)).json()).generation.requests;
    const again = start(state, {});
    try {
      assert.ok(await ready(again), `the next start: ${again.log}`);
      const port = Number(again.log.match(/listening address=127\.0\.0\.1:(\d+)/)[1]);
      const ca = readFileSync(join(state, 'tls/ca.pem'));
      const answer = await until(async () => { const one = await ask(port, ca, keys.alice, {}); return one.status === 200 && one; }, 'service again');
      answers.push(answer);
      again.child.kill('SIGTERM');
      const { code } = await again.ended;
      assert.equal(code, 0, again.log);
    } finally { again.child.kill('SIGKILL'); }
    const whole = await run('audit', 'verify', '-C', state);
    assert.equal(whole.code, 0, whole.text);
    this.judge(state, answers, team, seen);
  }

  judge(state, answers, team, seen) {
    const admitted = new Map(), ended = new Map(), denied = new Map(), acts = [];
    for (const text of readLog(state)) {
      const entry = JSON.parse(text);
      if (entry.type === 'request.admitted') admitted.set(entry.id, entry);
      else if (/^request\.(completed|withdrawn)$/.test(entry.type)) {
        assert.ok(!ended.has(entry.id), `${entry.id} ends twice`);
        ended.set(entry.id, entry);
      } else if (entry.type === 'request.denied') denied.set(entry.id, entry);
      else acts.push(entry);
    }
    for (const { status, id } of answers) {
      if (status === 200) assert.ok(admitted.has(id) && ended.has(id), `${id} was answered 200 and is not on record`);
      if (status === 403 || status === 429) assert.ok(denied.has(id), `${id} was answered ${status} and is not on record`);
      if (status !== 0) assert.ok([200, 403, 429, 500, 503].includes(status), `answered ${status}`);
    }
    for (const id of admitted.keys()) assert.ok(ended.has(id), `${id} was left open`);
    // (The one after the fault is among those admitted and not among those seen.)
    assert.ok(seen <= admitted.size - 1, `the engine saw ${seen} calls, ${admitted.size - 1} are on record`);
    const recorded = acts.some((entry) => entry.type === 'admin.team.added' && entry.object.id === 'swept');
    if (team === 201) assert.ok(recorded, 'a change was answered and is not on record');
    this.figures.met++;
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = http.createServer();
    server.listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
  });
}

// Runs the cases, `width` at a time, for at most `ms`; gives how many were left.
export async function runAll(sweep, cases, { width = 2, ms = Infinity, said = () => {}, failed = () => {} } = {}) {
  const until = Date.now() + ms, failures = [];
  let next = 0;
  await Promise.all(Array.from({ length: width }, async () => {
    while (next < cases.length && Date.now() < until) {
      const fault = cases[next++];
      try {
        await sweep.one(fault);
      } catch (error) {
        failures.push({ fault, error });
        failed(error);
      }
      said(next, cases.length, failures);
    }
  }));
  return { left: cases.length - next, failures };
}

// node sweep.mjs [EVERY]: all cases, or every so many of them.
if (process.argv[1] === new URL(import.meta.url).pathname) {
  const every = Number(process.argv[2] ?? 1);
  const sweep = new Sweep(await prepare());
  const counts = await sweep.count();
  const cases = Sweep.cases(counts).filter((one, i) => i % every === 0);
  console.log(`calls: ${Object.entries(counts).map(([kind, n]) => `${KINDS[kind]} ${n}`).join(', ')}; ${cases.length} cases`);
  const begun = Date.now();
  const { failures } = await runAll(sweep, cases, { failed: (error) => console.log(error.message.slice(0, 3000)), said: (n, all, bad) => {
    if (n % 50 === 0) console.log(`${n} of ${all}, ${bad.length} failed, ${Math.round((Date.now() - begun) / 1000)} s`);
  } });
  console.log(JSON.stringify(sweep.figures));
  console.log(`${cases.length - failures.length} passed, ${failures.length} failed, ${Math.round((Date.now() - begun) / 1000)} s`);
  sweep.end();
  process.exit(failures.length > 0 ? 1 : 0);
}
