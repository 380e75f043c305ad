// A state directory, an engine and a proxy of their own for each test file.
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import https from 'node:https';
import tls from 'node:tls';
import net from 'node:net';

const program = process.env.BAILIFF;

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
    child.on('exit', (code) => reject(new Error(`${name} ended (${code}): ${text}`)));
  });
}

export class World {
  constructor(dir) { this.dir = dir; this.state = join(dir, 'state'); }

  static async make(options = {}) {
    const world = new World(mkdtempSync(join(tmpdir(), 'bailiff-e2e-')));
    world.run('init', world.state);
    const settings = join(world.state, 'bailiff.conf');
    writeFileSync(settings, readFileSync(settings, 'utf8').replace(/^\s*listen\s*=.*$/m, '') +
      '\nlisten = [ "127.0.0.1:0" ];\nworkers = 2;\n' + (options.settings ?? ''));
    await world.startEngine(options.engine ?? []);
    await world.serve();
    world.cli('engine', 'add', 'local', `http://127.0.0.1:${world.enginePort}`, '--kind', 'demo');
    world.cli('model', 'add', 'tiny', '--engine', 'local', '--approve');
    world.cli('model', 'add', 'big', '--engine', 'local', '--approve');
    world.cli('model', 'add', 'draft', '--engine', 'local');
    world.cli('model', 'alias', 'tiny', 'gpt-4o-mini');
    world.cli('model', 'group', 'join', 'large', 'big');
    return world;
  }

  run(...args) { return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }); }
  cli(...args) { return this.run('-C', this.state, ...args); }

  async startEngine(args) {
    this.engine = spawn(program, ['demo-engine', '--model', 'tiny', '--model', 'big', ...args]);
    const [, port] = await waitFor(this.engine, /listening on http:\/\/[^:]+:(\d+)/, 'demo-engine');
    this.enginePort = Number(port);
  }

  async serve() {
    this.server = spawn(program, ['serve', this.state]);
    let log = '';
    this.server.stderr.on('data', (data) => { log += data; });
    await waitFor(this.server, / ready /, 'serve');
    this.port = Number(log.match(/listening address=127\.0\.0\.1:(\d+)/)[1]);
    this.ca = readFileSync(join(this.state, 'tls/ca.pem'));
  }

  async stop(signal = 'SIGTERM') {
    const gone = new Promise((resolve) => this.server.on('exit', resolve));
    this.server.removeAllListeners('exit');
    this.server.on('exit', () => {});
    const ended = new Promise((resolve) => this.server.once('exit', resolve));
    this.server.kill(signal);
    await Promise.race([gone, ended]);
  }

  async end() {
    await this.stop();
    this.engine.kill('SIGTERM');
    rmSync(this.dir, { recursive: true, force: true });
  }

  onboard(handle, team = 'everyone') {
    return this.cli('onboard', handle, '--team', team).match(/blf_[A-Za-z0-9]+/)[0];
  }

  async counters() {
    return (await fetch(`http://127.0.0.1:${this.enginePort}/counters`)).json();
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
}
export { net };
