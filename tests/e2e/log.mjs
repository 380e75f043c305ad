// SPDX-License-Identifier: Apache-2.0
//
// What a server's log holds, verified (verifier.mjs) and judged: each entry
// against the schema, none with what is nobody's business.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import Ajv from 'ajv/dist/2020.js';
import { verifyLog } from './verifier.mjs';

const schema = JSON.parse(readFileSync(new URL('../../schema/audit-event.schema.json', import.meta.url)));
const ajv = new Ajv({ allErrors: true, strict: false });
ajv.addSchema(schema, 'event');
const whole = ajv.getSchema('event');

// The definition for one type says what is wrong; `oneOf` lists all of them.
function faults(entry) {
  if (whole(entry)) return null;
  const name = Object.hasOwn(schema.$defs, entry.type) ? entry.type : 'act';
  const one = ajv.getSchema(`event#/$defs/${name}`);
  one(entry);
  return ajv.errorsText(one.errors ?? whole.errors);
}

// Every entry that the signed checkpoint covers, as texts; signature, tree and
// tiles are verified on the way.
export function readLog(state) {
  return verifyLog(join(state, 'log'), readFileSync(join(state, 'log.vkey'), 'utf8')).map((bytes) => bytes.toString('utf8'));
}

function* filesBelow(dir) {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name), kind = statSync(path);
    if (kind.isDirectory()) yield* filesBelow(path);
    else if (kind.isFile()) yield path;
  }
}

// What the whole log says of each quota's present window, against the ledger
// that the program has from its state file and the tail.
function recount(world, entries) {
  const sums = new Map();
  const add = (bucket, window, units) => {
    const key = `${bucket} ${window}`;
    sums.set(key, (sums.get(key) ?? 0) + units);
  };
  for (const entry of entries) {
    if (!/^request\.(admitted|completed|withdrawn)$/.test(entry.type)) continue;
    for (const one of entry.quotas) {
      assert.ok(one.reserved >= 0 && (one.settled ?? 0) <= one.reserved, JSON.stringify(entry));
      add(one.bucket, one.window, entry.type === 'request.admitted' ? one.reserved : one.settled - one.reserved);
    }
  }
  for (const quota of world.json('quota', 'usage').items) {
    if (quota.window === 'minute' || quota.window === 'now') continue;
    assert.ok(quota.window === 'lifetime' || quota.since, JSON.stringify(quota));
    assert.equal(quota.used - (world.earlier?.[quota.id] ?? 0), sums.get(`${quota.id} ${quota.window === 'lifetime' ? 'lifetime' : quota.since}`) ?? 0, JSON.stringify(quota));
    assert.equal(quota.reserved, 0);
  }
}

// The log of a world whose server has stopped; gives its entries.
export function checkLog(world) {
  const texts = readLog(world.state);
  const open = new Map();
  let last = '';
  const entries = texts.map((text, index) => {
    const entry = JSON.parse(text);
    const wrong = faults(entry);
    assert.equal(wrong, null, `entry ${index}: ${wrong}\n${text}`);
    assert.ok(Buffer.byteLength(text) <= 65535);
    assert.ok(entry.time >= last, `entry ${index}: time goes back`);
    last = entry.time;
    if (entry.type === 'request.admitted') open.set(entry.id, text);
    if (/^request\.(completed|withdrawn)$/.test(entry.type)) {
      assert.ok(open.delete(entry.id), `entry ${index} closes what is not open: ${text}`);
    }
    for (const secret of world.secrets) assert.ok(!text.includes(secret), `entry ${index} holds "${secret}": ${text}`);
    for (const handle of world.handles)
      assert.ok(!new RegExp(`\\b${handle}\\b`).test(text), `entry ${index} holds the handle ${handle}: ${text}`);
    return entry;
  });
  assert.deepEqual([...open.values()], [], 'an admission without its end');
  recount(world, entries);
  assert.match(texts.at(-1), /"system\.stopped"/);
  for (const key of world.keys) {
    assert.ok(!world.logs.includes(key), 'the operator\'s log holds a key');
  }
  for (const path of filesBelow(world.state)) {
    const bytes = readFileSync(path);
    for (const key of world.keys) assert.ok(!bytes.includes(key), `${path} holds a key`);
    if (!/persons\.db/.test(path)) // of prompts, nothing stays anywhere
      for (const secret of world.secrets) assert.ok(!bytes.includes(secret), `${path} holds "${secret}"`);
  }
  return entries;
}
