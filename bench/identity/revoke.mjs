// SPDX-License-Identifier: Apache-2.0
//
// How long a revoked key is still served: 16 connections over four workers ask
// on and on. In ms since the command was sent: the last request that was still
// served (by when it was sent), and the command's own answer; and the former
// since the latter, which is negative when nothing is served after the answer.
//   BAILIFF=$PWD/build/release/bailiff node bench/identity/revoke.mjs [ROUNDS]
import http from 'node:http';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { World, sleep } from '../../tests/e2e/harness.mjs';

const rounds = Number(process.argv[2] ?? 20);
const world = await World.make({ workers: 4, settings: 'refusals_per_minute = 0;\n' });

function revoke(id) {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath: join(world.state, 'admin.sock'), method: 'POST', path: `/v1/keys/${id}/revoke`,
      headers: { 'content-type': 'application/json' } }, (answer) => { answer.resume(); answer.on('end', resolve); });
    request.on('error', reject);
    request.end('{}');
  });
}

async function round() {
  const key = world.keep(world.cli('key', 'issue', 'alice'));
  const { id } = world.json('key', 'list').items.find((one) => key.startsWith(one.hint));
  const lines = await Promise.all(Array.from({ length: 16 }, () => world.open()));
  let last = 0;
  const asking = lines.map(async (line) => {
    for (;;) {
      line.text = '';
      const sent = performance.now();
      line.get(key, '/v1/models');
      while (!/HTTP\/1.1 \d+ /.test(line.text)) await sleep(1);
      if (!/ 200 /.test(line.text)) return;
      last = Math.max(last, sent);
    }
  });
  await sleep(100);
  const start = performance.now();
  await revoke(id);
  const answered = performance.now() - start;
  await Promise.all(asking);
  for (const line of lines) line.socket.destroy();
  return { answered, last: last - start, after: last - start - answered };
}

try {
  world.onboard('alice');
  const all = [];
  for (let i = 0; i < rounds; i++) all.push(await round());
  const words = { last: 'last request served', answered: 'command answered', after: 'last request served after the answer' };
  for (const name of Object.keys(words)) {
    const sorted = all.map((one) => one[name]).sort((a, b) => a - b);
    console.log(`${words[name]}: p50 ${sorted[rounds >> 1].toFixed(0)} ms, most ${sorted.at(-1).toFixed(0)} ms`);
  }
} finally {
  await world.stop();
  await world.engine.stop();
  rmSync(world.dir, { recursive: true, force: true });
}
