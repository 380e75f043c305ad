// SPDX-License-Identifier: Apache-2.0
//
// A part of the fault sweep (sweep.mjs), of each kind of call and each way of
// failing a few, at the same places in each run. All of it: node sweep.mjs.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Sweep, prepare, runAll } from './sweep.mjs';

const CASES = 30;

test('one call fails, or the process dies there: nothing that was answered is lost', { timeout: 120000 }, async () => {
  const sweep = new Sweep(await prepare());
  try {
    const all = Sweep.cases(await sweep.count());
    assert.ok(all.length > 500, `only ${all.length} cases`);
    const step = all.length / CASES;
    const cases = Array.from({ length: CASES }, (_, i) => all[Math.floor(i * step + step / 3)]);
    const { failures } = await runAll(sweep, cases);
    assert.equal(failures.length, 0, failures.map(({ error }) => error.message).join('\n'));
    assert.equal(sweep.figures.met, CASES + 1);
    assert.ok(sweep.figures.died > 5, 'the faults do not reach the server');
  } finally { sweep.end(); }
});
