// SPDX-License-Identifier: Apache-2.0
//
// Small cases that dwell on one subject: schemas with names that collide,
// guards of optional attributes, texts of extension values, references,
// template links, sets and the hierarchy.

const uid = (type, id) => ({ type, id });

// --- Schemas: the same few names everywhere ---
const NAMES = ['A', 'B', 'C', 'Long', 'String', 'Bool', 'ipaddr', 'Set', 'T', 'type', 'entity', 'decimal', 'T', 'T', 'Action', 'Record', 'in'];
const SPACES = ['', '', 'N', 'M', 'N', 'M', '', 'N::O', 'Action', '__cedar'];

class SchemaText {
  constructor(rng) {
    this.rng = rng;
    this.free = rng.sample(['D', 'E', 'F', 'G', 'Long', 'ipaddr', 'T', 'type', 'Bool', 'decimal', 'H', 'I'], 12);
    this.used = ['A'];
  }
  // A name to declare: mostly one that is not taken.
  name() {
    const name = this.rng.chance(0.96) && this.free.length > 0 ? this.free.pop()
      : this.rng.pick(this.rng.chance(0.5) ? NAMES.slice(0, 3) : NAMES);
    this.used.push(name);
    return name;
  }
  ref() {
    const r = this.rng;
    if (r.chance(0.3)) return r.pick(['Long', 'String', 'Bool', 'Long', 'ipaddr', '__cedar::Long']);
    return r.chance(0.06) ? `${r.pick(['N', 'M', 'N::O', '__cedar', 'Action'])}::${r.pick(this.used)}` : r.pick(this.used);
  }
  type(depth) {
    return depth > 0 && this.rng.chance(0.4) ? this.compound(depth) : this.ref();
  }
  compound(depth) { return this.rng.chance(0.5) ? `Set<${this.type(depth - 1)}>` : this.record(depth - 1); }
  record(depth) {
    const r = this.rng;
    const attrs = [];
    for (let n = r.below(4); n > 0; n--)
      attrs.push(`${r.chance(0.1) ? '@x ' : ''}${r.pick(r.chance(0.02) ? ['in', '1', 'a.b'] : ['a', 'b', '"a"', '"b c"', '"in"', 'c', 'd'])}${r.chance(0.3) ? '?' : ''}: ${this.type(depth)}`);
    return `{${attrs.join(', ')}${attrs.length > 0 && r.chance(0.2) ? ',' : ''}}`;
  }
  list(make, p = 0.5) {
    const r = this.rng;
    if (r.chance(p)) return make();
    const items = [];
    for (let n = r.weighted([[1, 0], [6, 1], [4, 2]]); n > 0; n--) items.push(make());
    return `[${items.join(', ')}]`;
  }
  action() { return this.rng.pick(['v', 'w', '"v"', '"w x"', 'A', 'Action']); }
  declaration() {
    const r = this.rng;
    const note = r.chance(0.1) ? r.pick(['@a ', '@a("x") ', '@a @b ', '@b ', '@b("") ', '@a @a ']) : '';
    switch (r.weighted([[4, 'entity'], [3, 'type'], [3, 'action'], [1, 'enum']])) {
      case 'entity':
        return `${note}entity ${this.name()}${r.chance(0.1) ? ', ' + this.name() : ''}` +
          `${r.chance(0.4) ? ' in ' + this.list(() => this.ref()) : ''}` +
          `${r.chance(0.5) ? r.pick([' ', ' = ']) + this.record(1) : ''}` +
          `${r.chance(0.2) ? ' tags ' + this.type(1) : ''};`;
      case 'enum':
        return `${note}entity ${this.name()} enum [${r.pick(['"a"', '"a", "b"', '"a", "a"', '', '"a",', 'a'])}];`;
      case 'type': return `${note}type ${this.name()} = ${this.type(2)};`;
      default: {
        const parent = () => r.pick(['v', 'w', '"v"', '"w x"', 'Action::"v"', 'N::Action::"v"', 'M::Action::"w"', 'A::"v"']);
        const context = r.chance(0.5) ? `, context: ${r.chance(0.5) ? this.record(1) : this.ref()}` : '';
        return `${note}action ${this.action()}${r.chance(0.1) ? ', ' + this.action() : ''}` +
          `${r.chance(0.3) ? ' in ' + this.list(parent) : ''}` +
          `${r.chance(0.5) ? ` appliesTo { principal: ${this.list(() => this.ref())}, resource: ${this.list(() => this.ref())}${context}${r.chance(0.2) ? ',' : ''} }` : ''};`;
      }
    }
  }
  text() {
    const r = this.rng;
    const parts = [];
    if (r.chance(0.8)) {
      // Something sound to stand on, so that the rest may hold.
      const space = r.pick(SPACES.slice(0, 7));
      const rest = ['A', 'B', 'C'].slice(0, r.range(1, 3)).map((n) => `entity ${n}${r.chance(0.3) ? ' in A' : ''} ${this.record(1)};`);
      parts.push(space ? `namespace ${space} { ${rest.join(' ')} action v appliesTo { principal: A, resource: A }; }` : rest.join(' '));
    }
    for (let n = r.range(1, 2); n > 0; n--) {
      const body = [];
      for (let k = r.weighted([[5, 1], [3, 2], [1, 4]]); k > 0; k--) body.push(this.declaration());
      const space = r.pick(SPACES);
      parts.push(space ? `namespace ${space} { ${body.join('\n')} }` : body.join('\n'));
    }
    return parts.join('\n');
  }
}

// What the schema means shows in what validates against it.
function schemaCase(rng) {
  const s = new SchemaText(rng);
  const types = ['A', 'B', 'N::A', 'N::B', 'M::A', 'C', 'Long'];
  const tests = ['principal.a == 1', 'principal.a == "x"', 'principal.a', 'principal.a == principal', 'principal.a.a == 1',
    'principal.a.contains(1)', 'principal has b', 'principal.b', 'principal in resource', 'resource in principal',
    'context.a == 1', 'context.a', 'context has a.b', 'principal.hasTag("t")', 'principal.a.isIpv4()', 'action in Action::"v"',
    'principal in A::"x"', 'resource is N::A', 'principal.a == context.a', 'principal.a in principal', '[principal, resource].contains(principal)'];
  const policies = [];
  for (let n = rng.range(1, 3); n > 0; n--)
    policies.push(`permit(principal${rng.chance(0.4) ? ' is ' + rng.pick(types) : ''}, action, resource) when { ${rng.pick(tests)} };`);
  const schema = s.text();
  return { policies: policies.join('\n'), schema, validate: true,
    entities: rng.chance(0.5) ? [] : [{ uid: uid(rng.pick(types), 'a'), attrs: rng.pick([{}, { a: 1 }, { a: 'x' }]),
      parents: rng.pick([[], [uid(rng.pick(types), 'p')]]) }],
    requests: [{ principal: uid(rng.pick(types), 'a'), action: uid(rng.pick(['Action', 'N::Action']), rng.pick(['v', 'w'])),
      resource: uid(rng.pick(types), 'b'), validate_request: rng.chance(0.5) }] };
}

// --- Guards: which reads are safe ---
const GUARD_SCHEMA = `entity G { a?: Long, b?: Bool }; entity U in G { a?: Long, b: Bool, g?: G, r?: {x?: Long, y: {z?: Bool}} } tags String;
entity E enum ["e"]; action v appliesTo { principal: [U, G], resource: U, context: {a?: Long, r: {t: String, x?: {y?: Long}}, s?: String} }; action w in v appliesTo {principal: U, resource: G};`;
const ATOMS = ['principal has a', 'principal.a == 1', 'principal has b', 'principal.b', 'principal has g', 'principal.g has a',
  'principal.g.a == 1', 'principal has g.a', 'principal has r', 'principal has r.x', 'principal.r.x == 1', 'principal has r.y.z',
  'principal.r.y.z', 'principal.r.y has z', 'principal["a"] == 1', 'principal has "a"', 'context has a', 'context.a == 1', 'context has r',
  'context.r has x', 'context has r.x', 'context.r.x has y', 'context has r.x.y', 'context.r.x.y == 1', 'context.r.x == {y: 1}',
  'resource has a', 'resource.a == principal.a', 'principal.hasTag("t")', 'principal.getTag("t") == "x"', 'principal.hasTag(context.s)',
  'principal.getTag(context.s) == "x"', 'context has s', 'context.s == "t"', 'principal.hasTag("t" )', 'resource.hasTag("t")', 'resource.getTag("t") == "x"',
  'true', 'false', 'principal is U', 'principal is G', 'principal == resource', 'principal in G::"a"', 'resource is G', 'action == Action::"v"',
  'action in Action::"v"', 'principal == E::"e"', 'principal in [G::"a", G::"b"]', 'resource in principal', 'principal has zz', 'principal.zz == 1',
  '(if principal has a then principal else principal) has a', '{a: principal}.a has a', '{a: principal}.a.a == 1', 'U::"a" has a', 'U::"a".a == 1',
  '[principal].contains(principal)', 'action has a', 'principal has a && principal.a == 1', '[principal.a].contains(1)', '{x: principal.a} == {x: 1}',
  'ip("1.1.1.1").isIpv4()', 'ip("x").isIpv4()', '1 < "a"', '[] == []', 'principal.a + 1 == 2', '1 == "a"', '[1] == ["a"]', 'principal == 1', 'U::"a" == U::"b"'];
function guards(rng, depth) {
  if (depth === 0 || rng.chance(0.15)) return rng.pick(ATOMS);
  const x = () => guards(rng, depth - 1);
  switch (rng.weighted([[6, 'and'], [3, 'or'], [1, 'not'], [2, 'if'], [0.5, 'eq']])) {
    case 'and': return `(${x()} && ${x()}${rng.chance(0.3) ? ' && ' + x() : ''})`;
    case 'or': return `(${x()} || ${x()}${rng.chance(0.2) ? ' || ' + x() : ''})`;
    case 'not': return `!(${x()})`;
    case 'if': return `(if ${x()} then ${x()} else ${x()})`;
    default: return `((${x()}) == (${x()}))`;
  }
}
// One rule of the type checker each; alone, so that no other error hides it.
const SINGLES = [...ATOMS, 'ip(context.r.t).isIpv4()', 'decimal(context.r.t) == decimal("1.0")', 'datetime(if principal == resource then "2024-01-01" else "2024-01-02") < datetime("2024-01-03")', 'decimal("1.0") < decimal("2.0")', 'decimal("1.0").lessThan(decimal("2.0"))',
  'duration("1h") < 1', 'duration("1h") < duration("2h")', 'datetime("2024-01-01") <= datetime("2024-01-02")', 'datetime("2024-13-01") == datetime("2024-01-02")',
  'datetime("2024-01-01") < duration("1h")', 'context.r.t like "a*"', 'context.r.t < "b"', '1 like "a"', '[].isEmpty()', '[1, "a"].isEmpty()', '[1].isEmpty()',
  '{a: 1} == {a: "x"}', '{a: 1} == {b: 1}', '{a: 1} == {a: 2}', '{a: 1}.a == 1', '{a: 1}.b == 1', 'context.r == {t: "x"}', 'context.r == {t: "x", x: {y: 1}}',
  '[1].contains("a")', '[1].contains(2)', '[1].containsAll(["a"])', '[1].containsAny([2])', '[[1]].contains([2])', '[context.r].contains({t: "x"})', '1.contains(1)',
  'principal is U in G::"a"', 'principal is G in U::"a"', 'action == Action::"w"', 'action in [Action::"v", Action::"w"]', 'action in [Action::"w"]', 'action in action',
  '-(1) < 2', '-principal.b == 1', '1 + "a" == 2', '1 * true == 1', '!1', '!(principal == resource)', '"a" in principal', 'principal in 1', 'principal in ["a"]',
  'principal in [G::"a", E::"e"]', 'principal in [G::"a", G::"b"]', 'principal in [resource]', 'E::"zz" == E::"e"', 'E::"e" == E::"f"', 'Zz::"a" == principal',
  'action == Action::"zz"', 'principal is Zz', 'principal.hasTag(1)', 'principal.hasTag("t")', 'G::"a".hasTag("t")', 'ip("::1").isInRange("::1")',
  'ip("::1").isInRange(ip("::/0"))', 'ip("::1").isInRange()', 'decimal("1.00000") == decimal("1.0")', 'decimal("1.0") == 1', 'ip("1.1.1.1") == ip("::1")',
  'if principal == resource then 1 == 1 else 2 == 2', '(if principal == resource then 1 else "a") == 1', '(if true then 1 else "a") == 1', 'if 1 then true else false',
  '(if principal == resource then [1] else [2]).contains(1)', '(if principal == resource then {a: 1} else {a: true}) == {a: 1}', '1 || true', 'true || 1', 'false && 1', 'true && 1',
  'principal == resource && 1', 'principal == resource || 1', 'false && principal.zz', 'false && Zz::"a" == principal', 'true || principal is Zz', 'false && E::"zz" == E::"e"',
  'if false then principal.zz else true', 'principal has a.b', 'principal has g.g', 'principal has r.x.y', '"a" has b', '1 == 1', '"a" == "a"', 'true == false', 'context.r.t.a == 1',
  'datetime("2024-01-01").offset(duration("1h")) == datetime("2024-01-01")', 'datetime("2024-01-01").offset(1) == datetime("2024-01-01")', 'duration("1h").toDays() == 1', 'datetime("2024-01-01").toDate() == duration("1h")'];

// The same optional thing asked for and read, in every connection.
const PAIRS = [['principal has a', 'principal.a == 1'], ['context has a', 'context.a == 1'], ['context.r has x', 'context.r.x has y'], ['context has r.x', 'context.r.x has y'],
  ['principal.hasTag("t")', 'principal.getTag("t") == "x"'], ['principal has g.a', 'principal.g.a == 1'], ['principal has r', 'principal.r has x'], ['principal has "a"', 'principal["a"] > 1'],
  ['principal.hasTag(context.r.t)', 'principal.getTag(context.r.t) == "x"'], ['resource has g', 'resource.g == G::"a"']];
function paired(rng, pair, depth) {
  const x = () => paired(rng, pair, depth - 1);
  if (depth === 0 || rng.chance(0.2)) return rng.weighted([[4, pair[0]], [3, pair[1]], [2, 'principal == resource'], [1, 'true'], [1, 'false']]);
  return rng.weighted([[5, () => `(${x()} && ${x()})`], [4, () => `(${x()} || ${x()})`], [1.5, () => `!(${x()})`], [3, () => `(if ${x()} then ${x()} else ${x()})`]])();
}

// What is known to be true or false excuses what follows it.
function folded(rng) {
  const test = rng.chance(0.7) ? rng.pick(ATOMS) : rng.pick(SINGLES);
  const wrong = 'principal.zz == 1';
  return rng.pick([`(${test}) && ${wrong}`, `(${test}) || ${wrong}`, `!(${test}) && ${wrong}`, `!(${test}) || ${wrong}`,
    `if ${test} then ${wrong} else true`, `if ${test} then true else ${wrong}`, `(${test} && ${rng.pick(ATOMS)}) && ${wrong}`,
    `(${test} || ${rng.pick(ATOMS)}) || ${wrong}`]);
}

// H asks, A reads, T is anything: where does what H says hold?
const FORMS = ['!(H) && A', '!(H) || A', '!!(H) && A', '!(!(H)) && A', '(H || true) && A', '(true || H) && A', '(H && false) || A', '(false && H) || A',
  '(if H then true else false) && A', '(if H then A else true) && A', '(if T then H else H) && A', '(if !(H) then false else true) && A', 'H || A', 'A && H', '(H == true) && A',
  '[H].contains(true) && A', '(H || A) && A', '(H && T) && A', '(T && H) && A', '(T || H) && A', '(H || T) && A', '(H || H) && A', 'if H then A else A', 'if !(H) then A else true',
  'if H then A else T', 'if H then A else false', 'if T && H then A else T', '(if H then A else true) && T', 'if !(H) then T else A', 'H && A', 'H && (A || T)', 'H && (T || A)',
  '(if T then H else false) && A', '(if T then false else H) && A', '(if T then H else true) && A', '(if H then T else H) && A', '(if T then T else H) && A', 'T || (H && A)',
  'T && H && A', '(H && A) || A', '(T || (H && T)) && A', '(H && T) || (H && A)', 'if T then (H && A) else A', '(H || (T && H)) && A', '!(H && T) || A', '!(H || T) && A'];
const form = (rng, [H, A]) => rng.pick(FORMS).replace(/\b[HAT]\b/g, (x) => (x === 'H' ? H : x === 'A' ? A : 'principal == resource'));

const conditionOf = (rng, mode) => {
  if (mode === 'pair' && rng.chance(0.5)) return form(rng, rng.pick(PAIRS));

  if (mode === 'single') return rng.chance(0.65) ? rng.pick(SINGLES) : folded(rng);
  if (mode === 'pair') return rng.chance(0.4)
    ? ((pair) => `${paired(rng, pair, 2)} && ${pair[1]}`)(rng.pick(PAIRS)) : paired(rng, rng.pick(PAIRS), 3);
  return guards(rng, rng.range(1, 3));
};
function guardCase(rng) {
  const mode = rng.pick(['single', 'single', 'pair', 'pair', 'mixed']);
  const scope = () => (mode !== 'mixed' && rng.chance(0.8) ? 'principal is U'
    : rng.pick(['principal', 'principal is U', 'principal is G', 'principal == U::"a"', 'principal in G::"a"', 'principal is U in G::"a"']));
  const policies = [];
  for (let n = mode === 'mixed' ? rng.range(1, 2) : 1; n > 0; n--) {
    let text = `${rng.pick(['permit', 'forbid'])}(${scope()}, ${rng.pick(['action', 'action == Action::"v"', 'action in Action::"v"', 'action in [Action::"w"]'])}, ${mode === 'pair' ? 'resource is U' : rng.pick(['resource', 'resource is U', 'resource is G'])})`;
    const pair = rng.pick(PAIRS);
    for (let k = rng.range(1, mode === 'mixed' ? 3 : 2); k > 0; k--)
      text += ` ${rng.chance(0.8) ? 'when' : 'unless'} { ${mode === 'pair' && rng.chance(0.4) ? pair[k - 1] : conditionOf(rng, mode)} }`;
    policies.push(text + ';');
  }
  return { policies: policies.join('\n'), schema: GUARD_SCHEMA, validate: true,
    entities: [{ uid: uid('U', 'a'), attrs: rng.pick([{ b: true }, { b: false, a: 1 }, { b: true, g: uid('G', 'a'), r: { y: {} } }]), parents: [uid('G', 'a')], tags: rng.pick([{}, { t: 'x' }]) },
      { uid: uid('G', 'a'), attrs: rng.pick([{}, { a: 1 }]), parents: [] }],
    requests: [{ principal: uid('U', 'a'), action: uid('Action', 'v'), resource: uid('U', 'a'), context: { r: rng.pick([{ t: 't' }, { t: 'x', x: {} }, { t: '', x: { y: 1 } }]), ...rng.pick([{}, { a: 1 }, { s: 't' }]) } },
      { principal: uid('G', 'a'), action: uid('Action', 'v'), resource: uid('U', 'b'), context: { r: { t: 't' } } }] };
}

// --- Texts of extension values, a character off ---
const SEEDS = { ip: ['1.2.3.4', '10.0.0.0/8', '::1', 'fe80::1/64', '1:2:3:4:5:6:7:8', '::ffff:0:0/96', '255.255.255.255/32', '2001:db8::/32', '0.0.0.0/0',
    '10.0.0.0/08', '::/00', '1:2:3:4:5:6:7::', '1:2:3:4:5:6:7::8', '::2:3:4:5:6:7:8', '::1:2:3:4:5:6:7:8', '127.0.0.0/8', '127.0.0.0/7', '224.0.0.0/4', '10.1.2.3/9'],
  decimal: ['1.5', '-0.0001', '922337203685477.5807', '-922337203685477.5808', '0.0', '00012.34', '922337203685477.5808',
    '-922337203685477.5809', '1.00000'],
  datetime: ['2024-02-29', '2023-12-31T23:59:59Z', '1970-01-01T00:00:00.001+2359', '0000-02-29', '9999-12-31T00:00:00-0100', '2024-01-01T12:30:45.678Z',
    '1900-02-29', '2000-02-29', '2100-02-28', '2023-02-29', '2024-04-31', '2024-01-01T24:00:00Z', '2024-01-01T23:60:00Z', '2024-01-01T00:00:00+2400'],
  duration: ['1d2h3m4s5ms', '-1d', '90s', '9223372036854775807ms', '106751991167d7h12m55s807ms', '5m5ms', '0ms', '-106751991167d',
    '-1ms', '-999ms', '-1500ms', '-61s', '-3601s', '-25h', '1h1h', '1ms1ms', '1s1m', '1999ms', '119s', '2h59m59s', '1d23h'] };
const METHODS = { ip: ['.isIpv4()', '.isIpv6()', '.isLoopback()', '.isMulticast()', '.isInRange(X)', ' == X'],
  decimal: ['.lessThan(X)', '.greaterThan(X)', '.lessThanOrEqual(X)', '.greaterThanOrEqual(X)', ' == X', ' < X'],
  datetime: [' < X', ' >= X', ' == X', '.toDate() == X', '.toTime() == duration("1h")', '.offset(duration("1d")) > X', '.durationSince(X).toDays() == 0', '.durationSince(X) < duration("1d")'],
  duration: [' < X', ' <= X', ' == X', '.toDays() == 1', '.toHours() > 1', '.toMinutes() < 2', '.toSeconds() == -90', '.toMilliseconds() > 0',
    '.toSeconds() == 0', '.toSeconds() == -1', '.toSeconds() == 1', '.toMinutes() == -1', '.toMinutes() == 1', '.toHours() == -1', '.toHours() == 2', '.toDays() == -1'] };
function extensionText(rng, kind) {
  let text = rng.pick(SEEDS[kind]);
  for (let n = rng.weighted([[4, 0], [4, 1], [2, 2]]); n > 0; n--) {
    const at = rng.below(text.length + 1);
    const c = rng.pick([...'0123456789:./-+TZdhms', 'ff', '::', ' ', 'a', '00', '\u0663', 'e']);
    text = rng.pick([text.slice(0, at) + c + text.slice(at), text.slice(0, at) + text.slice(at + 1),
      text.slice(0, at) + c + text.slice(at + 1)]);
  }
  return text;
}
// Something near it: the same, another prefix, other digits at the end.
function near(rng, kind, text) {
  if (kind === 'ip') return text.replace(/\/.*$/, '') + rng.pick(['', '', '/0', '/8', '/24', '/31', '/32', '/127', '/128']);
  return rng.chance(0.3) ? text : text.replace(/[0-9](?=[^0-9]*$)/, () => String(rng.below(10)));
}
function extensionCase(rng) {
  const policies = [];
  const validated = rng.chance(0.3); // one wrong text makes the whole set wrong
  for (let n = validated ? 1 : 6; n > 0; n--) {
    const kind = rng.pick(Object.keys(SEEDS));
    const sound = rng.chance(0.5);
    const first = sound ? rng.pick(SEEDS[kind]) : extensionText(rng, kind);
    const second = validated || sound || rng.chance(0.4) ? near(rng, kind, first) : extensionText(rng, kind);
    const method = rng.pick(METHODS[kind]).replace('X', `${kind}("${second}")`);
    policies.push(`permit(principal, action, resource) when { ${kind}("${first}")${method} };`);
  }
  const kind = rng.pick(Object.keys(SEEDS));
  const line = { policies: policies.join('\n'),
    requests: [{ principal: uid('U', 'a'), action: uid('Action', 'v'), resource: uid('U', 'a'),
      context: { x: { __extn: { fn: kind, arg: extensionText(rng, kind) } } } }] };
  if (validated) {
    line.schema = `entity U; action v appliesTo { principal: U, resource: U, context: {x?: ${kind === 'ip' ? 'ipaddr' : kind}} };`;
    line.validate = true;
    if (rng.chance(0.5)) line.requests[0].context = { x: extensionText(rng, kind) };
  }
  return line;
}

// --- Sets, hierarchy, patterns: plain evaluation on small domains ---
const ITEMS = ['1', '2', '"a"', 'true', '[1]', '[]', '{}', '{a: 1}', 'U::"a"', 'U::"b"', 'ip("1.2.3.4")', 'ip("1.2.3.4/32")', 'decimal("1.0")', 'decimal("1.00")', '[1, 2]', '[2, 1]', '[1, 1]', 'context.set', 'principal', 'action'];
const HAYSTACKS = ['aXbXc', 'abc', '', 'a', '*', 'a*b', '\u{1F600}\u{1F600}', '\u00e9', 'aaa', 'abab', 'ab', 'aa', 'abc', 'a\\\\b', 'x\\ny'];
const NEEDLES = ['*', 'a*', '*a', '*b*', 'a*b*', '\\*', 'a\\**', '**', 'a**b', '\u{1F600}*', '*\u{1F600}', '*\\u{e9}', 'aa*', '*aa', '*ab', 'ab*ab', '*a*a*', 'a*a', 'aa*aa', 'ab*b', 'a*bc', '*b*a*', '', 'a\\\\*', 'x\\n*', '*\\0*'];
// A text and a pattern made of its parts, which fits or nearly does.
function likePair(rng) {
  let text = '';
  for (let n = rng.below(5); n > 0; n--) text += rng.pick(['a', 'b', 'a', '*', 'ab', '\u00e9']);
  const parts = [];
  for (let n = rng.range(1, 4); n > 0; n--) {
    const from = rng.below(text.length + 1);
    parts.push(text.slice(from, from + rng.below(3)).replace(/\*/g, () => (rng.chance(0.9) ? '\\*' : '*')));
  }
  if (rng.chance(0.5)) parts[0] = text.slice(0, rng.below(text.length + 1)).replace(/\*/g, '\\*');
  if (rng.chance(0.5)) parts[parts.length - 1] = text.slice(rng.below(text.length + 1)).replace(/\*/g, '\\*');
  return `"${text}" like "${parts.join('*')}"`;
}
function evaluationCase(rng) {
  const set = () => `[${rng.sample(ITEMS, rng.below(5)).join(', ')}]`;
  const entity = () => rng.pick(['U::"a"', 'U::"b"', 'G::"g"', 'G::"h"', 'G::"zz"', 'principal', 'resource', 'action', 'Action::"v"', 'context.u', 'U::"a"']);
  const long = () => rng.pick(['0', '1', '-1', '9223372036854775807', '-9223372036854775808', 'context.n', '3037000500', '4611686018427387904']);
  const make = () => rng.pick([
    () => `${set()} == ${set()}`, () => `${set()} != ${set()}`, () => `${set()}.contains(${rng.pick(ITEMS)})`,
    () => `${set()}.containsAll(${set()})`, () => `${set()}.containsAny(${set()})`, () => `${set()}.isEmpty()`,
    () => `${rng.pick(ITEMS)} == ${rng.pick(ITEMS)}`, () => `${entity()} in ${entity()}`,
    () => `${entity()} in [${rng.sample([entity(), entity(), entity(), rng.pick(['1', '"a"', 'true', '[1]', '{a: 1}', 'ip("::1")'])], rng.below(4)).join(', ')}]`,
    () => `${entity()} is ${rng.pick(['U', 'G', 'Action', 'Zz'])}`, () => `${entity()} is ${rng.pick(['U', 'G'])} in ${entity()}`,
    ...Array(3).fill(() => likePair(rng)), ...Array(2).fill(() => `"${rng.pick(HAYSTACKS)}" like "${rng.pick(NEEDLES)}"`), () => `${rng.pick(ITEMS)} like "*"`,
    () => `${long()} ${rng.pick(['+', '-', '*'])} ${long()} ${rng.pick(['<', '==', '>='])} ${long()}`,
    () => `-(${long()}) < ${long()}`, () => `${long()} * ${long()} ${rng.pick(['+', '-'])} ${long()} == ${long()}`,
    () => `${entity()} has ${rng.pick(['a', 'b', 'r', 'r.x', 'r.x.y', 'a.b'])}`, () => `${entity()}.a == 1`, () => `${entity()}.hasTag(${rng.pick(['"t"', '"u"', '1'])})`,
    () => `${entity()}.getTag("t") == ${rng.pick(ITEMS)}`, () => `${rng.pick(['true', 'false', '1', 'principal.zz'])} ${rng.pick(['&&', '||'])} ${rng.pick(['true', 'false', '1', 'principal.zz'])}`,
    () => `if ${rng.pick(['true', 'false', '1', 'principal.zz'])} then ${rng.pick(['true', '1', 'principal.zz'])} else ${rng.pick(['true', 'false', '1', 'principal.zz'])}`,
    () => `context.r.x == 1`, () => `context has ${rng.pick(['n', 'zz', 'r.x', 'n.x', 'set.a'])}`, () => `{a: 1, b: ${rng.pick(ITEMS)}} == {b: ${rng.pick(ITEMS)}, a: 1}`,
  ])();
  const policies = [];
  for (let n = 8; n > 0; n--)
    policies.push(`${rng.chance(0.85) ? 'permit' : 'forbid'}(${rng.pick(['principal', 'principal', 'principal in G::"g"', 'principal == U::"a"', 'principal is U in G::"h"'])}, ${rng.pick(['action', 'action', 'action in Action::"g"', 'action in [Action::"g", Action::"v"]', 'action == Action::"v"', 'action in []'])}, resource) ${rng.pick(['when', 'unless'])} { ${make()} };`);
  return { policies: policies.join('\n'),
    entities: [{ uid: uid('U', 'a'), attrs: { a: 1, r: { x: 1 } }, parents: [uid('G', 'g')], tags: { t: 1 } }, { uid: uid('U', 'b'), attrs: {}, parents: [] },
      { uid: uid('G', 'g'), attrs: { a: 2 }, parents: [uid('G', 'h'), uid('G', 'zz')] }, { uid: uid('G', 'h'), attrs: {}, parents: [] },
      { uid: uid('Action', 'v'), attrs: {}, parents: [uid('Action', 'g')] }],
    requests: ['a', 'b', 'c'].map((id) => ({ principal: uid('U', id), action: uid('Action', rng.pick(['v', 'g', 'x'])), resource: uid('U', 'b'),
      context: { n: rng.pick([1, -1, 9223372036854775807n]), set: [1, 2], u: { __entity: uid('U', 'b') }, r: { x: 1 } } })) };
}

// --- References and links ---
const REFS = ['U::"a"', 'A::B::"a"', 'U::"\\u{61}"', 'U::"\\x61"', 'U::"a', 'U::a', 'U', '', '"a"', 'U::""', 'U::"a\\"b"', '::"a"', 'if::"a"',
  { type: 'U', id: 'a' }, { type: 'A::B', id: '' }, { type: 'U', id: 1 }, { type: 'if', id: 'a' }, { type: ' U', id: 'a' }, { type: 'U' }, { __entity: { type: 'U', id: 'a' } },
  { __entity: 'U::"a"' }, null, 1, [], { type: 'U', id: 'a', x: 1 }, { type: '', id: 'a' }, { type: '__cedar::U', id: 'a' }, { type: 'Action', id: 'v' }];
const isText = (ref) => typeof ref === 'string';
function linkCase(rng) {
  const T = (principal, resource) => ({ effect: 'permit', principal, action: { op: 'All' }, resource, conditions: [] });
  const any = { op: 'All' };
  const templates = { t: T({ op: '==', slot: '?principal' }, any), u: T(any, { op: 'in', slot: '?resource' }),
    v: T({ op: 'in', slot: '?principal' }, { op: 'is', entity_type: 'U', in: { slot: '?resource' } }) };
  const links = [];
  for (let n = rng.range(1, 3); n > 0; n--) {
    const values = {};
    const templateId = rng.pick(['t', 'u', 'v', 'v', 'zz', 's']);
    const exact = { t: ['?principal'], u: ['?resource'], v: ['?principal', '?resource'] }[templateId] ?? [];
    for (const slot of rng.chance(0.85) ? exact : rng.sample(['?principal', '?resource', '?x'], rng.below(3)))
      values[slot] = rng.chance(0.85) ? rng.pick([uid('U', 'a'), uid('G', 'g'), { __entity: uid('U', 'b') }]) : rng.pick(REFS.filter((x) => !isText(x)));
    links.push({ templateId, newId: rng.pick(['l', 'm', 'n', rng.chance(0.1) ? 's' : 'o']), values });
  }
  const line = { policies: { staticPolicies: { s: T(any, any) }, templates, templateLinks: links },
    entities: [{ uid: uid('U', 'a'), attrs: {}, parents: [uid('G', 'g')] }],
    requests: [0, 1, 2].map(() => ({ principal: rng.chance(0.6) ? 'U::"a"' : rng.pick(REFS), action: rng.chance(0.8) ? 'Action::"v"' : rng.pick(REFS), resource: rng.chance(0.8) ? uid('U', 'a') : rng.pick(REFS) })) };
  if (rng.chance(0.4)) {
    line.schema = 'entity G; entity U in G; action v appliesTo {principal: U, resource: U};';
    line.validate = true;
  }
  return line;
}

export const CORNERS = { 'corner schema': schemaCase, 'corner guards': guardCase, 'corner extensions': extensionCase,
  'corner evaluation': evaluationCase, 'corner links': linkCase };
