// SPDX-License-Identifier: Apache-2.0
//
// What the benchmark runs: engines, proxies, instances of Bailiff. Everything
// listens on loopback, lives below one temporary folder and ends with it.
import { execFile, execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);

export const work = fs.mkdtempSync(path.join(os.tmpdir(), 'bailiff-bench-'));
const running = [];

export async function cleanUp() {
    const alive = running.filter((child) => child.exitCode === null && child.signalCode === null);
    const gone = alive.map((child) => new Promise((done) => child.on('exit', done)));
    for (const child of alive) child.kill('SIGTERM');
    const late = setTimeout(() => alive.forEach((child) => child.kill('SIGKILL')), 10000);
    await Promise.all(gone);
    clearTimeout(late);
    fs.rmSync(work, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
}

// HAProxy counts two descriptors for each connection.
export const idleMost = Math.min(10000,
    Math.floor((Number(execFileSync('bash', ['-c', 'ulimit -Hn; true']).toString()) || 1e6) / 2) - 500);

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export function freePort() {
    return new Promise((done, failed) => {
        const server = net.createServer();
        server.on('error', failed);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => done(port));
        });
    });
}

function listens(port) {
    return new Promise((done) => {
        const socket = net.connect(port, '127.0.0.1');
        socket.on('connect', () => { socket.destroy(); done(true); });
        socket.on('error', () => done(false));
    });
}

async function start(name, program, args, port) {
    const log = fs.openSync(path.join(work, `${name}.log`), 'a');
    const child = spawn(program, args, { stdio: ['ignore', log, log] });
    running.push(child);
    for (let i = 0; i < 600; i++) {
        if (await listens(port)) return child;
        if (child.exitCode !== null) break;
        await sleep(50);
    }
    throw new Error(`${name} does not listen: ${fs.readFileSync(path.join(work, `${name}.log`), 'utf8').slice(-600)}`);
}

export async function stop(child) {
    const gone = new Promise((done) => child.on('exit', done));
    child.kill('SIGTERM');
    await gone;
}

// --- Engines and peers -------------------------------------------------------

const text = 'The harbour master keeps the book. '.repeat(6);
const answer = JSON.stringify({
    id: 'chatcmpl-0', object: 'chat.completion', created: 1700000000, model: 'tiny',
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 12, completion_tokens: 40, total_tokens: 52 },
});

function write(name, content) {
    const file = path.join(work, name);
    fs.writeFileSync(file, content);
    return file;
}

export async function startEngines(tools) {
    const port = await freePort();
    const conf = write('engine.conf', `worker_processes 1; daemon off; error_log ${work}/engine-errors.log; pid ${work}/engine.pid;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
  client_body_temp_path ${work}/engine-body; proxy_temp_path ${work}/engine-proxy;
  client_body_buffer_size 16m;
  server { listen 127.0.0.1:${port} backlog=4096;
    location / { default_type application/json; return 200 '${answer}'; } } }
`);
    await start('engine', 'nginx', ['-c', conf], port);
    const streams = await freePort();
    await start('streams', tools.engine, ['--port', streams, '--tokens', tools.tokens, '--every', tools.everyMs], streams);
    return { fixed: port, streams };
}

async function startHaproxy(name, threads, engines, both) {
    const [front, streams] = [await freePort(), await freePort()];
    const haproxy = write(`${name}.cfg`, `global
  nbthread ${threads}
  maxconn ${idleMost + 200}
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
frontend front
  bind 127.0.0.1:${front} ssl crt ${both}
  default_backend back
frontend streams
  bind 127.0.0.1:${streams} ssl crt ${both}
  default_backend streams
backend back
  http-reuse always
  server engine 127.0.0.1:${engines.fixed}
backend streams
  http-reuse always
  server engine 127.0.0.1:${engines.streams}
`);
    const child = await start(name, 'haproxy', ['-f', haproxy], front);
    return { name: 'HAProxy', port: front, streams, pid: child.pid, headers: [] };
}

export async function startPeers(engines, tls, portkeyScript) {
    const peers = {};
    const both = write('both.pem', fs.readFileSync(tls.certificate, 'utf8') + fs.readFileSync(tls.key, 'utf8'));
    peers.haproxy = await startHaproxy('haproxy', 1, engines, both);
    peers.haproxyTwo = await startHaproxy('haproxy-two', 2, engines, both);
    const port = await freePort();
    const nginx = write('nginx.conf', `worker_processes 1; daemon off; error_log ${work}/nginx-errors.log; pid ${work}/nginx.pid;
events { worker_connections 15000; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
  client_body_temp_path ${work}/nginx-body; proxy_temp_path ${work}/nginx-proxy; client_body_buffer_size 16m;
  upstream engine { server 127.0.0.1:${engines.fixed}; keepalive 512; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port} ssl backlog=4096;
    ssl_certificate ${both}; ssl_certificate_key ${both};
    location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; } } }
`);
    const master = await start('nginx', 'nginx', ['-c', nginx], port);
    await sleep(200);
    const worker = fs.readFileSync(`/proc/${master.pid}/task/${master.pid}/children`, 'utf8').trim().split(' ')[0];
    peers.nginx = { name: 'nginx', port, pid: Number(worker), headers: [] };

    if (fs.existsSync(portkeyScript)) {
        const plain = await freePort();
        const portkey = await start('portkey', process.execPath, [portkeyScript, `--port=${plain}`, '--headless'], plain);
        peers.portkey = {
            name: 'Portkey', port: plain, pid: portkey.pid, plain: true,
            headers: ['x-portkey-provider: openai', `x-portkey-custom-host: http://127.0.0.1:${engines.fixed}/v1`],
        };
    }
    return peers;
}

// --- Bailiff -----------------------------------------------------------------

// Rules of other teams, which the index of scopes passes over: none matches.
export function rules(count, starter) {
    let all = starter;
    for (let i = 1; i <= count; i++)
        all += `\n@id("bench-${i}")\n@title("Rule ${i}")\npermit (principal in Team::"bench-${(i - 1) % 100 + 1}", `
            + `action in Action::"infer", resource)\nwhen { context.input.tokens < ${i * 100} };\n`;
    return all;
}

export class Bailiff {
    constructor(program, name, options) {
        Object.assign(this, { program, name, options, headers: [] });
        this.state = path.join(options.folder ?? work, `${name}-state`);
    }

    cli(...args) {
        return execFileAsync(this.program, args, {
            env: { ...process.env, BAILIFF_STATE: this.state }, maxBuffer: 1 << 26,
        });
    }

    async serve() {
        const began = process.hrtime.bigint();
        this.child = await start(this.name, this.program, ['serve', this.state], this.port);
        const log = path.join(work, `${this.name}.log`);
        for (let i = 0; i < 600 && !fs.readFileSync(log, 'utf8').slice(this.logged ?? 0).includes(' ready '); i++)
            await sleep(10);
        this.logged = fs.statSync(log).size;
        this.pid = this.child.pid;
        this.startMs = Number(process.hrtime.bigint() - began) / 1e6;
    }

    async stop() {
        await stop(this.child);
    }

    // Until index and checkpoint have all that was written: what was put off
    // under load must not be done at the cost of whoever is measured next.
    async caughtUp() {
        const began = Date.now();
        for (;;) {
            const text = await new Promise((done, failed) => http.get(
                { socketPath: path.join(this.state, 'admin.sock'), path: '/metrics' }, (answer) => {
                    let all = '';
                    answer.on('data', (piece) => { all += piece; });
                    answer.on('end', () => done(all));
                }).on('error', failed));
            const of = (name) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)[1]);
            if (of('bailiff_log_index_lag_entries') === 0 && of('bailiff_log_checkpoint_entries') === of('bailiff_log_entries_total')) return;
            if (Date.now() - began > 60000) throw new Error(`${this.name}: the index does not catch up`);
            await sleep(50);
        }
    }

    // options: policies, quotas (bool), workers, keys (beside one), folder,
    // concurrent (requests that an engine takes; twice as many wait)
    async setUp(engines) {
        const { policies = 100, quotas = true, workers = 1, keys = 0, concurrent = 0 } = this.options;
        this.port = await freePort();
        this.streams = this.port;
        await execFileAsync(this.program, ['init', this.state]);
        const conf = path.join(this.state, 'bailiff.conf');
        fs.writeFileSync(conf, fs.readFileSync(conf, 'utf8').replace(/^(listen|workers).*\n/gm, '')
            + `listen = [ "127.0.0.1:${this.port}" ];\nworkers = ${workers};\nmax_connections_per_address = 20000;\n`
            + "max_log_bytes_per_caller = 1099511627775;\n"
            + (concurrent ? `queue_timeout_ms = 100;\nqueue_length = ${2 * concurrent};\n` : ''));
        await this.serve();
        await this.cli('engine', 'add', 'mock', `http://127.0.0.1:${engines.fixed}`, '--kind', 'openai',
            ...(concurrent ? ['--max-concurrent', String(concurrent)] : []));
        await this.cli('engine', 'add', 'streaming', `http://127.0.0.1:${engines.streams}`, '--kind', 'openai');
        await this.cli('model', 'add', 'tiny', '--engine', 'mock', '--approve');
        await this.cli('model', 'add', 'streamed', '--engine', 'streaming', '--approve');
        if (policies > 0) {
            for (let i = 1; i <= Math.min(policies, 100); i++)
                await this.cli('team', 'add', `bench-${i}`);
            const { stdout } = await this.cli('policy', 'show');
            const file = write(`${this.name}.cedar`, rules(policies, stdout.slice(stdout.search(/^@id/m))));
            await this.cli('policy', 'put', file, '--note', 'bench');
            await this.cli('policy', 'activate', '2');
        }
        const { stdout } = await this.cli('onboard', 'alice', '--team', 'everyone');
        this.headers = [`Authorization: Bearer ${/blf_[A-Za-z0-9]*/.exec(stdout)[0]}`];
        if (quotas) {
            await this.cli('quota', 'set', '--caller', 'alice', '--tokens-per-day', '9000000000000');
            await this.cli('quota', 'set', '--team', 'everyone', '--requests-per-minute', '1000000000');
            await this.cli('quota', 'set', '--team', 'everyone', '--tokens-per-month', '9000000000000');
        }
        if (keys > 0)
            await this.fill(keys);
    }

    // Half as many callers as keys, written behind the server's back and then
    // accepted, as through the API each would be an event of its own.
    async fill(keys) {
        await this.stop();
        const callers = Math.floor(keys / 2);
        const count = (n) => `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${n})`;
        execFileSync('sqlite3', [path.join(this.state, 'control.db')], {
            input: `BEGIN;
${count(callers)} INSERT INTO caller (id, created) SELECT printf('cal_%016d', i), 0 FROM n;
${count(callers)} INSERT INTO caller_team SELECT printf('cal_%016d', i), printf('bench-%d', i % 100 + 1) FROM n;
${count(keys)} INSERT INTO api_key (id, caller, hash, hint, created)
  SELECT printf('key_%016d', i), printf('cal_%016d', (i - 1) % ${callers} + 1), randomblob(32), 'blf_x', 0 FROM n;
COMMIT;`,
        });
        execFileSync('sqlite3', [path.join(this.state, 'persons.db')], {
            input: `${count(callers)} INSERT INTO person (id, handle) SELECT printf('cal_%016d', i), printf('bench-%d', i) FROM n;`,
        });
        await execFileAsync(this.program, ['check', this.state, '--adopt', '--reason', 'bench']);
        await this.serve(); // the sealing keys of all are made
        this.firstStartMs = this.startMs;
        await this.stop();
        await this.serve();
    }
}
