// SPDX-License-Identifier: Apache-2.0
//
// docs/administration.md, followed to the letter: every ```sh block is run, in
// its order, by one shell on a machine of its own; each command has to succeed.
// Only places differ: directories, ports, and that `serve` goes on in the
// background.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const program = resolve(process.env.BAILIFF);
const text = readFileSync(new URL('../../docs/administration.md', import.meta.url), 'utf8');
const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map((match) => match[1]);

function freePort() {
  return new Promise((done) => {
    const server = net.createServer();
    server.listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => done(port)); });
  });
}

// In the background, until it listens; again: until its engine is up, too.
const served = 'bailiff serve /var/lib/bailiff\n';
const serve = (again) => 'bailiff serve /var/lib/bailiff 2>serve.log &\n' +
  `for i in $(seq 200); do ${again ? 'curl -sf -o /dev/null http://127.0.0.1:9464/readyz' : 'grep -q " ready " serve.log'} && break; sleep 0.05; done\n`;

test('every command of docs/administration.md does what the page says', { timeout: 55000 }, async () => {
  const root = mkdtempSync(join(tmpdir(), 'bailiff-docs-'));
  for (const name of ['bin', 'lib', 'home', 'work', 'mnt']) mkdirSync(join(root, name));
  symlinkSync(program, join(root, 'bin/bailiff'));
  const [port, metrics, engine] = [await freePort(), await freePort(), await freePort()];
  assert.equal(blocks.filter((block) => block === served).length, 2);
  const script = [
    'set -euo pipefail',
    'trap \'kill $(jobs -p) 2>/dev/null; wait\' EXIT',
    'bailiff demo-engine --port 8081 --model tiny >/dev/null 2>&1 &',
    ...blocks.map((block, i) => `echo "== block ${i + 1}" >&2\n${block === served ? serve(i > blocks.indexOf(served)) : block}`),
    'echo "== done" >&2',
  ].join('\n')
    .replaceAll('/var/lib/bailiff', join(root, 'lib/bailiff')).replaceAll('-C /var/lib ', `-C ${join(root, 'lib')} `)
    .replaceAll('/mnt/archive', join(root, 'mnt'))
    .replaceAll('8443', String(port)).replaceAll('9464', String(metrics)).replaceAll('8081', String(engine));
  writeFileSync(join(root, 'script.sh'), script);
  let said = '';
  let out = '';
  try {
    const environment = { ...process.env, HOME: join(root, 'home'), PATH: `${join(root, 'bin')}:${process.env.PATH}` };
    for (const name of ['BAILIFF_STATE', 'BAILIFF_ADMIN_TOKEN', 'BAILIFF']) delete environment[name];
    const shell = spawn('bash', [join(root, 'script.sh')], { cwd: join(root, 'work'), env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    shell.stdout.on('data', (data) => { out += data; said += data; });
    shell.stderr.on('data', (data) => { said += data; });
    const code = await new Promise((done) => shell.once('close', done));
    assert.equal(code, 0, `the page stopped at:\n${said.slice(-3000)}`);
    assert.match(said, /== done/);
    assert.match(out, /ALLOWED: nightly may chat with tiny/);
    assert.match(out, /"completion_tokens":/);
    assert.match(out, /policy version 3 is active/);
    assert.match(out, /policy version 4 is approved/);
    // No command left anything that a terminal would obey.
    // eslint-disable-next-line no-control-regex
    assert.ok(!/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/.test(out));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test('the page lists every setting with its default, as init writes them', () => {
  const table = readFileSync(new URL('../../proxy/settings.tbl.h', import.meta.url), 'utf8');
  const names = [...table.matchAll(/^SETTING_(?!HEADING)\w+\(\s*(\w+)/gm)].map((match) => match[1]);
  assert.ok(names.length > 20);
  const listed = [...text.matchAll(/^\| `(\w+)` \| `(.*?)` \|/gm)];
  assert.deepEqual(listed.map((row) => row[1]), names);
  const root = mkdtempSync(join(tmpdir(), 'bailiff-docs-'));
  try {
    const made = spawnSyncInit(join(root, 'state'));
    for (const [, name, value] of listed)
      assert.ok(made.includes(`\n# ${name} = ${value};\n`), `${name} = ${value}`);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

function spawnSyncInit(dir) {
  execFileSync(program, ['init', dir], { stdio: 'ignore' });
  return readFileSync(join(dir, 'bailiff.conf'), 'utf8');
}
