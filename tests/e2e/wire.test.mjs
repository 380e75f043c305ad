// SPDX-License-Identifier: Apache-2.0
//
// HTTP as it must not be, and as it may be.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { World } from './harness.mjs';

let world, key;
before(async () => { world = await World.make(); key = world.onboard('alice'); });
after(() => world.end());

const bad = {
  'two Hosts': 'GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'no Host': 'GET /v1/models HTTP/1.1\r\n\r\n',
  'length and chunked': 'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'two lengths': 'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc',
  'unknown coding': 'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
  'chunked in 1.0': 'POST /v1/chat/completions HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'obs-fold': 'GET /v1/models HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n',
  'bare LF': 'GET /v1/models HTTP/1.1\nHost: a\n\n',
  'NUL': 'GET /v1/models HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n',
  'space before colon': 'GET /v1/models HTTP/1.1\r\nHost : a\r\n\r\n',
  'absolute form': 'GET http://a/v1/models HTTP/1.1\r\nHost: a\r\n\r\n',
};
for (const [name, bytes] of Object.entries(bad)) {
  test(`${name}: 400 and close`, async () => {
    const { text, closed } = await world.raw(bytes);
    assert.match(text, /^HTTP\/1\.1 400 /);
    assert.match(text, /"type":"invalid_request_error"/);
    assert.equal(closed, true);
  });
}

const auth = () => `Authorization: Bearer ${key}\r\n`;
const json = '{"model":"tiny","max_tokens":3,"messages":[{"role":"user","content":"x"}]}';

test('requests sent ahead are answered in order', async () => {
  const one = `GET /v1/models/tiny HTTP/1.1\r\nHost: a\r\n${auth()}\r\n`;
  const two = `GET /v1/models/big HTTP/1.1\r\nHost: a\r\n${auth()}\r\n`;
  const { text } = await world.raw(one + two + one, /("id":"tiny"[^]*){2}/);
  assert.deepEqual([...text.matchAll(/"id":"(\w+)"/g)].map((m) => m[1]), ['tiny', 'big', 'tiny']);
});

test('a chunked body', async () => {
  const half = json.length >> 1;
  const chunk = (s) => `${s.length.toString(16)}\r\n${s}\r\n`;
  const { text } = await world.raw(`POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n${auth()}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n` +
    chunk(json.slice(0, half)) + chunk(json.slice(half)) + '0\r\n\r\n', /"usage"/);
  assert.match(text, /^HTTP\/1\.1 200 /);
});

test('100 Continue comes before the body, and not to strangers', async () => {
  const head = (a) => `POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n${a}Content-Type: application/json\r\nContent-Length: ${json.length}\r\nExpect: 100-continue\r\n\r\n`;
  assert.match((await world.raw(head(auth()), /100 Continue/)).text, /^HTTP\/1\.1 100 Continue/);
  assert.match((await world.raw(head(''), /401/)).text, /^HTTP\/1\.1 401 /);
});

test('compressed, oversized and broken bodies', async () => {
  const post = (body, headers) => world.request('POST', '/v1/chat/completions', { key, body, headers });
  assert.equal((await post(json, { 'content-encoding': 'gzip' })).status, 415);
  assert.equal((await post('{"model":"tiny",', {})).status, 400);
  assert.equal((await post('{"model":"tiny","model":"big","messages":[]}', {})).status, 400);
  const cased = await post('{"model":"tiny","MODEL":"big","messages":[{"role":"user","content":"x"}]}', {});
  assert.equal(cased.status, 400);
  assert.match(cased.body, /MODEL/);
  const stripped = await post('{"model":"tiny","max_tokens":2,"lora":[1],"messages":[{"role":"user","content":"x"}]}', {});
  assert.equal(stripped.status, 200);
  assert.equal(stripped.headers['x-bailiff-stripped-fields'], 'lora');
});

test('8 MB of prompt', async () => {
  const body = JSON.stringify({ model: 'tiny', max_tokens: 2, messages: [{ role: 'user', content: 'word '.repeat(1_600_000) }] });
  const answer = await world.request('POST', '/v1/chat/completions', { key, body });
  assert.equal(answer.status, 200, answer.body.slice(0, 300));
});

test('an unknown path names the open ones', async () => {
  const answer = await world.request('GET', '/v1/secrets', { key });
  assert.equal(answer.status, 404);
  assert.match(answer.body, /\/v1\/chat\/completions/);
});
