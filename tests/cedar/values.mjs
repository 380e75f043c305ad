// SPDX-License-Identifier: Apache-2.0
//
// Types and values: made at random, written as Cedar text and as JSON.

export const LONG = { k: 'Long' }, STRING = { k: 'String' }, BOOL = { k: 'Bool' };
export const EXTENSIONS = ['ipaddr', 'decimal', 'datetime', 'duration'];
export const entity = (name) => ({ k: 'Entity', name });
export const setOf = (el) => ({ k: 'Set', el });
export const record = (attrs) => ({ k: 'Record', attrs });

export const LONGS = [0n, 1n, 2n, 3n, -1n, -2n, 10n, 100n, 9007199254740993n,
  9223372036854775807n, -9223372036854775808n];
export const STRINGS = ['', 'a', 'b', 'ab', 'abc', 'a*b', 'A', 'h\u00e9', '\u{1F600}x',
  'a b', 'x\ny', 'q"q', 'back\\slash'];
export const TEXTS = {
  ipaddr: ['1.2.3.4', '1.2.3.0/24', '1.2.3.128/25', '10.0.0.0/8', '127.0.0.1', '127.8.9.10', '127.1.0.0/16',
    '127.0.0.0/7', '::1', '::1/127', 'ff02::1', 'ff05::/16', 'ff00::/7', '224.0.0.1/4', '224.0.0.1/3',
    'fe80::/10', '0.0.0.0/0', '1.2.3.4/32', '::/0', '::ffff:102:304', '2001:DB8::/33'],
  decimal: ['0.0', '1.5', '-1.5', '1.50', '-0.5', '0.0001', '12.3456',
    '922337203685477.5807', '-922337203685477.5808'],
  datetime: ['2024-01-01', '2024-02-29', '1969-12-31T23:59:59.999Z', '1970-01-01',
    '2024-01-01T12:00:00Z', '2024-01-01T00:00:00.001+0130', '2024-01-01T00:00:00-2359',
    '0000-01-01', '9999-12-31T23:59:59.999Z'],
  duration: ['0ms', '1d', '-1d', '1h30m', '90s', '-90s', '1d2h3m4s5ms', '86400000ms',
    '24h', '9223372036854775807ms', '-9223372036854775808ms'],
};
const BAD_TEXTS = {
  ipaddr: ['1.2.3', '1.2.3.4/33', '01.2.3.4', '::1%lo', '1.2.3.4/024', ''],
  decimal: ['1', '1.23456', '1.', '.5', '1e3', '922337203685477.5808'],
  datetime: ['2023-02-29', '2024-01-01T25:00:00Z', '2024-1-1', '2024-01-01T00:00:00', 'x'],
  duration: ['1', '1h1d', '', '-', '9223372036854775808ms', '1 d'],
};
export const CONSTRUCTOR = {
  ipaddr: 'ip', decimal: 'decimal', datetime: 'datetime', duration: 'duration' };

// The letters of a JSON string that are a Cedar string too.
export function quote(text) {
  let out = '"';
  for (const c of text) {
    if (c === '"' || c === '\\') out += '\\' + c;
    else if (c === '\n') out += '\\n';
    else out += c;
  }
  return out + '"';
}

export function sameType(a, b) {
  if (a.k !== b.k) return false;
  if (a.k === 'Entity') return a.name === b.name;
  if (a.k === 'Set') return sameType(a.el, b.el);
  if (a.k !== 'Record') return true;
  const names = Object.keys(a.attrs);
  return names.length === Object.keys(b.attrs).length && names.every((n) =>
    b.attrs[n] && b.attrs[n].req === a.attrs[n].req && sameType(a.attrs[n].t, b.attrs[n].t));
}

export function typeText(t) {
  switch (t.k) {
    case 'Entity': return t.name;
    case 'Set': return `Set<${typeText(t.el)}>`;
    case 'Record': return recordText(t.attrs);
    default: return t.common ?? t.k;
  }
}

export function recordText(attrs) {
  return '{' + Object.entries(attrs).map(([name, a]) =>
    `${/^[a-z]+$/.test(name) && !RESERVED.has(name) ? name : quote(name)}` +
    `${a.req ? '' : '?'}: ${typeText(a.t)}`).join(', ') + '}';
}
export const RESERVED = new Set(['true', 'false', 'if', 'then', 'else', 'in', 'is', 'like', 'has']);

const ATTRIBUTES = ['a', 'b', 'c', 'name', 'if', 'x y', 'in', '', 'principal'];

export class Values {
  constructor(rng, world) {
    this.rng = rng;
    this.world = world;
  }

  type(depth) {
    const r = this.rng;
    return r.weighted([
      [4, LONG], [3, STRING], [3, BOOL],
      [2, { k: r.pick(EXTENSIONS) }],
      [3, entity(r.pick(this.world.entityNames))],
      ...(depth > 0 ? [
        [3, setOf(this.type(depth - 1))],
        [3, record(this.attributes(depth - 1, 3))],
      ] : []),
    ]);
  }

  attributes(depth, most) {
    const attrs = {};
    for (const name of this.rng.sample(ATTRIBUTES, this.rng.below(most + 1)))
      attrs[name] = { t: this.type(depth), req: this.rng.chance(0.6) };
    return attrs;
  }

  id(type) {
    const def = this.world.entities[type];
    if (def?.choices) return this.rng.pick(def.choices);
    return this.rng.pick(this.world.ids);
  }

  // A value of the type.
  value(t, bad = 0, root = false) {
    const r = this.rng;
    if (!root && bad > 0 && r.chance(bad)) return this.value(this.type(1));
    switch (t.k) {
      case 'Long': return { k: 'Long', v: r.chance(0.8) ? r.pick(LONGS.slice(0, 8)) : r.pick(LONGS) };
      case 'String': return { k: 'String', v: r.pick(STRINGS) };
      case 'Bool': return { k: 'Bool', v: r.chance(0.5) };
      case 'Entity': return { k: 'Entity', type: t.name, id: this.id(t.name) };
      case 'Set': {
        const items = [];
        for (let n = r.below(4); n > 0; n--) items.push(this.value(t.el, bad));
        return { k: 'Set', items };
      }
      case 'Record': {
        const fields = {};
        for (const [name, a] of Object.entries(t.attrs)) {
          const keep = a.req ? !(bad > 0 && r.chance(bad)) : r.chance(0.6);
          if (keep) fields[name] = this.value(a.t, bad);
        }
        if (bad > 0 && r.chance(bad)) fields.surplus = this.value(this.type(0));
        return { k: 'Record', fields };
      }
      default: {
        const wrong = bad > 0 && r.chance(bad);
        return { k: t.k, text: r.pick((wrong ? BAD_TEXTS : TEXTS)[t.k]) };
      }
    }
  }

  badText(k) { return this.rng.pick(BAD_TEXTS[k]); }
}

export function valueText(v) {
  switch (v.k) {
    case 'Long': return v.v === -9223372036854775808n ? '-9223372036854775808' : String(v.v);
    case 'String': return quote(v.v);
    case 'Bool': return String(v.v);
    case 'Entity': return `${v.type}::${quote(v.id)}`;
    case 'Set': return '[' + v.items.map(valueText).join(', ') + ']';
    case 'Record': return '{' + Object.entries(v.fields).map(([name, f]) =>
      `${quote(name)}: ${valueText(f)}`).join(', ') + '}';
    default: return `${CONSTRUCTOR[v.k]}(${quote(v.text)})`;
  }
}

// JSON; with `implicit` a random generator that sometimes leaves escapes out.
export function valueJson(v, implicit = null) {
  switch (v.k) {
    case 'Long': return v.v;
    case 'String': return v.v;
    case 'Bool': return v.v;
    case 'Entity': {
      const ref = { type: v.type, id: v.id };
      return implicit?.chance(0.5) ? ref : { __entity: ref };
    }
    case 'Set': return v.items.map((item) => valueJson(item, implicit));
    case 'Record': return Object.fromEntries(Object.entries(v.fields).map(
      ([name, f]) => [name, valueJson(f, implicit)]));
    default: {
      const call = { fn: CONSTRUCTOR[v.k], arg: v.text };
      if (implicit?.chance(0.6)) return implicit.chance(0.7) ? v.text : call;
      return { __extn: implicit?.chance(0.1) ? { fn: call.fn, args: [v.text] } : call };
    }
  }
}
