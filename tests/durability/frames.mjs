// SPDX-License-Identifier: Apache-2.0
//
// The journal's segments from the outside: where a text stands in them, and how
// somebody who knows the format (audit/frame.h) would rewrite them.
import { closeSync, fstatSync, openSync, readSync, readdirSync, writeSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';

// (A segment is made large ahead: its zeros are not copied, nor read.)
export function copyTree(from, to) {
  const done = spawnSync('cp', ['-a', '--sparse=always', from, to], { encoding: 'utf8' });
  if (done.status !== 0 && !/socket|special/.test(done.stderr)) throw new Error(done.stderr);
}
// The bytes of a segment up to where only zeros come.
function written(path) {
  const file = openSync(path, 'r'), pieces = [], most = fstatSync(file).size;
  for (let at = 0; at < most;) {
    const piece = Buffer.alloc(Math.min(1 << 20, most - at));
    at += readSync(file, piece, 0, piece.length, at);
    pieces.push(piece);
    if (!piece.some((byte) => byte !== 0)) break;
  }
  closeSync(file);
  return Buffer.concat(pieces);
}
// One byte of a file, from its end where the offset is negative.
export function alterByte(path, offset, how = (byte) => byte ^ 1) {
  const file = openSync(path, 'r+'), byte = Buffer.alloc(1);
  const at = offset < 0 ? fstatSync(file).size + offset : offset;
  readSync(file, byte, 0, 1, at);
  byte[0] = how(byte[0]);
  writeSync(file, byte, 0, 1, at);
  closeSync(file);
}
export const segments = (state) => readdirSync(join(state, 'journal/segments')).filter((name) => /^\d+\.seg$/.test(name))
  .map((name) => join(state, 'journal/segments', name)).sort();
// The segment and offset of the last place where a text stands in the journal.
export function find(text, state, last = true) {
  for (const path of last ? segments(state).reverse() : segments(state)) {
    const at = last ? written(path).lastIndexOf(text) : written(path).indexOf(text);
    if (at >= 0) return { path, at };
  }
  throw new Error(`no segment holds ${text}`);
}
// Frames of the segment that holds a text, taken apart and written anew as
// audit/frame.h has them, checksums and chain right; `edit` gets the entries
// and where the first one with the text stands.
const crcTable = Array.from({ length: 256 }, (_, n) => {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});
function crc32c(...pieces) {
  let crc = 0xffffffff;
  for (const piece of pieces) for (const byte of piece) crc = crcTable[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
export function rewrite(text, state, edit) {
  const { path } = find(text, state, false);
  const bytes = written(path), entries = [];
  let first = null, previous, at = 4096;
  while (bytes.readUInt32BE(at) === 0xff424c46) {
    first ??= bytes.readBigUInt64LE(at + 8);
    previous ??= bytes.subarray(at + 32, at + 64);
    const end = at + 64 + bytes.readUInt32LE(at + 4);
    for (at += 64; at < end;) {
      const size = bytes.readUInt16BE(at);
      entries.push(bytes.subarray(at + 2, at + 2 + size));
      at += 2 + size;
    }
  }
  edit(entries, entries.findIndex((entry) => entry.includes(text)));
  const out = Buffer.alloc(bytes.length + 65536);
  bytes.copy(out, 0, 0, 4096);
  at = 4096;
  for (const entry of entries) {
    const frame = Buffer.alloc(66 + entry.length);
    frame.writeUInt32BE(0xff424c46, 0);
    frame.writeUInt32LE(2 + entry.length, 4);
    frame.writeBigUInt64LE(first++, 8);
    frame.writeUInt32LE(1, 16);
    previous.copy(frame, 32);
    frame.writeUInt16BE(entry.length, 64);
    entry.copy(frame, 66);
    frame.writeUInt32LE(crc32c(frame.subarray(0, 28), frame.subarray(32)), 28);
    previous = createHash('sha256').update(frame).digest();
    at += frame.copy(out, at);
  }
  const file = openSync(path, 'r+');
  writeSync(file, out, 0, out.length, 0);
  closeSync(file);
}
