// SPDX-License-Identifier: Apache-2.0
//
// Small damage: a token dropped, doubled, swapped or replaced; a JSON value
// removed, renamed or exchanged.

const TOKEN = /\s+|\/\/[^\n]*|"(?:[^"\\]|\\.)*"|[_a-zA-Z][_a-zA-Z0-9]*|[0-9]+|::|==|!=|<=|>=|&&|\|\||[^]/g;
const SPARE = ['==', '=', '<', 'in', 'has', 'like', 'is', '&&', '||', '!', '-', '+', '*', '.', ',', ';',
  '(', ')', '[', ']', '{', '}', 'true', 'if', 'then', 'else', 'principal', 'context', '"x"', '1',
  '9223372036854775808', '?principal', '@a', '::', 'ip', '\u00a0', 'permit', 'when', 'A', 'Set', '?',
  '"\\u{1F600}"', '"\\x41"', '"\\q"', '/', '%', 'unless', '// c\n', 'contains', 'getTag', 'entity', 'enum'];

export function mutateText(rng, text) {
  const tokens = text.match(TOKEN) ?? [];
  for (let n = rng.range(1, 2); n > 0 && tokens.length > 2; n--) {
    const solid = tokens.map((t, i) => i).filter((i) => tokens[i].trim() !== '');
    const at = rng.pick(solid);
    switch (rng.below(4)) {
      case 0: tokens.splice(at, 1); break;
      case 1: tokens.splice(at, 0, tokens[at], ' '); break;
      case 2: {
        const other = rng.pick(solid);
        [tokens[at], tokens[other]] = [tokens[other], tokens[at]];
        break;
      }
      default: tokens[at] = rng.pick(SPARE);
    }
  }
  return tokens.join('');
}

const VALUES = [0, 1, -1, true, false, null, '', 'a', [], {}, { type: 'User', id: 'a' }, ['a'],
  { __entity: { type: 'User', id: 'a' } }, { __extn: { fn: 'ip', arg: '::1' } }, 'Long', '1.2.3.4'];
const KEYS = ['type', 'id', 'uid', 'attrs', 'parents', 'tags', 'op', 'entity', 'slot', 'in', 'left',
  'right', 'arg', 'Value', 'Var', 'Set', 'Record', '==', '!=', '&&', 'name', 'element', 'attributes',
  'required', 'memberOf', 'memberOfTypes', 'appliesTo', 'shape', 'enum', 'kind', 'body', 'attr', 'x'];

export function mutateJson(rng, value) {
  const copy = structuredClone(value);
  const places = [];
  const walk = (node) => {
    if (node === null || typeof node !== 'object') return;
    for (const key of Object.keys(node)) {
      places.push([node, key]);
      walk(node[key]);
    }
  };
  walk(copy);
  for (let n = rng.range(1, 2); n > 0 && places.length > 0; n--) {
    const [node, key] = rng.pick(places);
    if (!(key in node)) continue;
    switch (rng.below(4)) {
      case 0:
        if (Array.isArray(node)) node.splice(Number(key), 1);
        else delete node[key];
        break;
      case 1: node[key] = structuredClone(rng.pick(VALUES)); break;
      case 2: {
        const [other, otherKey] = rng.pick(places);
        if (otherKey in other) node[key] = structuredClone(other[otherKey]);
        break;
      }
      default:
        if (!Array.isArray(node)) {
          const kept = node[key];
          delete node[key];
          node[rng.pick(KEYS)] = kept;
        }
    }
  }
  return copy;
}
