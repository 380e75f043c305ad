// SPDX-License-Identifier: Apache-2.0
//
// The tamper sweep: everything that a state directory holds of a log, altered
// in every way that we can think of, by somebody who knows the formats. Each
// must be found by `audit verify` against a checkpoint that was kept elsewhere,
// and named; what is only derived must be noticed and made anew.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { appendFileSync, copyFileSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, writeSync, closeSync, readdirSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { World, messages } from '../e2e/harness.mjs';
import { readLog } from '../e2e/log.mjs';
import { alterByte, copyTree, find, rewrite, segments } from './frames.mjs';

const program = process.env.BAILIFF;
const CALLS = 280; // a full tile and a part of the next
let world, anchor, older, texts, size, ids;

const run = (...args) => new Promise((resolve) => {
  execFile(program, args, { timeout: 30000, encoding: 'utf8' }, (error, stdout, stderr) =>
    resolve({ code: error ? (error.code ?? -1) : 0, text: stdout + stderr }));
});

before(async () => {
  world = await World.make({ settings: 'segment_bytes = 1048576;\n' });
  const key = world.onboard('alice');
  older = join(world.dir, 'older');
  writeFileSync(older, JSON.parse(world.cli('audit', 'checkpoint', '--json')).checkpoint);
  for (let i = 0; i < CALLS / 20; i++)
    await Promise.all(Array.from({ length: 20 }, () => world.chat(key, { max_tokens: 1, messages: messages.slice(0, 1) })));
  assert.equal((await world.stop()).code, 0);
  anchor = join(world.dir, 'anchor');
  cpSync(join(world.state, 'log/checkpoint'), anchor);
  texts = readLog(world.state);
  size = texts.length;
  assert.ok(size > 512, `${size} entries`);
  ids = texts.map((text) => JSON.parse(text)).filter((entry) => entry.type === 'request.admitted').map((entry) => entry.id);
});
after(async () => {
  world.engine.kill('SIGKILL');
  rmSync(world.dir, { recursive: true, force: true });
});

let copies = 0;
// Copies hold what verification reads; `more` besides.
function copy(more = []) {
  const to = join(world.dir, `t${++copies}`);
  mkdirSync(to);
  for (const name of ['journal', 'log', 'log.vkey', 'keys', ...more]) copyTree(join(world.state, name), to);
  return to;
}
const KINDS = /^(damaged|altered|removed|inserted|swapped|cut|chain|checkpoint|tile): \S.{10,}/m;
async function found(what, breaks, pattern = KINDS) {
  const state = copy();
  breaks(state);
  const { code, text } = await run('audit', 'verify', '-C', state, '--against', anchor);
  assert.notEqual(code, 0, `${what} was not found: ${text}`);
  assert.match(text, pattern, `${what}: ${text}`);
  rmSync(state, { recursive: true });
}
async function all(cases) {
  let next = 0;
  await Promise.all([0, 1].map(async () => { while (next < cases.length) await found(...cases[next++]); }));
}
const at = alterByte;
function* files(dir) {
  for (const entry of readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory()) yield* files(join(dir, entry.name));
    else yield join(dir, entry.name);
}

test('the journal: a bit flipped anywhere in it', { timeout: 60000 }, async () => {
  const [first] = segments(world.state), bytes = readFileSync(first);
  let end = 4096, frames = [];
  while (bytes.readUInt32BE(end) === 0xff424c46) { frames.push(end); end += 64 + bytes.readUInt32LE(end + 4); }
  assert.ok(frames.length > 20);
  const cases = [];
  // Of the segment's head: each field. Of a frame: each field of its head, and
  // of an entry its length, its begin, its midst and its end.
  for (const offset of [0, 9, 17, 33, 65]) cases.push([`head of the segment, byte ${offset}`, (state) => at(segments(state)[0], offset)]);
  for (const frame of [frames[0], frames[frames.length >> 1], frames.at(-2)])
    for (const offset of [0, 4, 8, 16, 28, 32, 64, 66, 300])
      cases.push([`frame at ${frame}, byte ${offset}`, (state) => at(segments(state)[0], frame + offset)]);
  await all(cases);
});

test('the journal: entries altered, removed, put in, swapped, repeated, cut by one who puts checksums right', { timeout: 60000 }, async () => {
  const cases = [];
  for (const n of [0, ids.length >> 1, ids.length - 1]) {
    const id = ids[n];
    const edit = (how) => (state) => rewrite(id, state, how);
    cases.push([`altered ${n}`, edit((list, i) => { list[i] = Buffer.from(list[i].toString().replace('"action":"chat"', '"action":"list"')); }), new RegExp(`^altered: .*${id}`, 'm')]);
    cases.push([`removed ${n}`, edit((list, i) => list.splice(i, 1)), new RegExp(`^removed: .*${id}`, 'm')]);
    cases.push([`inserted ${n}`, edit((list, i) => list.splice(i, 0, Buffer.from(list[i].toString().replaceAll(id, '01M85RM8JVF6MEGZDYVX5XB8KG')))), /^inserted: .*01M85RM8JVF6MEGZDYVX5XB8KG/m]);
    cases.push([`repeated ${n}`, edit((list, i) => list.splice(i, 0, list[i])), new RegExp(`^inserted: .*${id}`, 'm')]);
    cases.push([`swapped ${n}`, edit((list, i) => { const k = i >= 2 ? i - 2 : i + 2; [list[i], list[k]] = [list[k], list[i]]; }), new RegExp(`^swapped: .*`, 'm')]);
    cases.push([`cut at ${n}`, edit((list, i) => list.splice(i)), /^cut: .*missing/m]);
    cases.push([`three in a row removed ${n}`, edit((list, i) => list.splice(Math.max(0, i - 1), 3)), /^(removed|cut): /m]);
  }
  cases.push(['the first entry removed', (state) => rewrite(ids[0], state, (list) => list.splice(0, 1)), /^removed: /m]);
  cases.push(['the last entry removed', (state) => rewrite(ids.at(-1), state, (list) => list.pop()), /^cut: /m]);
  cases.push(['all but the first removed', (state) => rewrite(ids[0], state, (list) => list.splice(1)), /^cut: /m]);
  await all(cases);
});

test('the journal: segments cut, removed, put in', { timeout: 60000 }, async () => {
  const { at: where } = find(ids[40], world.state, false);
  await all([
    ['cut in an entry', (state) => truncateSync(segments(state)[0], where + 3)],
    ['cut to its head', (state) => truncateSync(segments(state)[0], 4096)],
    ['cut in its head', (state) => truncateSync(segments(state)[0], 100), /\S/],
    ['emptied', (state) => truncateSync(segments(state)[0], 0), /\S/],
    ['removed', (state) => rmSync(segments(state)[0]), /\S/],
    ['zeros in the midst', (state) => {
      const file = openSync(segments(state)[0], 'r+');
      writeSync(file, Buffer.alloc(200), 0, 200, where);
      closeSync(file);
    }],
    ['another log\'s', (state) => {
      const foreign = join(world.dir, 'foreign');
      if (!existsSync(foreign)) execFileSync(program, ['init', foreign, '--origin', 'other.example/log']);
      copyFileSync(segments(foreign)[0], segments(state)[0]);
    }, /\S/],
  ]);
});

test('what was published: every file of it, flipped, cut, grown, removed, exchanged', { timeout: 60000 }, async () => {
  const published = [...files(join(world.state, 'log'))].map((path) => path.slice(world.state.length + 1)).filter((name) => name !== 'log/checkpoint');
  // Of the partial tiles only the newest counts.
  const newest = published.filter((name) => !/\.p\//.test(name) ||
    !published.some((other) => other !== name && other.split('.p/')[0] === name.split('.p/')[0] && Number(other.split('/').at(-1)) > Number(name.split('/').at(-1))))
    .filter((name) => !/\.p\//.test(name) || !published.includes(name.split('.p/')[0]));
  assert.ok(newest.length >= 7, newest.join());
  const cases = [];
  for (const name of newest) {
    cases.push([`${name}: first bit`, (state) => at(join(state, name), 0)], [`${name}: last bit`, (state) => at(join(state, name), -1)],
      [`${name}: cut`, (state) => truncateSync(join(state, name), statSync(join(state, name)).size - 5)],
      [`${name}: grown`, (state) => appendFileSync(join(state, name), 'x'.repeat(32))],
      [`${name}: removed`, (state) => rmSync(join(state, name))]);
  }
  const pairs = (pattern) => newest.filter((name) => pattern.test(name) && !/\.p\//.test(name)).slice(0, 2);
  for (const pattern of [/tile\/0\//, /tile\/entries\//]) {
    const [a, b] = pairs(pattern);
    if (b) cases.push([`${a} and ${b} exchanged`, (state) => {
      renameSync(join(state, a), join(state, 'x'));
      renameSync(join(state, b), join(state, a));
      renameSync(join(state, 'x'), join(state, b));
    }]);
  }
  await all(cases);
});

test('the checkpoint: altered, cut, an older one, another\'s, none', { timeout: 60000 }, async () => {
  const path = (state) => join(state, 'log/checkpoint');
  const note = readFileSync(anchor, 'utf8');
  const replace = (from, to) => (state) => { assert.ok(note.includes(from)); writeFileSync(path(state), note.replace(from, to)); };
  const root = note.split('\n')[2];
  await all([
    ['a larger size', replace(`\n${size}\n`, `\n${size + 1}\n`), /checkpoint: /],
    ['a smaller size', replace(`\n${size}\n`, `\n${size - 1}\n`), /checkpoint: /],
    ['another root', replace(root, `${root[0] === 'A' ? 'B' : 'A'}${root.slice(1)}`), /checkpoint: /],
    ['another name', replace(note.split('\n')[0], 'other.example/log'), /checkpoint: /],
    ['a bit of the signature', (state) => at(path(state), -8, (byte) => (byte === 0x41 ? 0x42 : 0x41)), /checkpoint: /],
    ['no signature', (state) => writeFileSync(path(state), note.slice(0, note.indexOf('\n\n') + 2)), /checkpoint: /],
    ['cut', (state) => truncateSync(path(state), 20), /checkpoint: /],
    ['empty', (state) => truncateSync(path(state), 0), /checkpoint: /],
  ]);
  // An older one is a true statement about this log: it goes on, and covers less.
  const state = copy();
  copyFileSync(older, path(state));
  const { code, text } = await run('audit', 'verify', '-C', state, '--against', anchor);
  assert.ok(code !== 0 || /after the newest checkpoint/.test(text), text);
  // Kept elsewhere, another's says nothing of this log.
  const foreign = await run('audit', 'verify', '-C', world.state, '--against', join(world.dir, 'foreign/log/checkpoint'));
  assert.notEqual(foreign.code, 0, foreign.text);
});

test('state and index: damaged or gone, they are noticed and made anew; the log serves on', { timeout: 90000 }, async () => {
  const more = ['control.db', 'persons.db', 'bailiff.conf', 'tls', 'index'];
  const index = readdirSync(join(world.state, 'index')).find((name) => name.endsWith('.db'));
  const ways = {
    flip: (path) => at(path, 100), cut: (path) => truncateSync(path, 50), empty: (path) => truncateSync(path, 0), gone: (path) => rmSync(path),
  };
  const cases = [];
  for (const [name, way] of Object.entries(ways)) {
    cases.push([`state: ${name}`, (state) => way(join(state, 'journal/state')), /state_(fallback|rebuilt)/]);
    cases.push([`both generations of it: ${name}`, (state) => { way(join(state, 'journal/state')); way(join(state, 'journal/state.previous')); }, /state_rebuilt/]);
    cases.push([`index: ${name}`, (state) => way(join(state, 'index', index)), null]);
  }
  let next = 0;
  await Promise.all([0, 1].map(async () => {
    while (next < cases.length) {
      const [what, breaks, pattern] = cases[next++];
      const state = copy(more);
      breaks(state);
      // (A damaged index is answered with "ask again": it is being mended.)
      let answer;
      for (let tries = 0; tries < 20; tries++) {
        answer = await run('-C', state, 'audit', 'query', '--id', ids[3], '--json');
        if (answer.code === 0 && answer.text.includes(ids[3])) break;
        assert.match(answer.text, /built anew|being built|incomplete|rebuilt|behind/, what);
      }
      assert.match(answer.text, new RegExp(ids[3]), what);
      if (pattern) assert.match(answer.text, pattern, what);
      const { code, text } = await run('audit', 'verify', '-C', state, '--against', anchor);
      assert.equal(code, 0, `${what}: ${text}`);
      rmSync(state, { recursive: true });
    }
  }));
});
