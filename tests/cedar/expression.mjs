// SPDX-License-Identifier: Apache-2.0
//
// Random expressions: of the right type by construction, or with mistakes.
// An expression is {s: text, p: precedence}; levels: 0 if, 1 ||, 2 &&,
// 3 relation, 4 sum, 5 product, 6 unary, 7 member.

import { BOOL, LONG, STRING, EXTENSIONS, CONSTRUCTOR, STRINGS, LONGS, entity, setOf, record,
  quote, sameType, valueText, RESERVED } from './values.mjs';

export const BOOLEAN_OPERATORS = ['literal', '.', '==', '!=', '<', '<=', '>', '>=', '&&', '||',
  '!', 'if', 'in', 'in-set', 'has', 'has-path', 'hasTag', 'like', 'is', 'is-in', 'contains',
  'containsAll', 'containsAny', 'isEmpty', 'isIpv4', 'isIpv6', 'isLoopback', 'isMulticast',
  'isInRange', 'lessThan', 'lessThanOrEqual', 'greaterThan', 'greaterThanOrEqual'];
// Operators with other results, and what that result is.
export const OTHER_OPERATORS = {
  neg: LONG, '+': LONG, '-': LONG, '*': LONG, getTag: null, set: null, record: null,
  ip: { k: 'ipaddr' }, decimal: { k: 'decimal' }, datetime: { k: 'datetime' },
  duration: { k: 'duration' }, offset: { k: 'datetime' }, durationSince: { k: 'duration' },
  toDate: { k: 'datetime' }, toTime: { k: 'duration' }, toMilliseconds: LONG, toSeconds: LONG,
  toMinutes: LONG, toHours: LONG, toDays: LONG,
};
export const OPERATORS = [...BOOLEAN_OPERATORS, ...Object.keys(OTHER_OPERATORS)];

const PATTERNS = ['*', 'a*', '*b', 'a*b', '*a*', 'ab', '', '\\*', 'a\\*b', '**', 'h*', '*x', 'a*c*',
  '\\u{e9}*', '*\\n*'];
const atom = (s) => ({ s, p: 7 });
const isWord = (name) => /^[a-z]+$/.test(name) && !RESERVED.has(name);

export class Expressions {
  // options: wrong = chance of a mistake per node, unguarded = chance that an
  // optional attribute is read without asking for it first.
  constructor(world, env, options) {
    this.world = world;
    this.env = env;
    this.rng = world.rng;
    this.values = world.values;
    this.wrong = options.wrong ?? 0;
    this.unguarded = options.unguarded ?? 0;
    this.guards = [];
    this.paths = this.findPaths();
  }

  // --- Attributes and tags that can be reached, by type ---
  findPaths() {
    const out = [];
    const visit = (text, type, guards, depth) => {
      out.push({ s: text, t: type, guards });
      if (depth === 0) return;
      const attrs = type.k === 'Record' ? type.attrs
        : type.k === 'Entity' ? this.world.entities[type.name]?.attrs ?? {} : {};
      for (const [name, a] of Object.entries(attrs)) {
        const access = isWord(name) ? `${text}.${name}` : `${text}[${quote(name)}]`;
        const has = `${text} has ${isWord(name) ? name : quote(name)}`;
        visit(access, a.t, a.req ? guards : [...guards, has], depth - 1);
      }
      const tags = type.k === 'Entity' && this.world.entities[type.name]?.tags;
      if (tags)
        for (const tag of ['t', 'u'])
          visit(`${text}.getTag("${tag}")`, tags, [...guards, `${text}.hasTag("${tag}")`], depth - 1);
    };
    visit('principal', entity(this.env.principal), [], 3);
    visit('resource', entity(this.env.resource), [], 3);
    visit('context', record(this.env.action.context), [], 3);
    out.push({ s: 'action', t: entity(this.env.action.type), guards: [] });
    return out;
  }

  usePath(path) {
    if (!this.rng.chance(this.unguarded))
      for (const g of path.guards) if (!this.guards.includes(g)) this.guards.push(g);
    return atom(path.s);
  }

  path(filter) {
    const found = this.paths.filter(filter);
    return found.length > 0 ? this.rng.pick(found) : null;
  }

  // --- Putting texts together ---
  wrap(e, level) {
    if (e.p < level || this.rng.chance(0.04)) return `(${e.s})`;
    return e.s;
  }
  binary(a, op, b, p) {
    const left = p === 3 ? this.wrap(a, 4) : this.wrap(a, p);
    const right = p === 3 ? this.wrap(b, 4) : this.wrap(b, p + 1);
    return { s: `${left} ${op} ${right}`, p };
  }
  method(receiver, name, ...args) {
    return atom(`${this.wrap(receiver, 7)}.${name}(${args.map((a) => a.s).join(', ')})`);
  }

  // --- Expressions of a type ---
  expr(t, depth) {
    const r = this.rng;
    if (r.chance(this.wrong)) t = this.values.type(1);
    if (t.k === 'Bool') return this.boolean(depth);
    if (depth > 0 && r.chance(0.06))
      return { s: `if ${this.boolean(depth - 1).s} then ${this.expr(t, depth - 1).s} else ` +
        `${this.expr(t, depth - 1).s}`, p: 0 };
    if (r.chance(0.55)) {
      const path = this.path((p) => sameType(p.t, t));
      if (path) return this.usePath(path);
    }
    const kinds = Object.entries(OTHER_OPERATORS).filter(([, result]) => result?.k === t.k);
    if (depth > 0 && kinds.length > 0 && r.chance(0.5)) return this.operator(r.pick(kinds)[0], depth);
    return this.literal(t, depth);
  }

  literal(t, depth) {
    const r = this.rng;
    if (t.k === 'Set' && depth > 0) {
      const items = [];
      for (let n = this.wrong > 0 && r.chance(0.1) ? 0 : r.range(1, 3); n > 0; n--)
        items.push(this.expr(t.el, depth - 1).s);
      return atom(`[${items.join(', ')}${items.length > 0 && r.chance(0.1) ? ',' : ''}]`);
    }
    if (t.k === 'Record' && depth > 0)
      return atom('{' + Object.entries(t.attrs).map(([name, a]) =>
        `${isWord(name) && r.chance(0.7) ? name : quote(name)}: ${this.expr(a.t, depth - 1).s}`)
        .join(', ') + '}');
    if (EXTENSIONS.includes(t.k)) return this.operator(CONSTRUCTOR[t.k], 0);
    let v = this.values.value(t);
    if (v.k === 'Set' && v.items.length === 0 && this.wrong === 0)
      v = { k: 'Set', items: [this.values.value(t.el)] };
    const s = valueText(v);
    return { s, p: s.startsWith('-') ? 6 : 7 };
  }

  entityLiteral(name) {
    const known = this.world.entities[name];
    if (!known) return atom(`${name}::${quote(this.env.action.id)}`);
    return atom(valueText({ k: 'Entity', type: name, id: this.values.id(name) }));
  }

  // --- Operators by name; all results that are not Bool ---
  operator(name, depth) {
    const r = this.rng;
    const d = Math.max(0, depth - 1);
    const x = (k) => this.expr({ k }, d);
    switch (name) {
      case 'neg': return { s: `${r.pick(['-', '-', '--', '---'])}${this.wrap(this.expr(LONG, d), 7)}`, p: 6 };
      case '+': case '-': return this.binary(this.expr(LONG, d), name, this.expr(LONG, d), 4);
      case '*': return this.binary(this.expr(LONG, d), name, this.expr(LONG, d), 5);
      case 'ip': return this.construct('ipaddr', d);
      case 'decimal': case 'datetime': case 'duration': return this.construct(name, d);
      case 'offset': return this.method(x('datetime'), name, x('duration'));
      case 'durationSince': return this.method(x('datetime'), name, x('datetime'));
      case 'toDate': case 'toTime': return this.method(x('datetime'), name);
      default: return this.method(x('duration'), name);
    }
  }

  construct(k, depth) {
    const r = this.rng;
    if (this.wrong > 0 && r.chance(0.05))
      return atom(`${CONSTRUCTOR[k]}(${quote(this.values.badText(k))})`);
    if (this.wrong > 0 && depth > 0 && r.chance(0.03))
      return atom(`${CONSTRUCTOR[k]}(${this.expr(STRING, depth - 1).s})`);
    if (this.wrong > 0 && r.chance(0.01)) return atom(`${CONSTRUCTOR[k]}()`);
    return atom(valueText(this.values.value({ k })));
  }

  // --- Booleans; guards that operands need are put before them ---
  boolean(depth, operator = null) {
    const outer = this.guards;
    this.guards = [];
    let e = this.relation(depth, operator ?? this.chooseOperator(depth));
    for (const guard of [...this.guards].reverse()) {
      const left = { s: guard, p: guard.includes(' has ') ? 3 : 7 };
      e = { s: `${this.wrap(left, 2)} && ${this.wrap(e, 3)}`, p: 2 };
    }
    this.guards = outer;
    return e;
  }

  chooseOperator(depth) {
    return depth > 0 ? this.rng.pick(BOOLEAN_OPERATORS) : this.rng.pick(['literal', '.', '==', 'is', 'has', '<']);
  }

  comparable(depth) { return this.values.type(Math.min(depth, 1)); }

  relation(depth, name) {
    const r = this.rng;
    const d = Math.max(0, depth - 1);
    if (name in OTHER_OPERATORS) return this.useOperator(name, depth);
    switch (name) {
      case 'literal': return atom(r.pick(['true', 'false']));
      case '.': {
        const path = this.path((p) => p.t.k === 'Bool');
        return path ? this.usePath(path) : this.relation(depth, '==');
      }
      case '==': case '!=': {
        const t = r.chance(0.3) ? this.rng.pick(this.paths).t : this.comparable(depth);
        return this.binary(this.expr(t, d), name, this.expr(t, d), 3);
      }
      case '<': case '<=': case '>': case '>=': {
        const t = { k: r.pick(['Long', 'Long', 'datetime', 'duration']) };
        return this.binary(this.expr(t, d), name, this.expr(t, d), 3);
      }
      case '&&': case '||': {
        const p = name === '&&' ? 2 : 1;
        let e = this.boolean(d);
        for (let n = r.range(1, 2); n > 0; n--) e = this.binary(e, name, this.boolean(d), p);
        return e;
      }
      case '!': return { s: `${r.pick(['!', '!', '!!'])}${this.wrap(this.boolean(d), 7)}`, p: 6 };
      case 'if': return { s: `if ${this.boolean(d).s} then ${this.boolean(d).s} else ${this.boolean(d).s}`, p: 0 };
      default: return this.question(depth, name);
    }
  }

  question(depth, name) {
    const r = this.rng;
    const d = Math.max(0, depth - 1);
    const ip = { k: 'ipaddr' }, decimal = { k: 'decimal' };
    switch (name) {
      case 'in': case 'in-set': return this.membership(name, d);
      case 'is': case 'is-in': return this.typeTest(name, d);
      case 'has': case 'has-path': return this.hasAttribute(name, d);
      case 'hasTag': {
        const e = this.entityExpr(d);
        const tag = r.chance(0.7) ? r.pick(['"t"', '"u"', '"a b"']) : this.expr(STRING, d).s;
        return atom(`${this.wrap(e, 7)}.hasTag(${tag})`);
      }
      case 'like': return { s: `${this.wrap(this.expr(STRING, d), 4)} like "${r.pick(PATTERNS)}"`, p: 3 };
      case 'contains': {
        const path = r.chance(0.5) && this.path((p) => p.t.k === 'Set');
        const t = path ? path.t.el : this.comparable(d);
        return this.method(path ? this.usePath(path) : this.expr(setOf(t), d), name, this.expr(t, d));
      }
      case 'containsAll': case 'containsAny': {
        const path = r.chance(0.5) && this.path((p) => p.t.k === 'Set');
        const t = path ? path.t : setOf(this.comparable(d));
        return this.method(path ? this.usePath(path) : this.expr(t, d), name, this.expr(t, d));
      }
      case 'isEmpty': {
        const path = r.chance(0.7) && this.path((p) => p.t.k === 'Set');
        return this.method(path ? this.usePath(path) : this.expr(setOf(this.comparable(d)), d), name);
      }
      case 'isInRange': return this.method(this.expr(ip, d), name, this.expr(ip, d));
      case 'isIpv4': case 'isIpv6': case 'isLoopback': case 'isMulticast':
        return this.method(this.expr(ip, d), name);
      default: return this.method(this.expr(decimal, d), name, this.expr(decimal, d));
    }
  }

  entityExpr(d) {
    const path = this.path((p) => p.t.k === 'Entity');
    if (path && this.rng.chance(0.8)) return this.usePath(path);
    return this.expr(entity(this.rng.pick(this.world.entityNames)), d);
  }

  membership(name, d) {
    const r = this.rng;
    const left = this.entityExpr(d);
    const found = this.paths.find((p) => p.s === left.s);
    const up = found && this.world.entities[found.t.name]
      ? [found.t.name, ...this.world.typesAbove(found.t.name)] : this.world.entityNames;
    const type = r.chance(0.85) ? r.pick(up) : r.pick(this.world.entityNames);
    const target = () => (left.s === 'action'
      ? this.actionLiteral()
      : r.chance(0.8) ? this.entityLiteral(type) : this.expr(entity(type), d));
    if (name === 'in') return this.binary(left, 'in', target(), 3);
    const items = [];
    for (let n = r.range(1, 3); n > 0; n--) items.push(target().s);
    return { s: `${this.wrap(left, 4)} in [${items.join(', ')}]`, p: 3 };
  }

  actionLiteral() {
    const a = this.rng.pick(this.world.actions);
    return atom(`${a.type}::${quote(a.id)}`);
  }

  typeTest(name, d) {
    const r = this.rng;
    const left = this.entityExpr(d);
    const found = this.paths.find((p) => p.s === left.s);
    const type = found && r.chance(0.6) ? found.t.name : r.pick(this.world.entityNames);
    let s = `${this.wrap(left, 4)} is ${type}`;
    if (name === 'is-in')
      s += ` in ${this.wrap(r.chance(0.7) ? this.entityLiteral(r.pick(this.world.entityNames)) : this.entityExpr(d), 4)}`;
    return { s, p: 3 };
  }

  hasAttribute(name, d) {
    const r = this.rng;
    const path = this.path((p) => p.t.k === 'Entity' || p.t.k === 'Record');
    const attrs = (t) => (t.k === 'Record' ? t.attrs : this.world.entities[t.name]?.attrs ?? {});
    const base = this.usePath(path);
    let t = path.t;
    const names = [];
    for (let n = name === 'has' ? 1 : r.range(2, 3); n > 0; n--) {
      const known = Object.keys(t.k === 'Record' || t.k === 'Entity' ? attrs(t) : {});
      const usable = name === 'has' ? known : known.filter(isWord);
      const attr = usable.length > 0 && r.chance(0.85) ? r.pick(usable) : r.pick(['a', 'zz', 'name']);
      names.push(attr);
      t = attrs(t)?.[attr]?.t ?? LONG;
      if (t.k !== 'Record' && t.k !== 'Entity' && !(this.wrong > 0 && r.chance(0.5))) break;
    }
    const text = names.length === 1
      ? (isWord(names[0]) && r.chance(0.7) ? names[0] : quote(names[0])) : names.join('.');
    return { s: `${this.wrap(base, 4)} has ${text}`, p: 3 };
  }

  // A relation that an operator with another result decides.
  useOperator(name, depth) {
    const r = this.rng;
    const d = Math.max(1, depth);
    const t = OTHER_OPERATORS[name];
    if (name === 'getTag') {
      const path = this.path((p) => p.s.endsWith(')') && p.guards.length > 0);
      if (!path) return this.relation(depth, 'hasTag');
      return this.binary(this.usePath(path), '==', this.expr(path.t, d - 1), 3);
    }
    if (name === 'set' || name === 'record') {
      const inner = this.comparable(d);
      const made = name === 'set' ? setOf(inner) : record({ a: { t: inner, req: true }, b: { t: LONG, req: true } });
      return this.binary(this.literal(made, d), r.pick(['==', '!=']), this.expr(made, d), 3);
    }
    const e = this.operator(name, d);
    if (t.k === 'ipaddr')
      return this.method(e, 'isInRange', this.expr(t, d - 1));
    if (t.k === 'decimal') return this.method(e, r.pick(['lessThan', 'greaterThanOrEqual']), this.expr(t, d - 1));
    return this.binary(e, r.pick(['<', '<=', '==', '!=', '>', '>=']), this.expr(t, d - 1), 3);
  }
}

export { STRINGS, LONGS, BOOL };
