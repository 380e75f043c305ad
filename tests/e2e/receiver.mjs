// SPDX-License-Identifier: Apache-2.0
//
// A receiver of the log in a process of its own, so that it can be stopped and
// killed: receiver.mjs syslog|syslog-tls|https PORT FILE [CERTIFICATE KEY].
// What it understood goes to FILE, a line each, before it reads on. An https
// one answers with the status that stands in FILE.status, 200 without.
import net from 'node:net';
import tls from 'node:tls';
import https from 'node:https';
import { appendFileSync, readFileSync } from 'node:fs';

const [kind, port, file, certificate, key] = process.argv.slice(2);
const secure = certificate && { cert: readFileSync(certificate), key: readFileSync(key) };

// RFC 6587 3.4.1: LENGTH SP MESSAGE.
function syslog(socket) {
  let bytes = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (data) => {
    bytes = Buffer.concat([bytes, data]);
    for (;;) {
      const space = bytes.indexOf(0x20);
      const length = Number(bytes.subarray(0, space).toString('latin1'));
      if (space < 0 || bytes.length < space + 1 + length) return;
      appendFileSync(file, `${bytes.subarray(space + 1, space + 1 + length)}\n`);
      bytes = bytes.subarray(space + 1 + length);
    }
  });
}

function post(request, answer) {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    let status = 200;
    try { status = Number(readFileSync(`${file}.status`, 'utf8')); } catch { /* 200 */ }
    if (status === 200) appendFileSync(file, Buffer.concat(pieces));
    appendFileSync(`${file}.heads`, `${JSON.stringify({ ...request.headers, method: request.method, url: request.url })}\n`);
    answer.writeHead(status).end();
  });
}

const server = kind === 'https' ? https.createServer(secure, post)
  : kind === 'syslog-tls' ? tls.createServer(secure, syslog) : net.createServer(syslog);
server.on('tlsClientError', () => {});
server.listen(Number(port), '127.0.0.1', () => console.log(`ready ${server.address().port}`));
