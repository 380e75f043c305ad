// SPDX-License-Identifier: Apache-2.0
//
// What is measured, one function a section. Each gets the bench (main.mjs) and
// gives { title, text, columns, rows, chart? } and keeps what it measured in
// bench.data.
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { least, load, median, most, processorTime, resident, spent, systemCalls, total } from './measure.mjs';
import { Bailiff, idleMost, sleep, work } from './world.mjs';

const whole = (value) => Number.isFinite(value) ? Math.round(value).toLocaleString('en') : '-';
const tenth = (value) => Number.isFinite(value) ? value.toFixed(1) : '-';
const hundredth = (value) => Number.isFinite(value) ? value.toFixed(2) : '-';
const spread = (values, show = hundredth) => `${show(median(values))} [${show(least(values))}-${show(most(values))}]`;

// Rounds in which every one of `runs` ({ name, run, peer? }) goes once: lists by
// name. What an instance of Bailiff has put off is done before the next one runs.
async function interleaved(rounds, runs) {
    const results = Object.fromEntries(runs.map(({ name }) => [name, []]));
    for (let round = 0; round < rounds; round++)
        for (const { name, run, peer } of runs)
            if (!run.rounds || round < run.rounds) {
                results[name].push(await run());
                await peer?.caughtUp?.();
            }
    return results;
}

const ratios = (ours, theirs) => ours.map((r, i) => r.perSecond / theirs[i].perSecond);

// --- Requests a second -------------------------------------------------------

export async function throughput(bench) {
    const { peers, ours, seconds, rounds } = bench;
    const rows = [], chart = { haproxy: [], nginx: [], bailiff: [], portkey: [] };
    bench.data.closed = {};
    for (const connections of [1, 32, 256]) {
        const run = (peer) => () => load(peer, { connections, seconds, body: bench.body });
        const runs = ['haproxy', 'nginx'].map((name) => ({ name, run: run(peers[name]) }));
        runs.push({ name: 'bailiff', run: run(ours), peer: ours });
        if (peers.portkey)
            runs.push({ name: 'portkey', run: Object.assign(run(peers.portkey), { rounds: 2 }) });
        const r = bench.data.closed[connections] = await interleaved(rounds, runs);
        const ratio = ratios(r.bailiff, r.haproxy);
        const rate = (name) => r[name] ? median(r[name].map((x) => x.perSecond)) : NaN;
        const us = (name, what) => median(r[name].map((x) => x.latencyMicros[what]));
        rows.push([connections, whole(rate('haproxy')), whole(rate('nginx')), whole(rate('portkey')),
            whole(rate('bailiff')), spread(ratio), tenth(rate('bailiff') / rate('portkey')),
            `${whole(us('haproxy', 'p50'))}, ${whole(us('bailiff', 'p50'))}`,
            `${whole(us('haproxy', 'p99'))}, ${whole(us('bailiff', 'p99'))}`]);
        for (const name of Object.keys(chart)) chart[name].push(r[name] ? rate(name) : null);
        bench.say(`${connections} connections: HAProxy ${whole(rate('haproxy'))}, Bailiff ${whole(rate('bailiff'))}, ratio ${spread(ratio)}`);
    }
    return {
        title: 'Requests a second, closed loop',
        text: `Median of ${rounds} rounds of ${seconds} s; the quotient's least and most in brackets.`,
        columns: ['connections', 'HAProxy', 'nginx', 'Portkey', 'Bailiff', 'Bailiff / HAProxy', 'Bailiff / Portkey',
            'p50 us HAProxy, Bailiff', 'p99 us HAProxy, Bailiff'],
        rows,
        chart: {
            file: 'throughput.svg', title: 'Requests a second', unit: 'requests/s', groups: ['1 connection', '32', '256'],
            series: [['HAProxy (TLS only)', 'haproxy'], ['nginx (TLS only)', 'nginx'], ['Bailiff, all on', 'bailiff'], ['Portkey (plain)', 'portkey']]
                .map(([name, key]) => ({ name, values: chart[key] })),
        },
    };
}

// For so long that the index cannot put its work off any more: the rate at which
// everything keeps up.
export async function sustained(bench) {
    const { peers, ours } = bench, seconds = bench.short ? 5 : 10, rows = [];
    bench.data.sustained = {};
    for (const connections of [32, 256]) {
        const options = { connections, seconds, body: bench.body };
        const r = await interleaved(bench.short ? 1 : 2, [
            { name: 'haproxy', run: () => load(peers.haproxy, options) },
            { name: 'bailiff', peer: ours, run: () => load(ours, { ...options, seconds: seconds * 1.5 }).then(() => load(ours, options)) }]);
        bench.data.sustained[connections] = r;
        rows.push([connections, whole(median(r.haproxy.map((x) => x.perSecond))), whole(median(r.bailiff.map((x) => x.perSecond))),
            spread(ratios(r.bailiff, r.haproxy)), whole(median(r.bailiff.map((x) => x.latencyMicros.p99)))]);
    }
    return {
        title: 'Requests a second, sustained',
        text: `${seconds} s, Bailiff after ${seconds * 1.5} s of the same load.`,
        columns: ['connections', 'HAProxy', 'Bailiff', 'Bailiff / HAProxy', 'p99 us Bailiff'], rows,
    };
}

// Two workers beside two threads.
export async function two(bench) {
    const { peers, seconds } = bench, rows = [];
    const instance = new Bailiff(bench.program, 'two', { workers: 2 });
    await instance.setUp(bench.engines);
    bench.data.two = {};
    for (const connections of [32, 256]) {
        const run = (peer) => () => load(peer, { connections, seconds, body: bench.body });
        const r = bench.data.two[connections] = await interleaved(bench.short ? 1 : 4, [
            { name: 'haproxy', run: run(peers.haproxyTwo) }, { name: 'bailiff', run: run(instance), peer: instance }]);
        rows.push([connections, whole(median(r.haproxy.map((x) => x.perSecond))), whole(median(r.bailiff.map((x) => x.perSecond))),
            spread(ratios(r.bailiff, r.haproxy))]);
    }
    await instance.stop();
    return { title: 'Two workers beside two threads', text: '', columns: ['connections', 'HAProxy', 'Bailiff', 'Bailiff / HAProxy'], rows };
}

// --- What a request costs ----------------------------------------------------

async function costOf(bench, peer, connections, seconds) {
    const before = processorTime(peer.pid);
    const r = await load(peer, { connections, seconds, body: bench.body });
    await sleep(1200);
    await peer.caughtUp?.(); // what follows the journal is part of it
    const threads = spent(before, processorTime(peer.pid));
    for (const name of Object.keys(threads)) threads[name] /= r.answers * 1000;
    return threads;
}

export async function cost(bench) {
    const { peers, ours, seconds } = bench;
    const rows = [], charted = { worker: [], journal: [], publisher: [], indexer: [], rest: [] };
    bench.data.cost = {};
    for (const connections of [1, 32, 256]) {
        const haproxy = total(await costOf(bench, peers.haproxy, connections, seconds));
        const threads = await costOf(bench, ours, connections, seconds);
        bench.data.cost[connections] = { haproxy, bailiff: threads };
        const of = (start) => Object.entries(threads).filter(([name]) => name.startsWith(start)).reduce((sum, [, us]) => sum + us, 0);
        const known = ['worker', 'journal', 'publisher', 'indexer'];
        const rest = total(threads) - known.reduce((sum, name) => sum + of(name), 0);
        for (const name of known) charted[name].push(of(name));
        charted.rest.push(rest);
        rows.push([connections, tenth(haproxy), tenth(total(threads)), ...known.map((name) => tenth(of(name))), tenth(rest)]);
    }
    return {
        title: 'Processor time for each request, us',
        text: 'Of all threads, from the scheduler\'s own account; index and publication are caught up when it is read.',
        columns: ['connections', 'HAProxy', 'Bailiff', 'worker', 'journal', 'publisher', 'indexer', 'rest'],
        rows,
        chart: {
            file: 'cost.svg', title: 'Bailiff: processor time for each request', unit: 'us', stacked: true,
            groups: ['1 connection', '32', '256'], series: Object.entries(charted).map(([name, values]) => ({ name, values })),
        },
    };
}

export async function calls(bench) {
    const { peers, ours } = bench;
    const rows = [];
    bench.data.systemCalls = {};
    for (const [name, peer] of [['HAProxy', peers.haproxy], ['Bailiff', ours]]) {
        const traced = await systemCalls(peer.pid, () => load(peer, { connections: 32, seconds: 2, body: bench.body }));
        if (!traced) return null;
        const each = (...names) => hundredth(names.reduce((sum, n) => sum + (traced.calls[n] ?? 0), 0) / traced.result.answers);
        bench.data.systemCalls[name] = traced;
        const all = Object.values(traced.calls).reduce((sum, n) => sum + n, 0);
        rows.push([name, each('sendto', 'sendmsg', 'write', 'writev'), each('recvfrom', 'recvmsg', 'read', 'readv'),
            each('epoll_wait', 'epoll_ctl'), each('futex'), each('pwrite64', 'pread64'), each('fdatasync', 'fsync'),
            hundredth(all / traced.result.answers)]);
    }
    return {
        title: 'System calls for each request, 32 connections',
        text: 'All threads, under strace: syncs are rarer without it, as more requests share one.',
        columns: ['', 'send', 'receive', 'epoll', 'futex', 'file', 'sync', 'all'], rows,
    };
}

export async function controls(bench) {
    const { seconds } = bench;
    const variants = [
        ['key, no rule of ours', { policies: 0, quotas: false }],
        ['+ 100 policies', { policies: 100, quotas: false }],
        ['+ three quotas', { policies: 100, quotas: true }],
        ['the same, state in memory', { policies: 100, quotas: true, folder: '/dev/shm' }],
    ];
    const instances = [];
    for (const [label, options] of variants) {
        const folder = options.folder && fs.mkdtempSync(path.join(options.folder, 'bailiff-bench-'));
        const instance = new Bailiff(bench.program, `control-${instances.length}`, { ...options, folder });
        await instance.setUp(bench.engines);
        instances.push({ label, instance, folder });
    }
    const costs = {};
    const runs = instances.map(({ label, instance }) => ({
        name: label, run: async () => {
            const before = processorTime(instance.pid);
            const r = await load(instance, { connections: 32, seconds: Math.min(seconds, 2), body: bench.body });
            await sleep(1200);
            await instance.caughtUp();
            (costs[label] ??= []).push(total(spent(before, processorTime(instance.pid))) / r.answers / 1000);
            return r;
        },
    }));
    runs.push({ name: 'HAProxy', run: () => load(bench.peers.haproxy, { connections: 32, seconds: Math.min(seconds, 2), body: bench.body }) });
    const r = await interleaved(bench.short ? 1 : 3, runs);
    for (const { instance, folder } of instances) {
        await instance.stop();
        if (folder) fs.rmSync(folder, { recursive: true, force: true });
    }
    bench.data.controls = { runs: r, costs };
    const rate = (name) => median(r[name].map((x) => x.perSecond));
    return {
        title: 'Each control by itself, 32 connections',
        text: 'The durable log, the index and the published tiles cannot be switched off: the last line has them where a sync costs nothing.',
        columns: ['', 'requests/s', 'of HAProxy', 'processor time for each, us', 'p50 us'],
        rows: instances.map(({ label }) => [label, whole(rate(label)), spread(ratios(r[label], r.HAProxy)), tenth(median(costs[label])),
            whole(median(r[label].map((x) => x.latencyMicros.p50)))]),
        chart: {
            file: 'controls.svg', title: 'Each control switched on', unit: 'us of processor time', groups: instances.map(({ label }) => label),
            series: [{ name: 'for each request', values: instances.map(({ label }) => median(costs[label])) }],
        },
    };
}

// --- Open loop and overload --------------------------------------------------

function carries(bench) {
    const closed = bench.data.closed?.[256]?.bailiff;
    return closed ? Math.max(1, median(closed.map((r) => r.perSecond))) : null;
}

export async function open(bench) {
    const rate = carries(bench) ?? (await load(bench.ours, { connections: 256, seconds: bench.seconds, body: bench.body })).perSecond;
    const rows = [];
    bench.data.open = {};
    for (const [share, label] of [[0.5, 'half'], [0.9, 'full (0.9)']]) {
        const at = Math.floor(rate * share);
        const run = (peer) => () => load(peer, { connections: 256, rate: at, seconds: bench.seconds, body: bench.body });
        const r = bench.data.open[label] = await interleaved(bench.short ? 1 : 3,
            [{ name: 'HAProxy', run: run(bench.peers.haproxy) }, { name: 'Bailiff', run: run(bench.ours) }]);
        for (const name of ['HAProxy', 'Bailiff']) {
            const us = (what) => spread(r[name].map((x) => x.latencyMicros[what]), whole);
            rows.push([label, whole(at), name, us('p50'), us('p99'), us('p999')]);
        }
    }
    return {
        title: 'Open loop: latency at half and at full load of Bailiff, us',
        text: '256 connections, latency from the instant at which a request was due (no coordinated omission).',
        columns: ['load', 'requests/s', '', 'p50', 'p99', 'p99.9'], rows,
    };
}

// The mock engine is told to take so many at once, as an operator says of a real
// one; twice as many wait, and what comes beyond is refused.
export async function overload(bench) {
    const instance = new Bailiff(bench.program, 'overload', { concurrent: 64 });
    await instance.setUp(bench.engines);
    const rate = carries(bench) ?? (await load(instance, { connections: 256, seconds: bench.seconds, body: bench.body, expectRefusals: true })).perSecond;
    const seconds = bench.short ? 4 : 8, connections = bench.short ? 1024 : 4096;
    const steps = [['before, half', 0.5], ['twice what it carries', 2], ['after, half', 0.5]];
    const rows = [];
    bench.data.overload = [];
    for (const [label, share] of steps) {
        const before = resident(instance.pid);
        const r = await load(instance, { connections, rate: Math.floor(rate * share), seconds, body: bench.body, expectRefusals: true });
        const grew = resident(instance.pid) - before;
        bench.data.overload.push({ label, share, rate: rate * share, grewKiB: grew, result: r });
        rows.push([label, whole(rate * share), whole(r.perSecond), whole(r.refused / seconds), whole(r.serviceMicros.p50), whole(r.serviceMicros.p99), whole(r.refusalMicros.p99), r.refusedWithoutRetryAfter, whole(grew)]);
        await instance.caughtUp();
    }
    await instance.stop();
    return {
        title: 'Overload, thousands of connections, open loop',
        text: `${connections} connections; latency from the instant at which a request was sent.`,
        columns: ['', 'due/s', 'answered/s', 'refused/s', 'p50 us', 'p99 us', 'refusal p99 us', 'without Retry-After', 'memory grew, KiB'],
        rows,
    };
}

// --- Streams -----------------------------------------------------------------

export async function streams(bench) {
    const { peers, ours } = bench, rows = [];
    const seconds = bench.short ? 4 : 6;
    bench.data.streams = {};
    for (const connections of [64, 1000]) {
        const direct = await load({ name: 'direct', headers: [] }, {
            port: bench.engines.streams, plain: true, connections, stream: true, seconds, body: bench.streamBody });
        const found = bench.data.streams[connections] = { direct };
        for (const [name, peer] of [['HAProxy', peers.haproxy], ['Bailiff', ours]]) {
            const before = processorTime(peer.pid);
            const r = await load(peer, { port: peer.streams, connections, stream: true, seconds, body: bench.streamBody });
            const ns = total(spent(before, processorTime(peer.pid)));
            found[name] = { result: r, nsPerToken: ns / r.delayMicros.count };
            rows.push([connections, name, whole(r.delayMicros.count / seconds),
                whole(r.delayMicros.p50 - direct.delayMicros.p50), whole(r.delayMicros.p99 - direct.delayMicros.p99),
                `${whole(r.delayMicros.p50)}, ${whole(r.delayMicros.p99)}`, tenth(ns / r.delayMicros.count / 1000)]);
        }
    }
    return {
        title: 'Streams: what a token is delayed by',
        text: `${bench.tokens} tokens a stream, one every ${bench.everyMs} ms; each carries the instant at which it left. Added: less the same without a proxy.`,
        columns: ['streams', '', 'tokens/s', 'added p50 us', 'added p99 us', 'on its way p50, p99', 'processor time per token, us'], rows,
    };
}

// --- Connections and bodies --------------------------------------------------

export async function handshakes(bench) {
    const rows = [];
    bench.data.handshakes = {};
    for (const [name, peer] of [['HAProxy', bench.peers.haproxy], ['nginx', bench.peers.nginx], ['Bailiff', bench.ours]]) {
        const bare = { ...peer, name, headers: [] };
        const full = await load(bare, { handshakes: true, connections: 32, seconds: bench.seconds });
        const again = await load(bare, { handshakes: true, resume: true, connections: 32, seconds: bench.seconds });
        bench.data.handshakes[name] = { full, again };
        rows.push([name, whole(full.handshakesPerSecond), whole(again.handshakesPerSecond)]);
    }
    return { title: 'New TLS connections a second, 32 at once', columns: ['', 'full', 'resumed'], rows };
}

export async function bodies(bench) {
    const rows = [];
    bench.data.bodies = {};
    for (const megabytes of [1, 8]) {
        const file = path.join(work, `body-${megabytes}`);
        const words = 'The harbour master keeps the book of ships. ';
        fs.writeFileSync(file, JSON.stringify({
            model: 'tiny', max_tokens: 64,
            messages: [{ role: 'user', content: words.repeat(Math.floor(megabytes * 1e6 / words.length)) }],
        }));
        for (const [name, peer] of [['HAProxy', bench.peers.haproxy], ['nginx', bench.peers.nginx], ['Bailiff', bench.ours]]) {
            const before = processorTime(peer.pid);
            const r = await load(peer, { connections: 8, seconds: bench.seconds, body: file });
            const ns = total(spent(before, processorTime(peer.pid)));
            (bench.data.bodies[megabytes] ??= {})[name] = { result: r, ns };
            rows.push([`${megabytes} MB`, name, whole(r.perSecond), whole(r.perSecond * megabytes), tenth(ns / r.answers / 1e6), tenth(r.latencyMicros.p50 / 1000)]);
        }
    }
    return {
        title: 'Large bodies, 8 connections', columns: ['', '', 'requests/s', 'MB/s', 'processor time for each, ms', 'p50 ms'], rows,
        text: 'Bailiff holds and reads the whole body before it decides; the others pass it on.',
    };
}

export async function idle(bench) {
    const rows = [], wanted = bench.short ? 2000 : idleMost, seconds = bench.short ? 6 : 16;
    bench.data.idle = {};
    for (const [name, peer] of [['HAProxy', bench.peers.haproxy], ['nginx', bench.peers.nginx], ['Bailiff', bench.ours]]) {
        const before = resident(peer.pid);
        const holding = load({ ...peer, headers: [] }, { idle: wanted, seconds });
        await sleep((seconds - 1) * 1000);
        const grew = resident(peer.pid) - before;
        const held = (await holding).idle;
        bench.data.idle[name] = { held, grewKiB: grew };
        rows.push([name, whole(held), tenth(grew / held)]);
    }
    return { title: 'Idle TLS connections', columns: ['', 'held', 'resident KiB each'], rows };
}

// --- Growth ------------------------------------------------------------------

export async function growth(bench) {
    const { seconds } = bench, rounds = bench.short ? 2 : 6;
    const fresh = new Bailiff(bench.program, 'fresh', {});
    const rules = new Bailiff(bench.program, 'rules', { policies: bench.short ? 2000 : 10000 });
    const keys = new Bailiff(bench.program, 'keys', { keys: bench.short ? 20000 : 200000 });
    const all = [];
    for (const instance of [fresh, rules, keys]) {
        await instance.setUp(bench.engines);
        all.push(instance);
    }
    const of = (name, peer) => ({
        name, peer, run: () => load(peer, { connections: 32, seconds: Math.min(seconds, 2), body: bench.body }) });
    const r = await interleaved(rounds, [of('fresh', fresh), of('rules', rules), of('keys', keys), of('long', bench.ours)]);
    const status = JSON.parse((await bench.ours.cli('status', '--json')).stdout);
    const entries = status.log?.entries ?? status.entries;
    const issueMs = [];
    for (let i = 0; i < 5; i++) {
        const began = process.hrtime.bigint();
        await keys.cli('key', 'issue', 'alice');
        issueMs.push(Number(process.hrtime.bigint() - began) / 1e6);
    }
    const policyMs = (instance) => { /* a restart with what it has */
        return instance.stop().then(() => instance.serve()).then(() => instance.startMs);
    };
    const startRules = await policyMs(rules), startKeys = await policyMs(keys), startFresh = await policyMs(fresh);
    bench.data.growth = { runs: r, entries, issueMs, startRules, startKeys, startFresh, firstStartKeys: keys.firstStartMs };
    for (const instance of all) await instance.stop();
    const us = (name, what) => r[name].map((x) => x.latencyMicros[what]);
    const quotient = (name) => spread(r[name].map((x, i) => x.latencyMicros.p50 / r.fresh[i].latencyMicros.p50));
    const row = (label, name, start) => [label, whole(median(r[name].map((x) => x.perSecond))), spread(us(name, 'p50'), whole),
        whole(median(us(name, 'p99'))), name === 'fresh' ? '' : quotient(name), start];
    return {
        title: 'Growth, 32 connections',
        text: `Interleaved, ${rounds} rounds. With all those keys a further one is issued in ${whole(median(issueMs))} ms (the command and its durable event included); `
            + `the very first start, which makes the sealing keys of all callers, took ${whole(keys.firstStartMs)} ms.`,
        columns: ['', 'requests/s', 'p50 us', 'p99 us', 'p50 / fresh', 'start to ready, ms'],
        rows: [row('100 policies, 1 key, empty log', 'fresh', whole(startFresh)),
            row(`${whole(rules.options.policies)} policies`, 'rules', whole(startRules)),
            row(`${whole(keys.options.keys)} keys, ${whole(keys.options.keys / 2)} callers`, 'keys', whole(startKeys)),
            row(`a log of ${whole(entries)} entries`, 'long', '')],
    };
}

export async function machine() {
    const model = /model name\s*:\s*(.*)/.exec(fs.readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
    const version = (program, ...args) => {
        try { return execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString().split('\n')[0]; } catch { return ''; }
    };
    return { model, cores: fs.readdirSync('/sys/devices/system/cpu').filter((n) => /^cpu\d+$/.test(n)).length,
        kernel: fs.readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(), haproxy: version('haproxy', '-v'),
        load: fs.readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ') };
}
