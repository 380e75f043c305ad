// SPDX-License-Identifier: Apache-2.0
//
// The verifier of these tests finds what it is for: a byte that is another in
// any file of a published log. Its agreement with the program's own is shown
// by every other test here, whose log it reads.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyLog } from './verifier.mjs';

const run = (...args) => execFileSync(process.env.BAILIFF, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

test('every byte of a published log counts', () => {
  const dir = mkdtempSync(join(tmpdir(), 'bailiff-e2e-')), state = join(dir, 'state'), log = join(state, 'log');
  try {
    run('init', state);
    for (const team of ['a', 'b', 'c']) run('-C', state, 'team', 'add', team);
    const key = readFileSync(join(state, 'log.vkey'), 'utf8');
    const entries = verifyLog(log, key);
    assert.ok(entries.some((entry) => entry.includes('admin.team.added')));
    const size = entries.length;
    for (const name of ['checkpoint', `tile/0/000.p/${size}`, `tile/entries/000.p/${size}`]) {
      const file = join(log, name), bytes = readFileSync(file);
      const step = Math.max(1, Math.floor(bytes.length / 97)); // all of a small file, 97 places of a large one
      for (let at = 0; at < bytes.length; at += step) {
        const changed = Buffer.from(bytes);
        changed[at] ^= 1;
        writeFileSync(file, changed);
        assert.throws(() => verifyLog(log, key), `byte ${at} of ${name} does not count`);
      }
      writeFileSync(file, bytes);
    }
    assert.equal(verifyLog(log, key).length, size);
    assert.throws(() => verifyLog(log, key.replace(/\+[0-9a-f]{8}\+/, '+00000000+')));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

// A log of others (shared test vectors, where they are).
const golden = new URL('../../../shared/vectors/tlog-golden/', import.meta.url).pathname;
test('the log of another implementation', { skip: !existsSync(golden) && 'the vectors are not here' }, () => {
  const key = 'example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx';
  const dir = mkdtempSync(join(tmpdir(), 'bailiff-e2e-'));
  try {
    const copy = join(dir, 'log');
    cpSync(golden, copy, { recursive: true });
    execFileSync('chmod', ['-R', 'u+w', copy]);
    const sizes = readdirSync(copy).filter((name) => /^checkpoint\./.test(name)).map((name) => Number(name.split('.')[1]));
    assert.ok(sizes.length >= 3);
    for (const size of sizes) {
      cpSync(join(copy, `checkpoint.${size}`), join(copy, 'checkpoint'), { force: true });
      assert.ok(statSync(join(copy, 'checkpoint')).size > 0);
      assert.equal(verifyLog(copy, key).length, size);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
