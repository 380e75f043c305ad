// SPDX-License-Identifier: Apache-2.0
//
// The list of mutants.txt.
//
//   node mutate.mjs count
//   node mutate.mjs name N
//   node mutate.mjs file N
//   node mutate.mjs apply N FOLDER    (changes the file in that policy/cedar)

import { readFileSync, writeFileSync } from 'fs';
import { join } from 'path';

const text = readFileSync(new URL('mutants.txt', import.meta.url), 'utf8');
const mutants = [];
for (const block of text.split('\n\n').slice(1)) {
  const lines = block.trim().split('\n');
  const of = (mark) => lines.filter((l) => l.startsWith(mark)).map((l) => l.slice(1)).join('\n');
  mutants.push({ name: of('#').trim(), file: of('@').trim(), old: of('-'), new: of('+') });
}

const [what, number, folder] = process.argv.slice(2);
const one = mutants[Number(number) - 1];
switch (what) {
  case 'count': console.log(mutants.length); break;
  case 'name': console.log(one.name); break;
  case 'file': console.log(one.file); break;
  case 'apply': {
    const path = join(folder, one.file);
    const source = readFileSync(path, 'utf8');
    const parts = source.split(one.old);
    if (parts.length !== 2) {
      console.error(`${one.file}: "${one.name}": the old lines stand there ${parts.length - 1} times`);
      process.exit(1);
    }
    writeFileSync(path, parts.join(one.new));
    break;
  }
  default: console.error('mutate.mjs: see the head of the file'); process.exit(2);
}
