// SPDX-License-Identifier: Apache-2.0
//
// The differential test: the same cases to Bailiff and to the official engine,
// and not one answer may differ.
//
//   node run.mjs [--cases N] [--seed S] [--from N] [--show N] [--only N] [--kind WORDS]
//                [--stop 1] [--regressions 0] [--command "../../build/release/bailiff policy batch"]
//
// --only prints one case with both answers, --stop ends at the first
// difference. Exit 1 when anything differs.

import { spawn } from 'child_process';
import { createInterface } from 'readline';
import { fileURLToPath } from 'url';
import * as oracle from './oracle.mjs';
import { makeCase } from './generator.mjs';
import { OPERATORS } from './expression.mjs';
import { write } from './json.mjs';
import { regressions } from './regressions.mjs';

const options = { cases: 2000, seed: 1, from: 0, show: 10, only: null, kind: null, stop: 0, regressions: 1,
  command: fileURLToPath(new URL('../../build/release/bailiff', import.meta.url)) + ' policy batch' };
for (let i = 2; i < process.argv.length; i += 2) {
  const name = process.argv[i].replace(/^--/, '');
  if (!(name in options) || process.argv[i + 1] === undefined) {
    console.error(`run.mjs: what is ${process.argv[i]}? see the head of the file`);
    process.exit(2);
  }
  options[name] = name === 'command' || name === 'kind' ? process.argv[i + 1] : Number(process.argv[i + 1]);
}

// --- Bailiff, as a child process; answers come in order ---
class Batch {
  constructor(command) {
    const [program, ...rest] = command.split(' ');
    this.child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.waiting = [];
    createInterface({ input: this.child.stdout, crlfDelay: Infinity })
      .on('line', (text) => this.waiting.shift()?.(text));
    this.child.on('close', (code) => {
      this.ended = code;
      for (const give of this.waiting) give(null);
    });
    this.child.on('error', (error) => { console.error(String(error)); process.exit(2); });
  }
  ask(text) {
    return new Promise((give) => {
      if (this.ended !== undefined) { give(null); return; }
      this.waiting.push(give);
      this.child.stdin.write(text + '\n');
    });
  }
  end() { this.child.stdin.end(); }
}

// --- Comparing ---
const sorted = (list) => [...list].sort().join(',');

// Where Bailiff refuses on purpose what the engine lets through: escapes of
// the wrong shape (the protocol says so), and arrays in the place of objects.
const STRICTER = [/reference has to look like/, /__extn has to look like/,
  /has to be the only key/, /has to be an object, not array/, /no 64-bit integer/,
  /extension value has to look like/];
const isStricter = (ours, theirs) => Boolean(ours?.error && !theirs?.error &&
  STRICTER.some((words) => words.test(ours.error.message)));

function difference(ours, theirs) {
  if (ours === null) return 'no answer';
  if (theirs.error || ours.error) {
    if (!theirs.error || !ours.error) return 'error on one side';
    return ours.error.stage === theirs.error.stage ? null : 'stage';
  }
  if ((ours.valid ?? null) !== (theirs.valid ?? null)) return 'valid';
  for (let i = 0; i < (theirs.results ?? []).length; i++) {
    const a = ours.results[i], b = theirs.results[i];
    if (isStricter(a, b)) { count.stricter++; continue; }
    if (!a.error !== !b.error) return `request ${i}: error on one side`;
    if (a.error) continue;
    if (a.decision !== b.decision) return `request ${i}: decision`;
    if (sorted(a.reason) !== sorted(b.reason)) return `request ${i}: reason`;
    if (sorted(a.errors) !== sorted(b.errors)) return `request ${i}: errors`;
  }
  return null;
}

// What an operator decided: requests in which the policy that is built upon it
// was satisfied (yes), or that policy's opposite was (no), or it failed.
const count = { cases: 0, skipped: 0, stricter: 0, differences: 0, requests: 0, allow: 0, deny: 0, refused: 0,
  failing: 0, valid: 0, invalid: 0, stages: {}, kinds: {}, differing: {} };
const decided = Object.fromEntries(OPERATORS.map((o) => [o, { yes: 0, no: 0, failed: 0 }]));

function tally(made, theirs) {
  count.cases++;
  count.kinds[made.kind] = (count.kinds[made.kind] ?? 0) + 1;
  if (theirs.error) {
    count.stages[theirs.error.stage] = (count.stages[theirs.error.stage] ?? 0) + 1;
    return;
  }
  if (theirs.valid !== undefined) count[theirs.valid ? 'valid' : 'invalid']++;
  for (const result of theirs.results ?? []) {
    count.requests++;
    if (result.error) { count.refused++; continue; }
    count[result.decision]++;
    if (result.errors.length > 0) count.failing++;
    const d = decided[made.operator];
    if (!d || made.kind.startsWith('mutated')) continue;
    if (result.errors.includes('policy0')) d.failed++;
    else if (result.reason.includes('policy0')) d.yes++;
    else if (made.opposite && result.reason.includes('policy1')) d.no++;
  }
}

function show(made, ours, theirs, why) {
  console.log(`--- ${made.line.id} (${made.kind}): ${why}`);
  if (typeof made.line.policies === 'string') console.log(made.line.policies);
  console.log(write(made.line));
  console.log('bailiff:', JSON.stringify(ours));
  console.log('cedar:  ', JSON.stringify(theirs));
}

async function check(batch, made) {
  const answer = batch.ask(write(made.line));
  const theirs = oracle.answer(made.line, made.parts);
  const text = await answer;
  const ours = text === null ? null : JSON.parse(text);
  if (theirs === null) { count.skipped++; return; }
  if (isStricter(ours, theirs)) { count.stricter++; return; }
  const why = difference(ours, theirs);
  tally(made, theirs);
  if (options.only !== null) show(made, ours, theirs, why ?? 'the same');
  if (why) {
    count.differences++;
    count.differing[made.kind] = (count.differing[made.kind] ?? 0) + 1;
    if (options.only === null && count.differences <= options.show) show(made, ours, theirs, why);
  }
  if (ours === null) throw new Error(`${made.line.id}: the command ended`);
}

const batch = new Batch(options.command);
console.log(`Cedar ${oracle.version()}, seed ${options.seed}`);
if (options.only === null && options.regressions) {
  for (const [name, line] of Object.entries(regressions)) {
    const before = count.differences;
    await check(batch, { line: { id: name, ...line.line }, parts: line.parts ?? null, kind: 'regression' });
    if (count.differences > before) console.log(`regression: ${name}`);
  }
}
const first = options.only ?? options.from;
const last = options.only !== null ? first + 1 : first + options.cases;
const window = [];
for (let number = first; number < last; number++) {
  if (options.stop && count.differences > 0) break;
  const made = makeCase(options.seed, number, oracle);
  if (options.kind !== null && made.kind !== options.kind) continue;
  window.push(check(batch, made));
  if (window.length >= 32) await window.shift();
}
await Promise.all(window);
batch.end();

const answered = count.allow + count.deny;
console.log(JSON.stringify(count));
console.log(`${answered} decisions, ${(count.allow / answered * 100).toFixed(1)} % allowed; ` +
  `${count.valid + count.invalid} verdicts, ${(count.valid / (count.valid + count.invalid) * 100).toFixed(1)} % valid`);
if (options.only === null && options.kind === null) {
  console.log('what each operator decided, as yes/no (failed):');
  console.log(OPERATORS.map((o) => `${o} ${decided[o].yes}/${decided[o].no} (${decided[o].failed})`).join(', '));
  const [least, n] = OPERATORS.map((o) => [o, decided[o].yes + decided[o].no]).sort((a, b) => a[1] - b[1])[0];
  console.log(`the least: ${least} with ${n}`);
}
const kinds = Object.keys(count.kinds).length, bad = Object.keys(count.differing).length;
console.log(`${kinds - bad} passed, ${bad} failed`); // kinds of cases
process.exit(count.differences > 0 ? 1 : 0);
