// SPDX-License-Identifier: Apache-2.0
//
// Policy formats against the official engine: each generated policy becomes
// JSON on both sides, which has to be equal, and what Bailiff prints from it
// has to become that JSON again at the official engine.
//
//   node formats.mjs [--cases N] [--seed S] [--command "../../build/release/cedar-driver formats"]

import { spawn } from 'child_process';
import { createInterface } from 'readline';
import { isDeepStrictEqual } from 'util';
import { fileURLToPath } from 'url';
import * as oracle from './oracle.mjs';
import { makeCase } from './generator.mjs';

const options = { cases: 1000, seed: 1,
  command: fileURLToPath(new URL('../../build/release/cedar-driver', import.meta.url)) + ' formats' };
for (let i = 2; i < process.argv.length; i += 2) {
  const name = process.argv[i].replace(/^--/, '');
  options[name] = name === 'command' ? process.argv[i + 1] : Number(process.argv[i + 1]);
}
const [program, ...rest] = options.command.split(' ');
const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
const waiting = [];
createInterface({ input: child.stdout, crlfDelay: Infinity }).on('line', (text) => waiting.shift()(text));
const ask = (text) => new Promise((give) => {
  waiting.push(give);
  child.stdin.write(JSON.stringify(text) + '\n');
});

// The engine's JSON of a text; integers beyond 2^53 are rounded on both sides.
const json = (text) => {
  const policy = oracle.toJson(text, false);
  return policy.type === 'success' ? policy : oracle.toJson(text, true);
};

// Two spellings of one thing that the engine chooses otherwise: a list of one
// action, and a literal star in a pattern as a piece of its own.
function normal(node) {
  if (Array.isArray(node)) return node.map(normal);
  if (node === null || typeof node !== 'object') return node;
  const out = {};
  for (const [key, value] of Object.entries(node)) {
    if (key === 'entities' && value.length === 1) out.entity = normal(value[0]);
    else if (key === 'pattern' && Array.isArray(value)) {
      out.pattern = [];
      for (const piece of value) {
        const last = out.pattern[out.pattern.length - 1];
        if (piece.Literal !== undefined && last?.Literal !== undefined) last.Literal += piece.Literal;
        else out.pattern.push(piece === 'Wildcard' ? piece : { ...piece });
      }
    } else out[key] = normal(value);
  }
  return out;
}
const same = (a, b) => isDeepStrictEqual(normal(a), normal(b));

const count = { policies: 0, errors: 0, differences: 0 };
for (let number = 0; number < options.cases; number++) {
  const made = makeCase(options.seed, number, oracle);
  const texts = made.parts ? made.parts.map((p) => p.text)
    : typeof made.line.policies === 'string' ? [made.line.policies] : [];
  for (const text of texts) {
    const theirs = json(text);
    const ours = JSON.parse(await ask(text));
    count.policies++;
    let why = null;
    if (theirs.type !== 'success') {
      count.errors++;
      if (!ours.error) why = 'Cedar refuses it: ' + theirs.errors[0].message;
    } else if (ours.error) why = ours.error;
    else if (!same(ours.json, theirs.json)) why = 'the JSON differs';
    else {
      const printed = json(ours.text);
      if (printed.type !== 'success') why = 'Cedar refuses what was printed: ' + printed.errors[0].message;
      else if (!same(printed.json, theirs.json)) why = 'what was printed means something else';
    }
    if (why && ++count.differences <= 10) {
      console.log(`--- ${made.line.id}: ${why}\n${text}`);
      console.log('bailiff:', JSON.stringify(ours), '\ncedar:  ', JSON.stringify(theirs));
    }
  }
}
child.stdin.end();
console.log(`formats: ${JSON.stringify(count)}`);
console.log(`${count.differences > 0 ? 0 : 1} passed, ${count.differences > 0 ? 1 : 0} failed`);
process.exit(count.differences > 0 ? 1 : 0);
