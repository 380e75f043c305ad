// SPDX-License-Identifier: Apache-2.0
//
// A verifier of a published log (DIR/log and its key), written from the
// specifications alone (RFC 6962 section 2.1; c2sp.org/signed-note,
// tlog-checkpoint, tlog-tiles) and sharing no code with the program or with
// schema/verify.py: three that agree are worth more than one.
import { createHash, createPublicKey, verify } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const sha256 = (...parts) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const ZERO = Buffer.from([0]), ONE = Buffer.from([1]), NEWLINE = Buffer.from('\n');
const leaf = (entry) => sha256(ZERO, entry);
const node = (left, right) => sha256(ONE, left, right);

// MTH(D[n]): split at the largest power of two below n.
function root(hashes) {
  if (hashes.length === 0) return sha256();
  let level = hashes;
  while (level.length > 1) {
    const next = [];
    for (let i = 0; i + 1 < level.length; i += 2) next.push(node(level[i], level[i + 1]));
    if (level.length % 2) next.push(level.at(-1));
    level = next;
  }
  return level[0];
}

function path(n) {
  const groups = [];
  do { groups.unshift(String(n % 1000).padStart(3, '0')); n = Math.floor(n / 1000); } while (n > 0);
  return groups.map((group, i) => (i < groups.length - 1 ? 'x' : '') + group).join('/');
}
const numbered = (n, width) => path(n) + (width < 256 ? `.p/${width}` : '');

// Canonical base64 only: no stray bits, no other alphabet.
function base64(text) {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new Error(`"${text}" is not base64`);
  return bytes;
}

// "name+hash+base64(type || key)": split at the first two plus signs.
function readKey(text) {
  const [, name, id, rest] = text.trim().match(/^([^+\s]+)\+([0-9a-f]{8})\+(.+)$/);
  const bytes = base64(rest);
  if (bytes[0] !== 1 || bytes.length !== 33) throw new Error('the key is not Ed25519');
  if (sha256(Buffer.from(name), NEWLINE, bytes).subarray(0, 4).toString('hex') !== id)
    throw new Error('the key does not have the id it bears');
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), bytes.subarray(1)]);
  return { name, id, key: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
}

// The text of a note that this key has signed.
function signedText(note, vkey) {
  const at = note.lastIndexOf('\n\n');
  if (at < 0 || !note.endsWith('\n')) throw new Error('the checkpoint is no signed note');
  const text = note.slice(0, at + 1), { name, id, key } = readKey(vkey);
  const good = note.slice(at + 2).split('\n').filter((line) => line.startsWith(`\u2014 ${name} `)).some((line) => {
    const bytes = base64(line.split(' ')[2]);
    if (bytes.subarray(0, 4).toString('hex') !== id) return false;
    if (!verify(null, Buffer.from(text), key, bytes.subarray(4))) throw new Error('the signature does not fit the checkpoint');
    return true;
  });
  if (!good) throw new Error('the checkpoint bears no signature of the key');
  return text;
}

// From the log's first key to the one that signs now: nine lines a rotation,
// signed by the old and the new key (docs/audit.md).
function newestKey(dir, vkey) {
  const path = join(dir, 'key-rotations');
  let key = vkey.trim();
  const rest = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [''];
  while (rest.length > 1) {
    const note = `${rest.splice(0, 9).join('\n')}\n`, [what, , before, after] = note.split('\n');
    if (what !== 'bailiff.key-rotation/v1' || before !== key) throw new Error('a rotation does not continue the one before');
    signedText(note, before);
    signedText(note, after);
    key = after;
  }
  return key;
}

export function readCheckpoint(note, vkey) {
  const text = signedText(note, vkey);
  const [origin, size, hash] = text.split('\n');
  if (!/^(0|[1-9][0-9]*)$/.test(size)) throw new Error(`"${size}" is no size`);
  return { origin, size: Number(size), root: base64(hash) };
}

// Bundles that were pruned: their leaves, if a later entry says so.
function prunedLeaves(dir, checkpoint) {
  const leaves = [];
  for (let n = 0; (n + 1) * 256 <= checkpoint.size && !existsSync(join(dir, 'tile/entries', numbered(n, 256))); n++) {
    const tile = readFileSync(join(dir, 'tile/0', numbered(n, 256)));
    for (let at = 0; at < tile.length; at += 32) leaves.push(tile.subarray(at, at + 32));
  }
  return leaves;
}
function saysPruned(entries, leaves) {
  return entries.some((bytes) => {
    if (!bytes.includes('"type":"audit.prune_begun"')) return false;
    const { type, detail: { prefix } = {} } = JSON.parse(bytes);
    return type === 'audit.prune_begun' && prefix.entries <= leaves.length && prefix.entries > leaves.length - 256 &&
      root(leaves.slice(0, prefix.entries)).toString('hex') === prefix.root;
  });
}

// The entries (those that are there), or an error that says what does not hold.
export function verifyLog(dir, vkey) {
  const checkpoint = readCheckpoint(readFileSync(join(dir, 'checkpoint'), 'utf8'), newestKey(dir, vkey));
  const entries = [], gone = prunedLeaves(dir, checkpoint);
  for (let n = gone.length / 256; n * 256 < checkpoint.size; n++) {
    const bytes = readFileSync(join(dir, 'tile/entries', numbered(n, Math.min(256, checkpoint.size - n * 256))));
    for (let at = 0; at < bytes.length;) {
      const size = bytes.readUInt16BE(at);
      if (at + 2 + size > bytes.length) throw new Error(`bundle ${n} ends within an entry`);
      entries.push(bytes.subarray(at + 2, at + 2 + size));
      at += 2 + size;
    }
  }
  if (gone.length + entries.length !== checkpoint.size) throw new Error(`the bundles hold ${entries.length} entries, not ${checkpoint.size}`);
  if (gone.length > 0 && !saysPruned(entries, gone)) throw new Error('bundles are missing, and no entry says that they were pruned');
  const leaves = gone.concat(entries.map(leaf));
  if (!root(leaves).equals(checkpoint.root)) throw new Error('the entries do not have the root that is signed');
  for (let level = 0, hashes = leaves; hashes.length > 0; level++) {
    for (let n = 0; n * 256 < hashes.length; n++) {
      const wanted = hashes.slice(n * 256, n * 256 + 256);
      const found = readFileSync(join(dir, 'tile', String(level), numbered(n, wanted.length)));
      if (!found.equals(Buffer.concat(wanted))) throw new Error(`tile ${n} of level ${level} is not that of the entries`);
    }
    const above = [];
    for (let n = 0; (n + 1) * 256 <= hashes.length; n++) above.push(root(hashes.slice(n * 256, n * 256 + 256)));
    hashes = above;
  }
  return entries;
}
