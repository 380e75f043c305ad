// SPDX-License-Identifier: Apache-2.0
//
// JSON with exact 64-bit integers: BigInt values are written as numbers. The
// official engine's glue calls JSON.stringify on what it is given, so that
// function is replaced by this one while the engine is called.

const plain = JSON.stringify;

export function write(value) {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return '[' + value.map(write).join(',') + ']';
  if (value !== null && typeof value === 'object') {
    const parts = [];
    for (const key of Object.keys(value))
      if (value[key] !== undefined)
        parts.push(plain(key) + ':' + write(value[key]));
    return '{' + parts.join(',') + '}';
  }
  return plain(value);
}

export function withExactIntegers(call) {
  JSON.stringify = write;
  try {
    return call();
  } finally {
    JSON.stringify = plain;
  }
}
