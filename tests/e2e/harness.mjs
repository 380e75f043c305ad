// SPDX-License-Identifier: Apache-2.0
//
// A state directory, an engine and a proxy of their own for each test file.
// World.end() looks at what the server leaves behind: its exit code, reports
// of a sanitizer, and every entry of its log (log.mjs).
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import http from 'node:http';
import https from 'node:https';
import tls from 'node:tls';
import net from 'node:net';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { checkLog } from './log.mjs';

const program = process.env.BAILIFF;
// "address" or "thread" where the program was built with a sanitizer: slower,
// and its memory is not the program's own.
export const sanitizer = process.env.BAILIFF_SANITIZER ?? '';
export const patience = sanitizer ? 4 : 1;
// In every prompt of these tests, and never in the log.
export const CANARY = 'a sentence that no record may hold';
export const messages = [{ role: 'user', content: `The harbour: ${CANARY}` }];

export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// Asks until the answer is good, for things that take their time.
export async function until(ask, what, ms = 10000) {
  const end = Date.now() + ms * patience;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited in vain: ${typeof what === 'string' ? what : what()}`);
    await sleep(25);
  }
}

function waitFor(child, pattern, name) {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(
      () => reject(new Error(`${name} did not say ${pattern}: ${text}`)), 30000);
    const look = (data) => {
      text += data;
      const match = text.match(pattern);
      if (match) { clearTimeout(timer); resolve(match); }
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.on('exit', (code) => { clearTimeout(timer); reject(new Error(`${name} ended (${code}): ${text}`)); });
  });
}

const REPORT = /(WARNING: ThreadSanitizer|ERROR: (Address|Leak)Sanitizer|runtime error:)[^]*/;

// A program of ours that was started: what it says, and how it ends.
class Process {
  constructor(args, env = {}) {
    this.child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.log = '';
    this.child.stderr.on('data', (data) => { this.log += data; });
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => {
      this.over = true;
      resolve({ code, signal });
    }));
  }

  get pid() { return this.child.pid; }
  kill(signal) { this.child.kill(signal); }
  async stop(signal = 'SIGTERM') {
    if (!this.over) this.kill(signal);
    return this.ended;
  }
}

export class World {
  constructor(dir) {
    this.dir = dir;
    this.state = join(dir, 'state');
    this.secrets = [CANARY]; // texts that no entry of the log may hold
    this.keys = [];          // texts that no file of the state may hold
    this.handles = [];
    this.logs = '';
    this.env = {};           // of the server, beside our own
  }

  static async make(options = {}) {
    const world = new World(mkdtempSync(join(tmpdir(), 'bailiff-e2e-')));
    try {
      world.run('init', world.state);
      world.settings = join(world.state, 'bailiff.conf');
      writeFileSync(world.settings, readFileSync(world.settings, 'utf8').replace(/^\s*listen\s*=.*$/m, '') +
        `\nlisten = [ "127.0.0.1:0" ];\nworkers = ${options.workers ?? 2};\n` + (options.settings ?? ''));
      options.prepare?.(world.state);
      await world.startEngine(options.engine ?? []);
      await world.serve();
      world.cli('engine', 'add', 'local', `http://127.0.0.1:${world.enginePort}`, '--kind', 'demo');
      world.cli('model', 'add', 'tiny', '--engine', 'local', '--approve');
      world.cli('model', 'add', 'big', '--engine', 'local', '--approve');
      world.cli('model', 'add', 'draft', '--engine', 'local');
      world.cli('model', 'alias', 'tiny', 'gpt-4o-mini');
      world.cli('model', 'group', 'join', 'large', 'big');
    } catch (error) { // nothing is left that would keep this process alive
      for (const child of [world.server, world.engine]) child?.kill('SIGKILL');
      rmSync(world.dir, { recursive: true, force: true });
      throw error;
    }
    return world;
  }

  run(...args) { return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }); }
  cli(...args) { return this.run('-C', this.state, ...args); }
  json(...args) { return JSON.parse(this.cli(...args, '--json')); }

  async startEngine(args = [], port = 0) {
    this.engine = new Process(['demo-engine', '--port', String(port), '--model', 'tiny', '--model', 'big', ...args]);
    const match = await waitFor(this.engine.child, /listening on http:\/\/[^:]+:(\d+)/, 'demo-engine');
    this.enginePort = Number(match[1]);
  }

  async serve() {
    this.server = new Process(['serve', this.state], this.env);
    await waitFor(this.server.child, / ready /, 'serve');
    this.port = Number(this.server.log.match(/listening address=127\.0\.0\.1:(\d+)/)[1]);
    this.ca = readFileSync(join(this.state, 'tls/ca.pem'));
  }

  async stop(signal = 'SIGTERM') {
    const end = await this.server.stop(signal);
    this.logs += this.server.log;
    return end;
  }

  async end() {
    try {
      const { code, signal } = await this.stop();
      await this.engine.stop();
      const report = (this.logs + this.engine.log).match(REPORT);
      assert.equal(report?.[0].slice(0, 20000), undefined);
      assert.deepEqual([code, signal], [0, null], this.logs.slice(-2000));
      this.entries = checkLog(this);
    } finally {
      this.server.kill('SIGKILL');
      this.engine.kill('SIGKILL');
      rmSync(this.dir, { recursive: true, force: true });
    }
  }

  onboard(handle, team = 'everyone') {
    const text = this.cli('onboard', handle, '--team', team);
    this.handles.push(handle);
    return this.keep(text);
  }

  // The key in what a command printed; from here on it must show up nowhere.
  keep(text) {
    const key = text.match(/blf_[A-Za-z0-9]+/)[0];
    this.keys.push(key);
    return key;
  }

  // The public id of the only key of a caller.
  keyId(handle) {
    return this.cli('key', 'list').split('\n').find((line) => line.includes(` ${handle} `)).match(/key_\w+/)[0];
  }

  async counters() {
    return (await fetch(`http://127.0.0.1:${this.enginePort}/counters`)).json();
  }

  // Runs what must not reach the engine, and looks whether it did.
  async untouched(work) {
    const before = await this.counters();
    const result = await work();
    const after = await this.counters();
    for (const name of ['generation', 'tokenising'])
      assert.deepEqual(after[name], before[name], `the engine's ${name} moved`);
    return result;
  }

  // The record of a request once it is closed.
  record(id) {
    return until(() => {
      const row = this.json('audit', 'query', '--id', id).rows.find((one) => one.kind === 'request');
      return row && (row.outcome || row.decision === 'deny') && row;
    }, `the record of ${id}`);
  }

  // A figure of the running server, from its metrics.
  async metric(name) {
    const text = await new Promise((resolve, reject) => {
      http.get({ socketPath: join(this.state, 'admin.sock'), path: '/metrics' }, (answer) => {
        let all = '';
        answer.on('data', (piece) => { all += piece; });
        answer.on('end', () => resolve(all));
      }).on('error', reject);
    });
    return Number(text.split('\n').find((line) => line.startsWith(`${name} `))?.slice(name.length + 1) ?? NaN);
  }

  memory() {
    return Number(readFileSync(`/proc/${this.server.pid}/status`, 'utf8').match(/VmRSS:\s*(\d+)/)[1]) * 1024;
  }

  // The real SDK. Its fetch goes over node's https with our authority.
  client(key, options = {}) {
    const fetchWithCa = (url, init = {}) => new Promise((resolve, reject) => {
      const headers = Object.fromEntries(new Headers(init.headers));
      const request = https.request(url, { method: init.method, headers, ca: this.ca, agent: false }, (answer) => {
        const body = new ReadableStream({
          start(controller) {
            answer.on('data', (data) => { try { controller.enqueue(new Uint8Array(data)); } catch { answer.destroy(); } });
            answer.on('end', () => { try { controller.close(); } catch { /* cancelled */ } });
            answer.on('error', (error) => { try { controller.error(error); } catch { /* cancelled */ } });
          },
          cancel() { request.destroy(); },
        });
        resolve(new Response(body, { status: answer.statusCode, headers: answer.headers }));
      });
      request.on('error', reject);
      init.signal?.addEventListener('abort', () => { request.destroy(); reject(new DOMException('aborted', 'AbortError')); });
      request.end(init.body);
    });
    return new OpenAI({ apiKey: key, baseURL: `https://127.0.0.1:${this.port}/v1`, fetch: fetchWithCa, maxRetries: 0, ...options });
  }

  // A plain request; { status, headers, body }.
  request(method, path, { key, body, headers = {} } = {}) {
    return new Promise((resolve, reject) => {
      const text = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
      const request = https.request({
        host: '127.0.0.1', port: this.port, method, path, ca: this.ca, agent: false,
        headers: { ...(key ? { authorization: `Bearer ${key}` } : {}),
          ...(text !== undefined ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {}),
          ...headers },
      }, (answer) => {
        const pieces = [];
        answer.on('data', (piece) => pieces.push(piece));
        answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers,
          body: Buffer.concat(pieces).toString() }));
        answer.on('error', reject);
      });
      request.on('error', reject);
      request.end(text);
    });
  }

  chat(key, body = {}) {
    return this.request('POST', '/v1/chat/completions', { key, body: { model: 'tiny', messages, max_tokens: 4, ...body } });
  }

  // Bytes as they are; everything that comes until the end or `until` matches.
  raw(bytes, until = null, wait = 5000) {
    return new Promise((resolve, reject) => {
      let text = '';
      const socket = tls.connect({ host: '127.0.0.1', port: this.port, ca: this.ca, ALPNProtocols: ['http/1.1'] },
        () => socket.write(bytes));
      const timer = setTimeout(() => { socket.destroy(); resolve({ text, closed: false }); }, wait);
      socket.on('data', (data) => {
        text += data;
        if (until && until.test(text)) { clearTimeout(timer); socket.destroy(); resolve({ text, closed: false }); }
      });
      socket.on('end', () => { clearTimeout(timer); socket.destroy(); resolve({ text, closed: true }); });
      socket.on('error', (error) => { clearTimeout(timer); if (text) resolve({ text, closed: true }); else reject(error); });
    });
  }

  // A connection of one's own, to write to, to read from and to break.
  async open() {
    const tcp = net.connect({ host: '127.0.0.1', port: this.port });
    const socket = tls.connect({ socket: tcp, host: '127.0.0.1', ca: this.ca, ALPNProtocols: ['http/1.1'] });
    const line = { socket, tcp, text: '', ended: false, error: null };
    socket.on('data', (data) => { line.text += data.toString('latin1'); });
    socket.on('end', () => { line.ended = true; });
    socket.on('close', () => { line.ended = true; });
    socket.on('error', (error) => { line.error = error; });
    tcp.on('error', () => {});
    await new Promise((resolve, reject) => { socket.once('secureConnect', resolve); socket.once('error', reject); });
    line.sees = (pattern, ms) => until(() => line.text.match(pattern), () => `${pattern} in ${line.text.slice(-500)}`, ms);
    line.ends = (ms) => until(() => line.ended, () => `the end after ${line.text.slice(-500)}`, ms);
    line.post = (key, body, path = '/v1/chat/completions') => {
      const text = JSON.stringify({ model: 'tiny', messages, ...body });
      socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${key}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    };
    line.get = (key, path) => socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${key}\r\n\r\n`);
    line.id = () => line.text.match(/x-request-id: (\w+)/)[1];
    return line;
  }
}

// The payload of a chunked body that stands in a line's text (a character a
// byte), and what comes behind it.
export function dechunk(text) {
  let at = text.indexOf('\r\n\r\n') + 4, out = '';
  const utf8 = () => Buffer.from(out, 'latin1').toString('utf8');
  for (;;) {
    const end = text.indexOf('\r\n', at);
    if (end < 0) return { body: utf8(), whole: false, rest: '' };
    const size = parseInt(text.slice(at, end), 16);
    assert.ok(size >= 0, `no size of a chunk: ${text.slice(at, at + 40)}`);
    if (size === 0) return { body: utf8(), whole: true, rest: text.slice(end + 4) };
    out += text.slice(end + 2, end + 2 + size);
    at = end + 2 + size + 2;
  }
}
export const events = (body) => [...body.matchAll(/^data: (.*)$/gm)].map((match) => match[1]);
export { net };
