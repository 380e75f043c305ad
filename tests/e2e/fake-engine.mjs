// SPDX-License-Identifier: Apache-2.0
//
// An engine that does what it is told, above all what engines should not do.
// `answer` is called for each request but the health checks; it may be set
// anew at any time.
import http from 'node:http';
import { sleep } from './harness.mjs';

export class FakeEngine {
  static async make(answer) {
    const engine = new FakeEngine();
    engine.answer = answer;
    engine.healthy = true;
    engine.requests = 0;
    engine.gone = 0; // answers that the other side broke off
    engine.bodies = [];
    engine.sockets = new Set();
    engine.server = http.createServer((request, response) => engine.take(request, response));
    engine.server.on('connection', (socket) => {
      engine.sockets.add(socket);
      socket.on('close', () => engine.sockets.delete(socket));
      socket.on('error', () => {});
    });
    await engine.listen(0);
    return engine;
  }

  listen(port) {
    return new Promise((resolve) => {
      this.server.listen(port, '127.0.0.1', () => { this.port = this.server.address().port; resolve(); });
    });
  }

  // Nobody listens from here on, and what was open is torn.
  down() {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((resolve) => { this.server.close(resolve); });
  }
  up() { return this.listen(this.port); }
  async end() { this.answer = null; await this.down(); }

  async take(request, response) {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    if (request.method === 'GET') {
      response.writeHead(this.healthy ? 200 : 503, { 'content-type': 'application/json' });
      response.end('{"status":"ok","object":"list","data":[]}');
      return;
    }
    this.requests++;
    this.bodies.push(Buffer.concat(pieces).toString());
    response.on('close', () => { if (!response.writableFinished) this.gone++; });
    await this.answer?.(response, request);
  }
}

const chunk = (delta, more = {}) => `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm',
  choices: [{ index: 0, delta, finish_reason: null, ...more }] })}\n\n`;
export const usage = (prompt, completion) =>
  ({ prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion });

export function begin(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(chunk({ role: 'assistant', content: '' }));
}
export const say = (response, content) => response.write(chunk({ content }));
export function finish(response, figures = usage(7, 3)) {
  response.write(chunk({}, { finish_reason: 'stop' }));
  if (figures) response.write(`data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [], usage: figures })}\n\n`);
  response.end('data: [DONE]\n\n');
}

// A stream as it should be.
export async function stream(response, words = ['one', ' two', ' three'], pause = 0) {
  begin(response);
  for (const word of words) { if (pause) await sleep(pause); say(response, word); }
  finish(response);
}
// A stream that goes on for as long as somebody listens.
export async function endless(response) {
  begin(response);
  while (!response.destroyed) { say(response, ' and on'); await sleep(5); }
}
export function whole(response, content = 'fine', figures = usage(7, 3)) {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ id: 'c', object: 'chat.completion', created: 1, model: 'm',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }], usage: figures }));
}
export function refuse(response, status, message = 'no', headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ error: { message, type: 'x', code: status } }));
}
