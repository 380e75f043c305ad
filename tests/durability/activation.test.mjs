// SPDX-License-Identifier: Apache-2.0
//
// kill -9 at each step of an activation, of an emergency and of its end leaves
// either the old or the new rules active, never neither, and what the record
// says is what is in force.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { spawn, spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = process.env.BAILIFF;
let dir, made, work, counter, judged = 0;
const count = (n) => { const bytes = Buffer.alloc(4); bytes.writeInt32LE(n); writeFileSync(counter, bytes, { flag: 'r+' }); };
const run = (args, env = {}) => spawnSync(program, ['-C', work, ...args], { encoding: 'utf8', env: { ...process.env, ...env } });
const killed = () => ({ LD_PRELOAD: process.env.KILLED, KILLED_FILE: counter });
function json(...args) {
  const { status, stdout, stderr } = run([...args, '--json']);
  assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
  return JSON.parse(stdout);
}
const active = () => json('policy', 'list').items.filter((one) => one.state === 'active').map((one) => one.version);
function restore() {
  rmSync(work, { recursive: true, force: true });
  cpSync(made, work, { recursive: true });
}

before(() => {
  dir = mkdtempSync(join(tmpdir(), 'bailiff-kill-'));
  made = join(dir, 'made');
  work = join(dir, 'work');
  counter = join(dir, 'counter');
  writeFileSync(counter, Buffer.alloc(4096));
  assert.equal(spawnSync(program, ['init', made]).status, 0);
  const settings = join(made, 'bailiff.conf');
  writeFileSync(settings, `${readFileSync(settings, 'utf8').replace(/^\s*(listen|segment_bytes|admin_socket)\s*=.*$/mg, '')}\nlisten = [ "127.0.0.1:0" ];\nsegment_bytes = 1048576;\nworkers = 1;\n`);
  const rules = join(dir, 'rules.cedar');
  writeFileSync(rules, '@id("x") @title("t") permit (principal, action, resource);\n');
  assert.equal(spawnSync(program, ['-C', made, 'policy', 'put', rules]).status, 0);
});
after(() => rmSync(dir, { recursive: true, force: true }));

// What the state says after a death: one version, and the record agrees.
function judge(old, fresh, what) {
  const now = active();
  assert.equal(now.length, 1, `${what}: ${now.length} versions are active`);
  assert.ok([old, fresh].includes(now[0]), `${what}: version ${now[0]}`);
  if (judged++ % 5 > 0) return now[0]; // (the list has opened the state already)
  for (const args of [['check'], ['audit', 'verify']]) {
    const { status, stderr, stdout } = run(args);
    assert.equal(status, 0, `${what}: ${args}: ${stderr}${stdout}`);
  }
  return now[0];
}

// Runs until nobody dies any more; how often it ended as what.
function atEachStep(args, old, fresh, step = 1) {
  const seen = { [old]: 0, [fresh]: 0 };
  for (let n = 1; ; n += step) {
    restore();
    count(n);
    const { signal, status, stderr } = run(args, killed());
    count(0);
    const now = judge(old, fresh, `${args.join(' ')} killed at step ${n}`);
    if (signal !== 'SIGKILL') {
      assert.deepEqual([status, now], [0, fresh], stderr);
      return { steps: n, seen };
    }
    seen[now]++;
    assert.ok(n < 500);
  }
}

test('without a server: each third step of an activation', () => {
  const { steps, seen } = atEachStep(['policy', 'activate', '2'], 1, 2, 3);
  
  assert.ok(steps > 8 && seen[1] > 0 && seen[2] > 0, `${steps} steps, ${JSON.stringify(seen)}`);
});

test('without a server: an emergency, at every seventh step', () => {
  const { seen } = atEachStep(['policy', 'activate', '2', '--emergency', '--reason', 'x', '--expires', '1h'], 1, 2, 7);
  assert.ok(seen[1] > 0 && seen[2] > 0);
});

test('with a server, which dies of it and starts again', async () => {
  const seen = { 1: 0, 2: 0 };
  for (let n = 1, died = true; died; n += 6) {
    restore();
    count(0);
    const server = spawn(program, ['serve', work], { env: { ...process.env, ...killed() }, stdio: ['ignore', 'ignore', 'pipe'] });
    const gone = new Promise((resolve) => server.once('close', (code, signal) => resolve(signal)));
    await new Promise((resolve, reject) => {
      let text = '';
      server.stderr.on('data', (data) => { text += data; if (/ ready /.test(text)) resolve(); });
      server.once('close', () => reject(new Error(text)));
    });
    count(n);
    const { status, stderr } = run(['policy', 'activate', '2']);
    count(0);
    died = await Promise.race([gone.then(() => true), new Promise((resolve) => { setTimeout(resolve, 100, false); })]);
    if (!died) server.kill('SIGKILL');
    await gone;
    if (!died) assert.equal(status, 0, stderr);
    const now = judge(1, 2, `the server killed at step ${n}`);
    if (!died) assert.equal(now, 2);
    seen[now]++;
    assert.ok(n < 500);
  }
  assert.ok(seen[1] > 0 && seen[2] > 0, JSON.stringify(seen));
});
