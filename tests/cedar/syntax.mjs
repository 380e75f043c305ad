// SPDX-License-Identifier: Apache-2.0
//
// Policies as a careless person would type them: operators in any order and
// number, escapes, blanks, comments, odd names. Most do not parse, which is
// the point; those that do are evaluated too.

const TERMS = ['1', '0', '-1', '007', '9223372036854775807', '-9223372036854775808',
  '9223372036854775808', '- 1', '--1', '!true', '!!true', '!-1', '-!true', '!!!!true', '!!!!!true',
  '----1', '-----1', 'true', 'false', '"a"', '"a\\n\\t\\r\\0\\\\\\\'\\""', '"\\x41"', '"\\x7f"', '"\\x80"',
  '"\\u{41}"', '"\\u{1F600}"', '"\\u{d800}"', '"\\u{110000}"', '"\\u{0000041}"', '"\\u{}"', '"\\*"', '"\\q"',
  '"a\nb"', '"\u00e9\u{1F600}"', '\'a\'', 'principal', 'action', 'resource', 'context', 'context.n',
  'context.s', 'context["s"]', 'context . n', 'context.set', 'context.r.x', 'context.r["x"]', 'context.if',
  'context["if"]', 'context.r.zz', 'principal.a', 'principal["a"]', 'principal.getTag("t")',
  'User::"a"', 'A::B::"c"', 'A :: B :: "c"', 'User::"\\u{61}"', '__cedar::A::"x"', 'if::"a"', 'User::a', '[]', '[1]',
  '[1,]', '[1, 2, 1]', '[1, "a", true]', '[,]', '{}', '{a: 1}', '{"a": 1}', '{a: 1,}', '{a: 1, "a": 2}',
  '{if: 1}', '{"if": 1}', '{1: 1}', '{context: 1}', '[[1], []]', 'ip("1.2.3.4")', 'decimal("1.5")',
  'datetime("2024-01-01")', 'duration("1h")', 'ip()', 'ip("1", "2")', 'ip(1)', 'ip("zz")', 'foo(1)', 'A::ip("1")',
  'ip("1.2.3.4").isIpv4()', '"1.2.3.4".isIpv4()', 'isIpv4("1.2.3.4")', '[1].contains(1)', '[1].contains()',
  '[1].contains(1, 2)', '[1].isEmpty()', '[1].isEmpty(1)', 'contains([1], 1)', '"a".ip()', '(1)', '((true))', '()',
  'if true then 1 else 2', 'if true then 1', '(if true then 1 else 2)', 'if 1 then 1 else 2', '?principal', '@a',
  'principal.foo()', 'context.n()', 'context.r.x.y', 'then', 'like', 'principal.has', 'context.like', 'a', '*',
  '1.5', '0x10', '1_000', '_', '_a', 'context._a', 'context.n.', '.n', 'User::"a".a', '{a: 1}.a', '{a: 1}["a"]',
  '[1][0]', '"a"["b"]', '"a".b', '1.a', '// c\n1', '/* c */ 1', '1 // c\n', '\u00a01', '\u20281', '\ufeff1', '#1'];
const PLAIN = ['1', '-1', 'true', 'false', '"a"', 'principal', 'context', 'context.n', 'context.s', 'context.set', 'context.if2',
  'context["if"]', 'context.r', '[1, 2]', '{x: 1}', 'principal.a', 'User::"a"', 'action', 'ip("::1")', '-context.n', '!context["if"]'];
const OPERATORS = ['==', '!=', '<', '<=', '>', '>=', 'in', '&&', '||', '+', '-', '*', '/', '%', '=', '&', '|', 'like',
  'has', 'is', '===', '<>', 'and', '!', ',', ';', '', '.', '?', ':', 'in in', 'is in', 'contains'];
const RIGHT = {
  like: ['"a*"', '"*"', '"\\*"', '"a\\*b"', '"\\u{61}*"', 'a', '1', '"a" like "b"', 'context.s', '"\\x41*"', '"**"'],
  has: ['a', 'n', 's', 'r', 'r.x', 'r.x.y', 'n.x', '"n"', '"r.x"', 'if', '"if"', 'r."x"', 'zz.x', '(n)', '1', 'r.x.y.z',
    'principal', 'like', 'r . x', 'n has r', 'n == true', 'set.x', '["n"]', 'r.if', 'r["x"]'],
  is: ['User', 'Action', 'A::B', 'User in User::"a"', 'User in [User::"a"]', 'User in 1', 'if', '"User"', 'User::"a"',
    'User == true', 'A :: B', '__cedar::X', 'User in User::"a" in User::"b"', '(User)', 'ip', 'in', 'User in principal'],
};

const SCOPES = {
  principal: ['principal', 'principal == User::"a"', 'principal in User::"a"', 'principal is User',
    'principal is User in User::"g"', 'principal in [User::"a"]', 'principal == ?principal', 'principal != User::"a"',
    'principal == "a"', 'principal is User::"a"', 'principal in User', 'principal.a == 1', 'Principal', 'principal ==',
    'principal == ?resource', 'principal in principal', 'resource', 'principal is A::B', 'principal: User',
    'principal in User::"a" in User::"b"', 'principal is User is User', 'principal has a', '(principal)', 'principal == User::"\\*"'],
  action: ['action', 'action == Action::"v"', 'action in Action::"v"', 'action in [Action::"v"]', 'action in []',
    'action in [Action::"v", Action::"w",]', 'action == User::"v"', 'action in [User::"v"]', 'action == N::Action::"v"',
    'action is Action', 'action == ?action', 'action in ?principal', 'action in [[Action::"v"]]', 'action == [Action::"v"]',
    'action == Action::"v" || true', 'action == ActionX::"v"', 'action in [,]', 'action in Action::"v", Action::"w"'],
  resource: ['resource', 'resource == User::"a"', 'resource in User::"a"', 'resource is User in ?resource',
    'resource == ?principal', 'resource is User', 'resource,', 'resource in ?resource', 'resource is in User::"a"'],
};
const ANNOTATIONS = ['@a', '@a("b")', '@a("b") @c', '@a @a', '@if("x")', '@a()', '@a(b)', '@"a"', '@ a ( "b" )', '@a("\\u{61}\\n")',
  '@a("\\q")', '@principal @context("x")', '@a.b', '@1', '@a:b', '@a("b",)', '@a("x" "y")', '@__cedar'];

export class Syntax {
  constructor(rng) { this.rng = rng; }

  term(depth) {
    const r = this.rng;
    if (depth > 0 && r.chance(0.15)) return `(${this.expression(depth - 1)})`;
    if (depth > 0 && r.chance(0.05)) return `[${this.expression(depth - 1)}, ${this.expression(depth - 1)}]`;
    if (depth > 0 && r.chance(0.05))
      return `if ${this.expression(depth - 1)} then ${this.expression(depth - 1)} else ${this.expression(depth - 1)}`;
    if (depth > 0 && r.chance(0.05)) return `${r.pick(['!', '-'])}${this.term(depth - 1)}`;
    if (depth > 0 && r.chance(0.04)) return `[${this.term(0)}].contains(${this.term(0)})`;
    return r.pick(r.chance(0.6) ? PLAIN : TERMS);
  }

  expression(depth) {
    const r = this.rng;
    let text = this.term(depth);
    for (let n = r.weighted([[3, 0], [5, 1], [3, 2], [1, 3]]); n > 0; n--) {
      const operator = r.chance(0.75) ? r.pick(OPERATORS.slice(0, 12)) : r.pick(OPERATORS);
      const right = operator in RIGHT && r.chance(0.9) ? r.pick(RIGHT[operator]) : this.term(depth);
      text += r.pick([' ', ' ', ' ', '', '\n', '  ', '\t', ' // x\n', '\u00a0', '\u3000']) + operator +
        r.pick([' ', ' ', ' ', '']) + right;
    }
    return text;
  }

  policy() {
    const r = this.rng;
    const usual = (list, p = 0.93) => (r.chance(p) ? list[0] : r.pick(list));
    let text = r.chance(0.15) ? r.pick(ANNOTATIONS) + ' ' : '';
    text += r.chance(0.97) ? r.pick(['permit', 'forbid']) : r.pick(['Permit', 'allow', 'permit permit', 'deny']);
    text += `(${usual(SCOPES.principal)}, ${usual(SCOPES.action)}, ${usual(SCOPES.resource)}${r.chance(0.05) ? ',' : ''})`;
    for (let n = r.weighted([[1, 0], [8, 1], [1, 2]]); n > 0; n--)
      text += ` ${r.chance(0.97) ? r.pick(['when', 'when', 'unless']) : r.pick(['if', 'where', 'WHEN', ''])} ` +
        (r.chance(0.98) ? `{ ${this.expression(2)} }` : r.pick(['{}', '{ }', '{ true', 'true', '{ true } }', '(true)']));
    return text + (r.chance(0.97) ? ';' : r.pick(['', ';;', ',', '; ;']));
  }

  // A small world that the texts above speak of.
  line() {
    const r = this.rng;
    const policies = [];
    for (let n = r.weighted([[6, 1], [2, 2], [1, 3]]); n > 0; n--) policies.push(this.policy());
    const uid = (type, id) => ({ type, id });
    const line = {
      policies: policies.join(r.pick([' ', '\n', '', '\r\n'])),
      entities: [
        { uid: uid('User', 'a'), attrs: { a: 1 }, parents: [uid('User', 'g')], tags: { t: 'x' } },
        { uid: uid('User', 'g'), attrs: {}, parents: [] }],
      requests: [
        { principal: uid('User', 'a'), action: uid('Action', 'v'), resource: uid('User', 'b'),
          context: { n: 1, s: 'ab', set: [1, 2], r: { x: { y: 'z' } }, if: true } },
        { principal: uid('User', 'b'), action: uid('Action', 'w'), resource: uid('User', 'a'),
          context: { n: -1, s: '', set: [], r: { x: 1 } } }],
    };
    if (r.chance(0.5)) {
      line.schema = SCHEMA;
      line.validate = true;
      for (const one of line.requests) one.validate_request = false;
    }
    return line;
  }
}

const SCHEMA = `entity User in User = {a?: Long} tags String;
action v, w appliesTo { principal: User, resource: User, context: {
  n: Long, s: String, set: Set<Long>, r: {x?: {y: String}, "if"?: Long}, "if"?: Bool, _a?: Long} };`;
