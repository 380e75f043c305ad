// SPDX-License-Identifier: Apache-2.0
//
// Running the load, and what it costs the process under load.
import { execFile, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);
let program;
export const warnings = [];

export function useLoad(path) {
    program = path;
}

// One run of bench/load.c against a peer; its JSON object.
export async function load(peer, options) {
    const args = ['--port', options.port ?? peer.port];
    if (peer.plain || options.plain) args.push('--plain');
    for (const header of peer.headers) args.push('--header', header);
    for (const [name, value] of Object.entries(options)) {
        if (['port', 'plain', 'expectRefusals'].includes(name)) continue;
        args.push(`--${name}`);
        if (value !== true) args.push(String(value));
    }
    const { stdout } = await execFileAsync(program, args.map(String));
    const result = JSON.parse(stdout);
    // Of streams it is the pieces: one may be longer than the time that is measured.
    if ((options.stream ? result.pieces : result.answers) === 0 && !options.handshakes && !options.idle && !options.expectRefusals)
        warnings.push(`${peer.name}: no answer at all (${JSON.stringify(options)}); does something else use the disk?`);
    if (result.bad > 0 || result.errors > 0 || (result.refused > 0 && !options.expectRefusals))
        warnings.push(`${peer.name}: ${result.bad} answers other than 200, ${result.refused} refusals, `
            + `${result.errors} broken connections of ${result.answers} (${JSON.stringify(options)})`);
    return result;
}

// Nanoseconds of processor time by thread.
export function processorTime(pid) {
    const threads = {};
    for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
        try {
            const name = fs.readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8').trim();
            const [ran] = fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ');
            threads[name] = (threads[name] ?? 0) + Number(ran);
        } catch { /* it has ended */ }
    }
    return threads;
}

export function spent(before, after) {
    const threads = {};
    for (const name of Object.keys(after))
        threads[name] = after[name] - (before[name] ?? 0);
    return threads;
}

export const total = (threads) => Object.values(threads).reduce((sum, ns) => sum + ns, 0);

export function resident(pid) {
    return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
}

// System calls of all threads while `during` runs; null without strace.
export async function systemCalls(pid, during) {
    if (spawnSync('strace', ['-V']).error) return null;
    const file = `/tmp/bailiff-bench-strace-${process.pid}`;
    const tracer = execFile('strace', ['-c', '-f', '-o', file, '-p', String(pid)]);
    tracer.on('error', () => {});
    await new Promise((done) => setTimeout(done, 300));
    const result = await during();
    const ended = new Promise((done) => tracer.on('exit', done));
    tracer.kill('SIGINT');
    await ended;
    const calls = {};
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
        const columns = line.trim().split(/\s+/);
        if (/^\d/.test(columns[0]) && columns.length >= 5 && columns.at(-1) !== 'total')
            calls[columns.at(-1)] = Number(columns[3]);
    }
    fs.rmSync(file, { force: true });
    return { calls, result };
}

export function median(values) {
    const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
    if (sorted.length === 0) return NaN;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const least = (values) => Math.min(...values);
export const most = (values) => Math.max(...values);
