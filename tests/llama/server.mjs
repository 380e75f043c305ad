// SPDX-License-Identifier: Apache-2.0
//
// A llama-server of a test file's own, and what it says of itself.
import { spawn } from 'node:child_process';
import net from 'node:net';
import { until } from '../e2e/harness.mjs';

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const free = server.address().port;
      server.close(() => resolve(free));
    });
  });
}

export class Llama {
  static async make(...more) {
    const llama = new Llama();
    llama.port = await freePort();
    const command = ['chroot', process.env.LLAMA_ROOT, 'llama-server', '-m', '/model.gguf', '--host', '127.0.0.1',
      '--port', String(llama.port), '-c', '4096', '-np', '2', '-t', '1', '--no-warmup', '--metrics', '--slots', ...more];
    if (process.getuid() !== 0) command.unshift('sudo', '-n');
    llama.child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    for (const stream of [llama.child.stdout, llama.child.stderr]) stream.on('data', (data) => { log += data; });
    await until(() => fetch(`http://127.0.0.1:${llama.port}/health`).then((answer) => answer.ok, () => {
      if (llama.child.exitCode !== null) throw new Error(log);
      return false;
    }), () => `llama-server to be ready: ${log}`, 20000);
    llama.build = log.match(/build[^\n]*/)?.[0] ?? '';
    return llama;
  }

  get url() { return `http://127.0.0.1:${this.port}`; }
  end() { this.child.kill('SIGTERM'); }

  async direct(path, body) {
    const answer = await fetch(this.url + path,
      body && { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    return answer.json();
  }

  // prompt: tokens that were read anew (not those found in a slot's cache).
  async metrics() {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const figure = (name) => Number(text.match(new RegExp(`^llamacpp:${name} (.*)$`, 'm'))[1]);
    return { prompt: figure('prompt_tokens_total'), predicted: figure('tokens_predicted_total'), processing: figure('requests_processing'),
      deferred: figure('requests_deferred') };
  }
  idle() {
    return until(async () => { const now = await this.metrics(); return now.processing + now.deferred === 0 && now; }, 'the engine to be idle', 60000);
  }
}
