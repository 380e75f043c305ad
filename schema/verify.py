#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verifies what came out of a Bailiff log, without Bailiff.

    verify.py KEY proof FILE               a c2sp.org/tlog-proof@v1 file
    verify.py KEY export FILE              an export (JSONL)
    verify.py KEY bundle FOLDER            an evidence bundle
    verify.py KEY log FOLDER [CHECKPOINT]  a tlog-tiles directory, against an
                                           older checkpoint if one is given
    verify.py KEY checkpoint FILE          a checkpoint alone

A bundle may hold kept content, sealed as it was kept (content/): each file must
be the one that its entry commits to. For `log`, --content FOLDER says where the
kept content is (DIR/blobs of the state directory): then none may be missing
whose key no entry says was destroyed. Of a prefix of `log` that was pruned the
hashes alone are read, and a later entry must say that it was pruned.

Where the log's key was rotated, key-rotations in FOLDER or beside FILE leads
from KEY to the one that signs now.

With --witness WKEY (repeatable) the checkpoint must carry that witness's
cosignature; for `log` it is FOLDER/checkpoint.witnessed that must, and that the
log must continue.

KEY is the log's verifier key (name+id+base64) or a file that holds it. Python's
standard library only. Written from RFC 6962, RFC 9162, RFC 8032 and the C2SP
texts signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles and tlog-proof. Exit status 0
only if all of it holds."""
import base64
import datetime
import hashlib
import json
import os
import sys


class Bad(Exception):
    """What was found not to hold, in words."""


# --- Ed25519 (RFC 8032), verification only -----------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def point_add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            result = point_add(result, point)
        point = point_add(point, point)
        scalar >>= 1
    return result


def point_equal(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def recover_x(y, sign):
    if y >= P:
        raise Bad('a point of the signature is not on the curve')
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        if sign:
            raise Bad('a point of the signature is not on the curve')
        return 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P != 0:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P != 0:
        raise Bad('a point of the signature is not on the curve')
    return P - x if (x & 1) != sign else x


def decompress(data):
    y = int.from_bytes(data, 'little')
    sign = y >> 255
    y &= (1 << 255) - 1
    x = recover_x(y, sign)
    return (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def signature_holds(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        a, r = decompress(public), decompress(signature[:32])
    except Bad:
        return False
    s = int.from_bytes(signature[32:], 'little')
    if s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), 'little') % L
    return point_equal(point_multiply(s, BASE), point_add(r, point_multiply(h, a)))


def unbase64(text):
    """Strictly: no other spelling of the same bytes."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise Bad('"%s" is not how these bytes are written in base64' % text[:80])
    return raw


# --- Notes and checkpoints -----------------------------------------------------

def read_key(text, kind=1):
    if os.path.exists(text):
        with open(text, encoding='utf-8') as file:
            text = file.read().strip()
    try:
        name, key_id, data = text.split('+', 2)
        raw = unbase64(data)
    except ValueError:
        raise Bad('"%s" is no verifier key (name+id+base64)' % text) from None
    if len(raw) != 33 or raw[0] != kind:
        raise Bad('the key of %s is not of type %d' % (name, kind))
    own = hashlib.sha256(name.encode() + b'\n' + raw).digest()[:4]
    if own.hex() != key_id:
        raise Bad("the key's id is not that of its bytes")
    return name, own, raw[1:]


ROTATED = {}  # id of a key: (id, public) of the keys that took over from it


def follow_rotations(path, key):
    """Reads key-rotations: notes that the old and the new key have signed."""
    if not os.path.exists(path):
        return
    lines = read(path).decode().split('\n')
    if lines.pop() != '' or len(lines) % 9:
        raise Bad('%s is cut short' % path)
    successors, expected, found = [], None, False
    for at in range(0, len(lines), 9):
        note = '\n'.join(lines[at:at + 9]) + '\n'
        if lines[at] != 'bailiff.key-rotation/v1' or lines[at + 6] != '' or '' in lines[at:at + 6]:
            raise Bad('%s holds no note of a rotated key' % path)
        old, new = read_key(lines[at + 2]), read_key(lines[at + 3])
        if not old[0] == new[0] == lines[at + 1] == key[0] or expected not in (None, old):
            raise Bad('a rotation does not continue the one before')
        for one in (old, new):
            open_note(note, one)
        expected = new
        if found or old == key:
            found = True
            successors.append((new[1], new[2]))
    if not found and expected != key:
        raise Bad('the key that was given is in none of the rotations of this log')
    ROTATED[key[1]] = successors


def split_note(note):
    """The text, and (name, id, signature) of each line below it."""
    cut = note.rfind('\n\n')
    if cut < 0 or not note.endswith('\n'):
        raise Bad('the checkpoint is no signed note')
    signatures = []
    for line in note[cut + 2:-1].split('\n'):
        parts = line.split(' ')
        if len(parts) != 3 or parts[0] != '—':
            raise Bad('a signature line is malformed: %s' % line)
        raw = unbase64(parts[2])
        signatures.append((parts[1], raw[:4], raw[4:]))
    return note[:cut + 1], signatures


def open_note(note, key):
    name, key_id, public = key
    text, signatures = split_note(note)
    good = False
    accepted = dict([(key_id, public)] + ROTATED.get(key_id, []))
    for signer, signer_id, signature in signatures:
        if signer != name or signer_id not in accepted:
            continue
        if not signature_holds(accepted[signer_id], text.encode(), signature):
            raise Bad('the signature of %s on the checkpoint does not hold' % name)
        good = True
    if not good:
        raise Bad('the checkpoint is not signed by %s with this key' % name)
    return text


def check_witnesses(note, witnesses):
    """Who cosigned, in words; each of them must have (tlog-cosignature)."""
    text, signatures = split_note(note)
    words = []
    for name, key_id, public in witnesses:
        times = []
        for signer, signer_id, signature in signatures:
            if signer != name or signer_id != key_id:
                continue
            time = int.from_bytes(signature[:8], 'big')
            message = 'cosignature/v1\ntime %d\n%s' % (time, text)
            if len(signature) != 72 or time >= 2**63 or not signature_holds(
                    public, message.encode(), signature[8:]):
                raise Bad('the cosignature of %s does not hold' % name)
            times.append(time)
        if not times:
            raise Bad('%s did not cosign' % name)
        words.append(', cosigned by %s at %s' % (
            name, datetime.datetime.fromtimestamp(max(times), datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')))
    return ''.join(words)


def open_checkpoint(note, key):
    lines = open_note(note, key).split('\n')
    if len(lines) < 4 or lines[0] != key[0]:
        raise Bad("the checkpoint is of another log than the key's")
    if not lines[1].isdigit() or (lines[1][0] == '0' and lines[1] != '0'):
        raise Bad("the checkpoint's size is no number")
    root = unbase64(lines[2])
    if len(root) != 32:
        raise Bad("the checkpoint's root is no hash")
    return int(lines[1]), root


# --- The tree (RFC 6962, RFC 9162) ----------------------------------------------

def leaf_hash(entry):
    return hashlib.sha256(b'\0' + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b'\1' + left + right).digest()


def inclusion_holds(index, size, leaf, proof, root):
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    return sn == 0 and r == root


def consistency_holds(first, second, first_root, second_root, proof):
    if first > second:
        return False
    if first == second:
        return not proof and first_root == second_root
    if first == 0:
        return not proof
    if not proof:
        return False
    if first & (first - 1) == 0:
        proof = [first_root] + proof
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = proof[0]
    for c in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            sr = node_hash(sr, c)
        fn >>= 1
        sn >>= 1
    return sn == 0 and fr == first_root and sr == second_root


class Tree:
    """Grows leaf by leaf; `stack` holds the roots of its perfect subtrees."""

    def __init__(self):
        self.size, self.stack = 0, []

    def push(self, leaf):
        self.stack.append(leaf)
        n = self.size
        while n & 1:
            right, left = self.stack.pop(), self.stack.pop()
            self.stack.append(node_hash(left, right))
            n >>= 1
        self.size += 1

    def root(self):
        if not self.stack:
            return hashlib.sha256(b'').digest()
        result = self.stack[-1]
        for left in reversed(self.stack[:-1]):
            result = node_hash(left, result)
        return result


# --- A proof file ----------------------------------------------------------------

def hashes_of(lines):
    hashes = [unbase64(line) for line in lines]
    if any(len(one) != 32 for one in hashes):
        raise Bad('a hash of the proof has not 32 bytes')
    return hashes


def verify_proof(text, key, witnesses=()):
    head, _, note = text.partition('\n\n')
    lines = head.split('\n')
    if lines.pop(0) != 'c2sp.org/tlog-proof@v1':
        raise Bad('no c2sp.org/tlog-proof@v1 file')
    if not lines or not lines[0].startswith('extra '):
        raise Bad('the proof does not carry its entry')
    entry = unbase64(lines.pop(0)[6:])
    if not lines or not lines[0].startswith('index '):
        raise Bad('the proof has no index')
    index = int(lines.pop(0)[6:])
    size, root = open_checkpoint(note, key)
    if not inclusion_holds(index, size, leaf_hash(entry), hashes_of(lines), root):
        raise Bad('the proof of entry %d does not hold' % index)
    return 'holds: entry %d is in the log %s of %d entries%s' % (
        index, key[0], size, check_witnesses(note, witnesses))


# --- An export --------------------------------------------------------------------

def entry_bytes(line):
    """The entry as it stands in the line: its bytes, not a rewriting of them."""
    start, end = b'{"entry":', b',"index":'
    at = line.rfind(end)
    if not line.startswith(start) or at < 0:
        raise Bad('a line of the export is malformed: %r' % line[:80])
    return line[len(start):at]


def content_of(entry):
    """(id, request|answer, key, SHA-256) of the file that an entry commits to."""
    if b'"content":{"blob":' not in entry:
        return None
    value = json.loads(entry)
    content = value.get('content')
    if not isinstance(content, dict):
        return None
    which = 'answer' if value['type'] == 'request.completed' else 'request'
    for text in (value['id'], content['key']):
        if not text.isalnum():
            raise Bad('"%s" is no name of a kept file' % text[:80])
    return value['id'], which, content['key'], content['blob']


def verify_export(data, key, each=None):
    lines = data.split(b'\n')
    if lines.pop() != b'' or len(lines) < 2:
        raise Bad('the export is cut short: its last line does not end')
    header, trailer = json.loads(lines[0]), json.loads(lines[-1])
    if header.get('format') != 'bailiff-export-1':
        raise Bad('this is no export of a Bailiff log')
    if trailer.get('end') is not True:
        raise Bad('the export is cut short: its trailer is missing')
    digest = hashlib.sha256()
    for line in lines[:-1]:
        digest.update(line + b'\n')
    if digest.hexdigest() != trailer['sha256']:
        raise Bad('the export is not what was written: its digest differs')
    if trailer['entries'] != len(lines) - 2:
        raise Bad('the export has %d entries, its trailer says %d' % (len(lines) - 2, trailer['entries']))
    size, root = open_checkpoint(header['checkpoint'], key)
    last = -1
    for line in lines[1:-1]:
        entry, rest = entry_bytes(line), json.loads(line)
        index = rest['index']
        if header['order'] == 'log' and index <= last:
            raise Bad('entry %d follows entry %d' % (index, last))
        if header['whole'] and index != header['from'] + (0 if last < 0 else last - header['from'] + 1):
            raise Bad('entry %d is missing' % (header['from'] if last < 0 else last + 1))
        last = index
        if not inclusion_holds(index, size, leaf_hash(entry), hashes_of(rest['proof']), root):
            raise Bad('entry %d is not in the log that was signed' % index)
        if each:
            each(entry)
    if header['whole'] and last + 1 != header['to'] and header['from'] < header['to']:
        raise Bad('the entries from %d on are missing' % (last + 1))
    return 'holds: %d entries of the log %s, under a checkpoint of %d entries' % (
        trailer['entries'], key[0], size)


# --- A bundle, a directory of tiles -------------------------------------------------

def read(*path):
    with open(os.path.join(*path), 'rb') as file:
        return file.read()


def verify_kept(path, entry_id, which, digest):
    if hashlib.sha256(read(path)).hexdigest() != digest:
        raise Bad('the kept %s of %s is not the file that its entry commits to' % (which, entry_id))


def verify_bundle(folder, key):
    kept = {}

    def note(entry):
        found = content_of(entry)
        if found:
            kept['%s.%s' % found[:2]] = found

    text = verify_export(read(folder, 'entries.jsonl'), key, note)
    there = os.path.join(folder, 'content')
    if os.path.isdir(there):
        names = sorted(os.listdir(there))
        for name in names:
            if name not in kept:
                raise Bad('no entry commits to content/%s' % name)
            verify_kept(os.path.join(there, name), kept[name][0], kept[name][1], kept[name][3])
        text += '; %d kept files are those that they commit to' % len(names)
        if len(names) < len(kept):
            text += ', %d are not in it' % (len(kept) - len(names))
    header = json.loads(read(folder, 'entries.jsonl').split(b'\n', 1)[0])
    if read(folder, 'checkpoint').decode() != header['checkpoint']:
        raise Bad("the folder's checkpoint is not that of its entries")
    manifest = json.loads(read(folder, 'manifest.json'))
    for name, digest in manifest['sha256'].items():
        if os.path.basename(name) != name and (
                '..' in name or not name.startswith(('policies/', 'content/'))):
            raise Bad('the manifest names %s' % name)
        if hashlib.sha256(read(folder, name)).hexdigest() != digest:
            raise Bad('%s is not the file that the manifest names' % name)
    for name in sorted(os.listdir(os.path.join(folder, 'policies'))):
        if name.endswith('.cedar'):
            digest = hashlib.sha256(read(folder, 'policies', name)).hexdigest()
            if digest not in name:
                raise Bad('policies/%s does not have the hash in its name' % name)
    return text


def tile_name(n):
    parts = ['%03d' % (n % 1000)]
    while n >= 1000:
        n //= 1000
        parts.insert(0, 'x%03d' % (n % 1000))
    return '/'.join(parts)


class Content:
    """The kept files of a log, entry by entry."""

    def __init__(self, folder):
        self.folder, self.missing, self.destroyed, self.held = folder, [], set(), 0

    def take(self, entry):
        if b'"type":"audit.keys_destroyed"' in entry:
            value = json.loads(entry)
            if value['type'] == 'audit.keys_destroyed':  # (and no search for it)
                self.destroyed.update(value['detail']['keys'])
        found = content_of(entry) if self.folder else None
        if not found:
            return
        path = os.path.join(self.folder, found[2], '%s.%s' % found[:2])
        if os.path.exists(path):
            verify_kept(path, found[0], found[1], found[3])
            self.held += 1
        else:
            self.missing.append(found)

    def words(self):
        if not self.folder:
            return ''
        for entry_id, which, key_id, _ in self.missing:
            if key_id not in self.destroyed:
                raise Bad('the kept %s of %s is missing, and no entry says that its key %s was destroyed'
                          % (which, entry_id, key_id))
        return '; %d kept files are those that they commit to, %d are gone with keys whose destruction is on record' % (
            self.held, len(self.missing))


class Pruned:
    """Bundles that are missing at the beginning: what does the log say of it?"""

    def __init__(self):
        self.leaves, self.said = [], None

    def take(self, index, entry):
        if not self.leaves or b'"type":"audit.prune_begun"' not in entry:
            return
        value = json.loads(entry)
        prefix = value['detail']['prefix'] if value['type'] == 'audit.prune_begun' else None
        if not prefix or prefix['entries'] > index or -prefix['entries'] // 256 * -256 < len(self.leaves):
            return
        # Of a prefix that ends within a bundle the last leaves come from its tile.
        tree = Tree()
        for leaf in self.leaves[:prefix['entries']]:
            tree.push(leaf)
        if tree.size == prefix['entries'] and tree.root().hex() == prefix['root']:
            self.said = prefix

    def words(self):
        if not self.leaves:
            return ''
        if not self.said:
            raise Bad('tile/entries/%s is missing, and no entry says that it was pruned' % tile_name(0))
        return '; entries 0 to %d were pruned on %s (disposal %s), and their hashes lead to the root' % (
            self.said['entries'] - 1, self.said['time'][:10], self.said['disposal'])


def verify_log(folder, key, kept, witnesses=(), content=None):
    newest = read(folder, 'checkpoint').decode()
    size, root = open_checkpoint(newest, key)
    if ROTATED.get(key[1]):
        open_note(newest, (key[0], *ROTATED[key[1]][-1]))
    old = [open_checkpoint(read(kept).decode(), key)] if kept else []
    cosigned = ''
    if witnesses:
        note = read(folder, 'checkpoint.witnessed').decode()
        old.append(open_checkpoint(note, key))
        cosigned = check_witnesses(note, witnesses)
    for before in old:
        if before[0] > size:
            raise Bad('the log was cut: %d entries were signed, it has %d' % (before[0], size))
    tree, files, pruned = Tree(), Content(content), Pruned()
    for n in range((size + 255) // 256):
        width = min(256, size - n * 256)
        name = tile_name(n) + ('' if width == 256 else '.p/%d' % width)
        if width == 256 and len(pruned.leaves) == n * 256 and not os.path.exists(
                os.path.join(folder, 'tile/entries', name)):
            hashes = read(folder, 'tile/0', name)
            if len(hashes) != 8192:
                raise Bad('tile/0/%s has not 256 hashes' % name)
            for at in range(0, 8192, 32):
                for before in old:
                    if tree.size == before[0] and tree.root() != before[1]:
                        raise Bad('the first %d entries are not those that were signed before' % before[0])
                tree.push(hashes[at:at + 32])
                pruned.leaves.append(hashes[at:at + 32])
            continue
        bundle, at, leaves = read(folder, 'tile/entries', name), 0, b''
        for _ in range(width):
            length = int.from_bytes(bundle[at:at + 2], 'big')
            entry = bundle[at + 2:at + 2 + length]
            if len(entry) != length:
                raise Bad('tile/entries/%s ends within an entry' % name)
            at += 2 + length
            leaf = leaf_hash(entry)
            leaves += leaf
            files.take(entry)
            pruned.take(tree.size, entry)
            for before in old:
                if tree.size == before[0] and tree.root() != before[1]:
                    raise Bad('the first %d entries are not those that were signed before' % before[0])
            tree.push(leaf)
        if at != len(bundle):
            raise Bad('tile/entries/%s has more than %d entries' % (name, width))
        if read(folder, 'tile/0', name) != leaves:
            raise Bad('tile/0/%s does not fit its entries' % name)
    if tree.root() != root:
        raise Bad('the entries do not have the root that was signed')
    for before in old:
        if before[0] == size and before[1] != root:
            raise Bad('two roots were signed over %d entries' % size)
    return 'whole: %d entries of the log %s%s%s%s' % (size, key[0], cosigned, pruned.words(), files.words())


def verify_checkpoint(text, key, witnesses):
    size, _ = open_checkpoint(text, key)
    return 'signed: %d entries of the log %s%s' % (size, key[0], check_witnesses(text, witnesses))


def main(args):
    keys, content = [], None
    if '--content' in args[:-1]:
        at = args.index('--content')
        content = args[at + 1]
        del args[at:at + 2]
    while '--witness' in args[:-1]:
        at = args.index('--witness')
        keys.append(args[at + 1])
        del args[at:at + 2]
    if len(args) < 3 or args[1] not in ('proof', 'export', 'bundle', 'log', 'checkpoint') or (
            keys and args[1] in ('export', 'bundle')) or (content and args[1] != 'log'):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        witnesses = [read_key(one, 4) for one in keys]
        folder = args[2] if args[1] in ('bundle', 'log') else os.path.dirname(args[2])
        follow_rotations(os.path.join(folder, 'key-rotations'), read_key(args[0]))
        key = read_key(args[0])
        if args[1] == 'proof':
            print(verify_proof(read(args[2]).decode(), key, witnesses))
        elif args[1] == 'checkpoint':
            print(verify_checkpoint(read(args[2]).decode(), key, witnesses))
        elif args[1] == 'export':
            print(verify_export(read(args[2]), key))
        elif args[1] == 'bundle':
            print(verify_bundle(args[2], key))
        else:
            print(verify_log(args[2], key, args[3] if len(args) > 3 else None, witnesses, content))
    except (Bad, OSError, ValueError, KeyError, TypeError) as why:
        print('DOES NOT HOLD: %s' % why, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
