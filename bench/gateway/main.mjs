// SPDX-License-Identifier: Apache-2.0
//
// See bench/gateway.sh.
import * as fs from 'node:fs';
import * as path from 'node:path';
import { useLoad, warnings } from './measure.mjs';
import { barChart } from './plot.mjs';
import * as sections from './sections.mjs';
import { Bailiff, cleanUp, startEngines, startPeers, work } from './world.mjs';

// Idle connections first: memory that was used before would hide theirs.
const order = ['idle', 'throughput', 'sustained', 'two', 'cost', 'calls', 'controls', 'open', 'overload', 'streams', 'handshakes', 'bodies', 'growth'];

function readArguments() {
    const o = { program: 'build/release/bailiff', output: 'build/bench/results', only: order, short: false };
    const given = process.argv.slice(2);
    while (given.length) {
        const argument = given.shift();
        if (argument === '--short') o.short = true;
        else if (argument === '--only') o.only = given.shift().split(',');
        else if (argument === '--output') o.output = given.shift();
        else if (argument === '--list') { console.log(order.join('\n')); process.exit(0); }
        else if (argument.startsWith('--')) { console.error(`bench: unknown option ${argument}`); process.exit(2); }
        else o.program = argument;
    }
    const unknown = o.only.filter((name) => !order.includes(name));
    if (unknown.length) { console.error(`bench: no section ${unknown.join(', ')}; there are ${order.join(', ')}`); process.exit(2); }
    o.program = path.resolve(o.program);
    return o;
}

function table({ columns, rows }) {
    const widths = columns.map((c, i) => Math.max(c.length, ...rows.map((row) => String(row[i]).length)));
    const line = (cells) => `| ${cells.map((cell, i) => String(cell).padEnd(widths[i])).join(' | ')} |`;
    return [line(columns), `|${widths.map((w) => '-'.repeat(w + 2)).join('|')}|`, ...rows.map(line)].join('\n');
}

const o = readArguments();
process.on('SIGINT', () => cleanUp().then(() => process.exit(130)));
const bench = {
    ...o, rounds: o.short ? 2 : 5, seconds: o.short ? 1.5 : 3, tokens: 64, everyMs: 100, data: {},
    say: (text) => process.stderr.write(`  ${text}\n`),
};
useLoad('build/bench/load');
// A copy, so that a build meanwhile does no harm.
bench.program = path.join(work, 'bailiff');
fs.copyFileSync(o.program, bench.program);
bench.body = path.join(work, 'body.json');
fs.writeFileSync(bench.body, JSON.stringify({
    model: 'tiny', max_tokens: 64, temperature: 0.7,
    messages: [{ role: 'system', content: 'You are a helpful assistant in a harbour town library.' },
        { role: 'user', content: 'Who keeps the book of ships?' }],
}));
bench.streamBody = path.join(work, 'stream.json');
fs.writeFileSync(bench.streamBody, JSON.stringify({
    model: 'streamed', max_tokens: 64, stream: true, messages: [{ role: 'user', content: 'The harbour' }],
}));
fs.mkdirSync(o.output, { recursive: true });
const began = Date.now();
try {
    bench.engines = await startEngines({ engine: path.resolve('build/bench/engine'), tokens: bench.tokens, everyMs: bench.everyMs });
    bench.ours = new Bailiff(bench.program, 'Bailiff', {});
    await bench.ours.setUp(bench.engines);
    const tls = { certificate: path.join(bench.ours.state, 'tls/server.pem'), key: path.join(bench.ours.state, 'tls/server.key') };
    bench.peers = await startPeers(bench.engines, tls, 'build/bench/portkey/node_modules/@portkey-ai/gateway/build/start-server.js');
    bench.data.machine = await sections.machine();
    const m = bench.data.machine;
    const report = [`# Gateway benchmark\n\n${m.model}, ${m.cores} cores, Linux ${m.kernel}; ${m.haproxy}; load average at the start ${m.load}.`
        + ' One worker or thread each; load, engines and proxies share the processors.\n'];
    console.log(report[0]);
    for (const name of order) {
        if (!o.only.includes(name)) continue;
        const result = await sections[name](bench);
        if (!result) continue;
        const text = `## ${result.title}\n\n${result.text ? result.text + '\n\n' : ''}${table(result)}\n`;
        console.log(text);
        report.push(text);
        if (result.chart)
            fs.writeFileSync(path.join(o.output, result.chart.file), barChart(result.chart));
        fs.writeFileSync(path.join(o.output, 'report.md'), report.join('\n'));
        fs.writeFileSync(path.join(o.output, 'results.json'), JSON.stringify(bench.data, null, 1));
    }
    if (warnings.length) {
        const text = `## Not as it should be\n\n${warnings.map((w) => `- ${w}`).join('\n')}\n`;
        console.log(text);
        report.push(text);
        fs.writeFileSync(path.join(o.output, 'report.md'), report.join('\n'));
    }
    console.log(`${Math.round((Date.now() - began) / 1000)} s; tables, results.json and plots in ${o.output}`);
} catch (error) {
    console.error(`bench: ${error.stack ?? error}`);
    process.exitCode = 1;
} finally {
    await cleanUp();
}
