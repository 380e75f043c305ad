#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a tiny but valid GGUF model: a bigram language model in llama clothes.

usage: make_tiny_gguf.py TEXT_FILE OUT.gguf

The file has one transformer block whose attention and feed-forward weights
are zero, one-hot token embeddings and an output matrix that holds bigram
log-probabilities, so a stock llama-server loads it in milliseconds and
answers with text in the manner of TEXT_FILE. It exercises the real engine
(tokeniser, sampler, streaming, usage counts) without downloading weights.
Standard library only.
"""
import collections
import math
import re
import struct
import sys

ALIGN = 32
U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9      # GGUF value types
TOK_NORMAL, TOK_UNK, TOK_CONTROL, TOK_BYTE = 1, 2, 3, 6


def gstr(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def kv(key, kind, value):
    head = gstr(key) + struct.pack("<I", kind)
    if kind == U32:
        return head + struct.pack("<I", value)
    if kind == F32:
        return head + struct.pack("<f", value)
    if kind == BOOL:
        return head + struct.pack("<?", value)
    if kind == STR:
        return head + gstr(value)
    item, values = value
    body = struct.pack("<IQ", item, len(values))
    if item == STR:
        body += b"".join(gstr(v) for v in values)
    else:
        body += struct.pack("<%d%s" % (len(values), {I32: "i", F32: "f"}[item]), *values)
    return head + body


def main(text_path, out_path):
    words = re.findall(r"[A-Za-z']+|[.,;:?!]", open(text_path, encoding="utf-8").read().lower())
    common = [w for w, _ in collections.Counter(words).most_common(150)]
    vocab = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)] + ["\u2581" + w for w in common]
    kinds = [TOK_UNK, TOK_CONTROL, TOK_CONTROL] + [TOK_BYTE] * 256 + [TOK_NORMAL] * len(common)
    scores = [0.0] * 259 + [-float(i) for i in range(len(common))]
    ids = {w: 259 + i for i, w in enumerate(common)}
    n = len(vocab)
    dim = (n + 31) // 32 * 32

    # Bigram counts with add-one smoothing over the words that occur.
    follow = collections.defaultdict(collections.Counter)
    known = [ids[w] for w in words if w in ids]
    for a, b in zip(known, known[1:]):
        follow[a][b] += 1
    start = collections.Counter(known)
    # RMSNorm turns a one-hot row into sqrt(dim) at its place.
    scale = 1.0 / math.sqrt(dim)
    columns = []
    for prev in range(n):
        seen = follow.get(prev) or start
        total = sum(seen.values()) + 0.01 * len(common)
        col = [-40.0] * n
        for w in ids.values():
            col[w] = math.log((seen.get(w, 0) + 0.01) / total)
        col[2] = math.log(0.02)               # now and then the end of text
        columns.append(col)

    embd = bytearray()
    for t in range(n):
        row = [0.0] * dim
        row[t] = 1.0
        embd += struct.pack("<%df" % dim, *row)
    out = bytearray()
    for t in range(n):
        row = [columns[p][t] * scale for p in range(n)] + [0.0] * (dim - n)
        out += struct.pack("<%df" % dim, *row)

    ff = 32
    zero = lambda *shape: (shape, bytes(4 * math.prod(shape)))
    ones = lambda k: ((k,), struct.pack("<%df" % k, *([1.0] * k)))
    tensors = {
        "token_embd.weight": ((dim, n), bytes(embd)),
        "output_norm.weight": ones(dim),
        "output.weight": ((dim, n), bytes(out)),
        "blk.0.attn_norm.weight": ones(dim),
        "blk.0.attn_q.weight": zero(dim, dim),
        "blk.0.attn_k.weight": zero(dim, dim),
        "blk.0.attn_v.weight": zero(dim, dim),
        "blk.0.attn_output.weight": zero(dim, dim),
        "blk.0.ffn_norm.weight": ones(dim),
        "blk.0.ffn_gate.weight": zero(dim, ff),
        "blk.0.ffn_up.weight": zero(dim, ff),
        "blk.0.ffn_down.weight": zero(ff, dim),
    }
    heads = dim // 32
    template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    meta = [
        kv("general.architecture", STR, "llama"),
        kv("general.name", STR, "tiny-bigram"),
        kv("general.alignment", U32, ALIGN),
        kv("llama.context_length", U32, 2048),
        kv("llama.embedding_length", U32, dim),
        kv("llama.block_count", U32, 1),
        kv("llama.feed_forward_length", U32, ff),
        kv("llama.attention.head_count", U32, heads),
        kv("llama.attention.head_count_kv", U32, heads),
        kv("llama.rope.dimension_count", U32, 32),
        kv("llama.attention.layer_norm_rms_epsilon", F32, 1e-6),
        kv("llama.vocab_size", U32, n),
        kv("tokenizer.ggml.model", STR, "llama"),
        kv("tokenizer.ggml.tokens", ARR, (STR, vocab)),
        kv("tokenizer.ggml.scores", ARR, (F32, scores)),
        kv("tokenizer.ggml.token_type", ARR, (I32, kinds)),
        kv("tokenizer.ggml.bos_token_id", U32, 1),
        kv("tokenizer.ggml.eos_token_id", U32, 2),
        kv("tokenizer.ggml.unknown_token_id", U32, 0),
        kv("tokenizer.ggml.add_bos_token", BOOL, True),
        kv("tokenizer.chat_template", STR, template),
    ]
    infos, offset = b"", 0
    for name, (shape, data) in tensors.items():
        infos += gstr(name) + struct.pack("<I", len(shape))
        infos += struct.pack("<%dQ" % len(shape), *shape) + struct.pack("<IQ", 0, offset)
        offset += (len(data) + ALIGN - 1) // ALIGN * ALIGN
    with open(out_path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)) + b"".join(meta) + infos)
        f.write(bytes(-f.tell() % ALIGN))
        for _, data in tensors.values():
            f.write(data + bytes(-len(data) % ALIGN))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
