// SPDX-License-Identifier: Apache-2.0
//
// Applications of an issuer: which are let in, and which ask for themselves, as
// the caller that stands for them.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { OAuth2Server } from 'oauth2-mock-server';
import { World, until, dechunk, events } from './harness.mjs';
import { FakeEngine, endless } from './fake-engine.mjs';

let world, provider, river;
async function token(claims = {}) {
  const text = await provider.issuer.buildToken({ expiresIn: 3600, scopesOrTransform: (header, payload) => {
    Object.assign(payload, { aud: 'bailiff', sub: 'alice', ...claims });
  } });
  world?.secrets.push(text.split('.')[2]);
  return text;
}
const chat = async (claims) => world.chat(await token(claims));
const callerOf = (answer) => world.json('audit', 'show', answer.headers['x-request-id']).entries[0].entry.caller;
const idOf = (handle) => world.json('caller', 'show', handle).id;
async function refused(claims, pattern) {
  const answer = await world.untouched(() => chat(claims));
  assert.equal(answer.status, 401, answer.body);
  assert.match(answer.body, pattern);
}

before(async () => {
  provider = new OAuth2Server();
  await provider.issuer.keys.generate('ES256');
  await provider.start(0, 'localhost');
  world = await World.make();
  river = await FakeEngine.make(endless);
  world.cli('engine', 'add', 'river', `http://127.0.0.1:${river.port}`, '--kind', 'openai');
  world.cli('model', 'add', 'river', '--engine', 'river', '--approve');
  for (const handle of ['corp:alice', 'batch-service', 'other-service']) world.onboard(handle);
  world.cli('issuer', 'add', 'corp', provider.issuer.url, '--audience', 'bailiff', '--prefix', 'corp:');
  await until(async () => (await chat()).status === 200, 'the keys', 20000);
});
after(async () => {
  try { await world?.end(); } finally { await river?.end(); await provider.stop(); }
});

test('a client that asks for itself is the caller that stands for it', async () => {
  await refused({ sub: 'service-account-17', azp: 'batch' }, /unknown_caller/);
  assert.match(world.cli('issuer', 'map-client', 'corp', 'batch', '--caller', 'batch-service'), /batch = cal_/);
  for (const claims of [{ azp: 'batch' }, { client_id: 'batch' }, { azp: 'batch', client_id: 'batch' }]) {
    const answer = await chat({ sub: 'service-account-17', ...claims });
    assert.equal(answer.status, 200, answer.body);
    assert.equal(callerOf(answer), idOf('batch-service'));
  }
  // To the letter, and of others nothing changes.
  await refused({ sub: 'service-account-17', azp: 'Batch' }, /unknown_caller/);
  assert.equal(callerOf(await chat({ azp: 'portal' })), idOf('corp:alice'));
  await refused({ azp: 'batch', client_id: 'portal' }, /client_refused/);
  world.cli('caller', 'disable', 'batch-service');
  await refused({ sub: 'service-account-17', azp: 'batch' }, /caller_disabled/);
  world.cli('caller', 'enable', 'batch-service');
});

test('known clients only', async () => {
  world.cli('issuer', 'map-client', 'corp', 'portal');
  world.cli('issuer', 'set', 'corp', '--clients-only');
  assert.equal((await chat({ azp: 'portal' })).status, 200);
  assert.equal((await chat({ azp: 'batch' })).status, 200);
  await refused({ azp: 'rogue' }, /client_refused/);
  await refused({ azp: 7 }, /client_refused/);
  await refused({ azp: undefined }, /client_refused/);
  await refused({ azp: 'portal', client_id: 'rogue' }, /client_refused/);
  world.cli('issuer', 'set', 'corp', '--any-client');
  assert.equal((await chat({ azp: 'rogue' })).status, 200);
});

async function cutBy(claims, ...command) {
  const line = await world.open();
  line.post(await token(claims), { model: 'river', stream: true, max_tokens: 4000 });
  await line.sees(/data: [^]*data: /);
  world.cli(...command);
  await line.sees(/\r\n0\r\n\r\n$/);
  assert.equal(JSON.parse(events(dechunk(line.text).body).at(-1)).error?.code, 'revoked');
  line.socket.destroy();
}

test('what is taken away cuts the streams that ran by it', async () => {
  await cutBy({ azp: 'batch' }, 'issuer', 'unmap-client', 'corp', 'batch');
  await cutBy({ azp: 'elsewhere' }, 'issuer', 'set', 'corp', '--clients-only');
  await cutBy({ azp: 'portal' }, 'issuer', 'unmap-client', 'corp', 'portal');
});
