// SPDX-License-Identifier: Apache-2.0
//
// Hand-made JSON against the official engine: every node, scope, annotation,
// schema type and entity in the shapes that someone might write, right and
// wrong.
//
//   node shapes.mjs [--command "../../build/release/bailiff policy batch"]

import { spawnSync } from 'child_process';
import { fileURLToPath } from 'url';
import { answer } from './oracle.mjs';
import { write } from './json.mjs';

const command = process.argv[2] === '--command' ? process.argv[3]
  : fileURLToPath(new URL('../../build/release/bailiff', import.meta.url)) + ' policy batch';

const A = {op: 'All'};
const P = (body, more = {}) => ({effect: 'permit', principal: A, action: A, resource: A, conditions: body === undefined ? []: [{kind: 'when',
  body}], ...more});

const V = (x) => ({Value: x});
const vars = {Var: 'context'};

const req = {principal: 'User::"a"', action: 'Action::"v"', resource: 'User::"b"', context: {n: 1,
  s: 'ab', set: [1, 2], r: {x: {y: 'z'}}}};

const ents = [{uid: {type: 'User', id: 'a'}, attrs: {a: 1}, parents: [{type: 'User', id: 'g'}],
  tags: {t: 'x'}}, {uid: {type: 'User', id: 'g'}, attrs: {}, parents: []}];

const bodies = [V(true), V(1), V('x'), V(null), V([true]), V([]), V({}), V({a: 1}), V({__entity: {type: 'User',
  id: 'a'}}), V({__extn: {fn: 'ip', arg: '1.2.3.4'}}), V({__extn: {fn: 'ip', arg: 'x'}}), V({__extn: {fn: 'nope',
  arg: 'x'}}), V({type: 'User', id: 'a'}), V({__expr: '1'}), V(1.5), V(9223372036854775807n),
  V(9223372036854775808n), V(-9223372036854775808n), V([1, 'a', {__entity: {type: 'User', id: 'a'}}]),

{Var: 'foo'}, {Var: 'principal'}, {Slot: '?principal'}, {Slot: '?x'}, {}, {'!': {arg: V(true)}},
  {'!': {}}, {'!': {arg: V(true), x: 1}}, {'!': V(true)}, {neg: {arg: V(1)}}, {neg: {arg: V(-9223372036854775808n)}},

{'==': {left: V(1), right: V(1)}}, {'==': {left: V(1)}}, {'==': {left: V(1), right: V(1), x: 1}},
  {'=': {left: V(1), right: V(1)}}, {'==': {left: V(1), right: V(1)}, '!=': {left: V(1), right: V(1)}},
  {'&&': {left: V(true), right: V(true)}}, {'&&': {left: V(false), right: V(1)}}, {'||': {left: V(true),
  right: V(1)}}, {'+': {left: V(1), right: V(1)}}, {'-': {left: V(1), right: V(1)}}, {'*': {left: V(1),
  right: V(1)}}, {'/': {left: V(1), right: V(1)}}, {'%': {left: V(1), right: V(1)}}, {in: {left: {Var: 'principal'},
  right: V({__entity: {type: 'User', id: 'g'}})}}, {in: {left: {Var: 'principal'}, right: {Set: [V({__entity: {type: 'User',
  id: 'g'}})]}}}, {in: {left: {Var: 'principal'}, right: V([{__entity: {type: 'User', id: 'g'}}])}},

{contains: {left: V([1, 2]), right: V(1)}}, {contains: {left: {Set: [V(1)]}, right: V(1)}}, {containsAll: {left: V([1]),
  right: V([1])}}, {containsAny: {left: V([1]), right: V([1])}}, {isEmpty: {arg: V([])}}, {isEmpty: {left: V([])}},

{hasTag: {left: {Var: 'principal'}, right: V('t')}}, {getTag: {left: {Var: 'principal'}, right: V('t')}},
  {'==': {left: {getTag: {left: {Var: 'principal'}, right: V('t')}}, right: V('x')}}, {'.': {left: vars,
  attr: 'n'}}, {'.': {left: vars, attr: 'nope'}}, {'.': {left: vars, attr: 1}}, {'.': {left: vars}},
  {has: {left: vars, attr: 'n'}}, {has: {left: vars, attr: ['r', 'x']}}, {has: {left: vars, attr: ['r',
  'x', 'y']}}, {has: {left: vars, attr: []}}, {has: {left: vars, attr: ['n']}}, {has: {left: vars,
  attr: ['n', 'x']}}, {has: {left: vars, attr: [1]}}, {like: {left: V('ab'), pattern: ['Wildcard']}},
  {like: {left: V('ab'), pattern: [{Literal: 'a'}, 'Wildcard']}}, {like: {left: V('a*'), pattern: [{Literal: 'a*'}]}},
  {like: {left: V('ab'), pattern: [{Literal: 'a'}, {Literal: 'b'}]}}, {like: {left: V('ab'),
  pattern: []}}, {like: {left: V(''), pattern: []}}, {like: {left: V('ab'), pattern: 'a*'}},
  {like: {left: V('ab'), pattern: ['wildcard']}}, {like: {left: V('ab'), pattern: [{literal: 'a'}]}},
  {like: {left: V('ab'), pattern: [{Literal: ''}, 'Wildcard', 'Wildcard']}}, {like: {left: V('ab'),
  pattern: [{Wildcard: null}]}}, {is: {left: {Var: 'principal'}, entity_type: 'User'}}, {is: {left: {Var: 'principal'},
  entity_type: 'User', in: V({__entity: {type: 'User', id: 'g'}})}}, {is: {left: {Var: 'principal'},
  entity_type: 'if'}}, {is: {left: {Var: 'principal'}, entity_type: ' User'}}, {is: {left: {Var: 'principal'},
  entity_type: 'A::B'}}, {is: {left: {Var: 'principal'}, entity_type: '__cedar::B'}}, {is: {left: {Var: 'principal'},
  type: 'User'}}, {is: {left: {Var: 'principal'}, entity_type: 'User', in: null}}, {'if-then-else': {if: V(true),
  then: V(true), else: V(1)}}, {'if-then-else': {if: V(true), then: V(true)}}, {'if-then-else': {if: V(1),
  then: V(true), else: V(1)}}, {Set: []}, {Set: [V(1), V(1)]}, {Set: {}}, {Record: {}}, {Record: {a: V(1)}},
  {'==': {left: {Record: {a: V(1)}}, right: V({a: 1})}}, {Record: []}, {ip: [V('1.2.3.4')]},
  {ip: []}, {ip: [V('1'), V('2')]}, {ip: V('1.2.3.4')}, {isIpv4: [{ip: [V('1.2.3.4')]}]}, {isIpv4: []},
  {isIpv4: [{ip: [V('1.2.3.4')]}, V(1)]}, {decimal: [V('1.0')]}, {lessThan: [{decimal: [V('1.0')]},
  {decimal: [V('2.0')]}]}, {lessThan: [{decimal: [V('1.0')]}]}, {'==': {left: {decimal: [V('1.0')]},
  right: V({__extn: {fn: 'decimal', arg: '1.0'}})}}, {nope: [V(1)]}, {datetime: [V('2024-01-01')]},
  {duration: [V('1h')]}, {offset: [{datetime: [V('2024-01-01')]}, {duration: [V('1h')]}]}, {'==': {left: {toDate: [{datetime: [V('2024-01-01T01:00:00Z')]}]},
  right: {datetime: [V('2024-01-01')]}}}, {contains: [V([1]), V(1)]}, {Unknown: {name: 'x'}},
  {Unknown: {}}, {'<': {left: V(1), right: V(2)}}, {'<=': {left: V(1), right: V(2)}}, {'>': {left: V(1),
  right: V(2)}}, {'>=': {left: V(1), right: V(2)}}, {'!=': {left: V(1), right: V(2)}}, 1, 'x',
  null, [], ];

const pols = bodies.map(b => P(b));

const scopes = [{op: 'All'}, {op: 'all'}, {op: '==', entity: {type: 'User', id: 'a'}}, {op: '==',
  entity: {__entity: {type: 'User', id: 'a'}}}, {op: '==', entity: 'User::"a"'}, {op: '==', slot: '?principal'},
  {op: '==', entity: {type: 'User', id: 'a'}, slot: '?principal'}, {op: 'in', entity: {type: 'User',
  id: 'g'}}, {op: 'in', entities: [{type: 'User', id: 'g'}]}, {op: 'is', entity_type: 'User'},
  {op: 'is', entity_type: 'User', in: {entity: {type: 'User', id: 'g'}}}, {op: 'is', entity_type: 'User',
  in: {slot: '?principal'}}, {op: 'is', entity_type: 'User', in: {}}, {op: 'is'}, {op: 'All',
  x: 1}, {op: 'All', entity: {type: 'User', id: 'a'}}, {}, null, {op: 'in'}, {op: '!=', entity: {type: 'User',
  id: 'a'}}, {op: '==', entity: {type: 'Action', id: 'v'}}, {op: '==', entity: {type: 'User',
  id: 'a', x: 1}}, {op: '==', entity: {type: 'User::', id: 'a'}}, {op: '==', entity: {type: 'A::B',
  id: ''}}];

for (const s of scopes) { pols.push(P(undefined, {principal: s}));
pols.push(P(undefined, {resource: s}));
}
const acts = [{op: 'All'}, {op: '==', entity: {type: 'Action', id: 'v'}}, {op: 'in', entity: {type: 'Action',
  id: 'v'}}, {op: 'in', entities: [{type: 'Action', id: 'v'}]}, {op: 'in', entities: []}, {op: '==',
  entity: {type: 'User', id: 'v'}}, {op: 'in', entities: [{type: 'User', id: 'v'}]}, {op: 'is',
  entity_type: 'Action'}, {op: '==', slot: '?action'}, {op: '==', entities: [{type: 'Action',
  id: 'v'}]}, {op: 'in', entity: {type: 'Action', id: 'v'}, entities: []}, {op: 'in', entities: [{type: 'N::Action',
  id: 'v'}]}, {op: 'in', entities: [{type: 'ActionX', id: 'v'}]}, {op: 'in', entities: {type: 'Action',
  id: 'v'}}];

for (const s of acts) pols.push(P(undefined, {action: s}));

pols.push(P(undefined, {annotations: {a: 'b'}}), P(undefined, {annotations: {a: null}}), P(undefined,
  {annotations: {'a b': 'x'}}), P(undefined, {annotations: {if: 'x'}}), P(undefined, {annotations: []}),
  P(undefined, {annotations: {a: 1}}), P(undefined, {annotations: null}), P(undefined, {annotations: {}}),
  P(undefined, {annotations: {'': 'x'}}), P(undefined, {annotations: {'1a': 'x'}}), P(undefined,
  {id: 'x'}), P(undefined, {effect: 'Permit'}), P(undefined, {effect: 'forbid'}), P(undefined,
  {effect: null}), P(undefined, {conditions: null}), P(undefined, {conditions: {}}), P(undefined,
  {conditions: [{kind: 'while', body: V(true)}]}), P(undefined, {conditions: [{kind: 'unless',
  body: V(false)}]}), P(undefined, {conditions: [{kind: 'when'}]}), P(undefined, {conditions: [{kind: 'when',
  body: V(true), x: 1}]}), P(undefined, {conditions: [{body: V(true)}]}), {effect: 'permit',
  principal: A, action: A, resource: A}, {principal: A, action: A, resource: A, conditions: []},
  {effect: 'permit', action: A, resource: A, conditions: []});

const lines = [];

pols.forEach((p, i) => { lines.push({id: 'p'+i, policies: {staticPolicies: {p}}, entities: ents,
  requests: [req]});
lines.push({id: 't'+i, policies: {templates: {p}}, entities: ents, requests: [req]});
});

// schemas as JSON
const S = (ns) => ns;
const base = {entityTypes: {U: {}}, actions: {v: {appliesTo: {principalTypes: ['U'], resourceTypes: ['U']}}}};

const mk = (x) => ({'': {...base, ...x}});

const types = [{type: 'Long'}, {type: 'String'}, {type: 'Boolean'}, {type: 'Bool'}, {type: 'long'},
  {type: 'Set', element: {type: 'Long'}}, {type: 'Set'}, {type: 'Record', attributes: {}}, {type: 'Record'},
  {type: 'Record', attributes: {a: {type: 'Long', required: false}}}, {type: 'Record', attributes: {a: {type: 'Long',
  required: 'x'}}}, {type: 'Record', attributes: {}, additionalAttributes: true}, {type: 'Record',
  attributes: {}, additionalAttributes: false}, {type: 'Entity', name: 'U'}, {type: 'Entity',
  name: 'Nope'}, {type: 'Entity'}, {type: 'Extension', name: 'ipaddr'}, {type: 'Extension', name: 'ip'},
  {type: 'Extension', name: 'decimal'}, {type: 'Extension', name: 'datetime'}, {type: 'EntityOrCommon',
  name: 'U'}, {type: 'EntityOrCommon', name: 'Long'}, {type: 'EntityOrCommon', name: 'T'}, {type: 'EntityOrCommon',
  name: 'Nope'}, {type: 'T'}, {type: 'U'}, {type: 'Nope'}, {type: 'ipaddr'}, {type: '__cedar::Long'},
  {type: 'EntityOrCommon', name: '__cedar::Long'}, {type: 'Entity', name: '__cedar::Long'}, {type: 'Long',
  x: 1}, {type: 'Long', element: {type: 'Long'}}, {type: 'Set', element: {type: 'Long'}, name: 'x'},
  {type: 'Entity', name: '::U'}, {type: 'Entity', name: 'Action'}, {type: ''}, {}, null, 'Long',
  {type: 'Long', annotations: {a: 'b'}}, {type: 'Record', attributes: {a: {type: 'Long', annotations: {doc: 'x'}}}},
  {type: 'Record', attributes: {a: {type: 'Long', x: 'y'}}}, {type: 'Set', element: {type: 'Set',
  element: {type: 'T'}}}, {type: 'Record', attributes: {'': {type: 'Long'}, 'a b': {type: 'Long'}}}];

const schemas = [];
for (const t of types) { schemas.push(mk({entityTypes: {U: {shape: {type: 'Record', attributes: {a: t}}}},
  commonTypes: {T: {type: 'Long'}}}));
schemas.push(mk({entityTypes: {U: {tags: t}}, commonTypes: {T: {type: 'Long'}}}));
schemas.push(mk({commonTypes: {T: {type: 'Record', attributes: {}}, X: t}}));
schemas.push(mk({entityTypes: {U: {shape: t}}, commonTypes: {T: {type: 'Record', attributes: {}}}}));
schemas.push(mk({actions: {v: {appliesTo: {principalTypes: ['U'], resourceTypes: ['U'], context: t}}},
  commonTypes: {T: {type: 'Record', attributes: {}}}}));
}
const ets = [{}, {memberOfTypes: []}, {memberOfTypes: ['U']}, {memberOfTypes: ['X']}, {memberOfTypes: ['Nope']},
  {memberOfTypes: 'U'}, {enum: ['a']}, {enum: []}, {enum: ['a', 'a']}, {enum: ['a'], shape: {type: 'Record',
  attributes: {}}}, {enum: ['a'], memberOfTypes: ['U']}, {enum: ['a'], tags: {type: 'Long'}},
  {enum: ['a'], annotations: {a: 'b'}}, {enum: [1]}, {x: 1}, {annotations: {a: 'b'}}, {annotations: {'a b': 'c'}},
  {annotations: {a: null}}, {shape: null}, {tags: null}, {memberOfTypes: null}, {memberOfTypes: ['::U']},
  {memberOfTypes: ['Action']}, {enum: null}];

for (const e of ets) schemas.push(mk({entityTypes: {U: {}, X: e}}));

const as = [{}, {appliesTo: null}, {appliesTo: {}}, {appliesTo: {principalTypes: [], resourceTypes: []}},
  {appliesTo: {principalTypes: ['U']}}, {appliesTo: {principalTypes: ['U'], resourceTypes: ['U'],
  context: null}}, {appliesTo: {principalTypes: ['U'], resourceTypes: ['U'], x: 1}}, {appliesTo: {principalTypes: ['Nope'],
  resourceTypes: ['U']}}, {appliesTo: {principalTypes: ['U', 'U'], resourceTypes: ['U']}}, {appliesTo: {principalTypes: null,
  resourceTypes: ['U']}}, {memberOf: []}, {memberOf: null}, {memberOf: [{id: 'v'}]}, {memberOf: [{id: 'v',
  type: 'Action'}]}, {memberOf: [{id: 'v', type: 'N::Action'}]}, {memberOf: [{id: 'nope'}]},
  {memberOf: [{id: 'w'}]}, {memberOf: [{id: 'v', x: 1}]}, {memberOf: ['v']}, {attributes: {}},
  {attributes: {a: 1}}, {attributes: null}, {annotations: {a: 'b'}}, {x: 1}, {memberOf: [{id: 'v',
  type: 'U'}]}, {memberOf: [{id: 'v', type: null}]}, {appliesTo: {principalTypes: ['Action'],
  resourceTypes: ['U']}}];

for (const a of as) schemas.push(mk({actions: {v: base.actions.v, w: a}}));

schemas.push({}, {'': {}}, {'': {entityTypes: {}}}, {'': {actions: {}}}, {'': base}, {N: base},
  {'N::M': base}, {'N ': base}, {'if': base}, {'__cedar': base}, {'': base, N: base}, {'': {...base,
  x: 1}}, {'': {...base, annotations: {a: 'b'}}}, {N: {...base, annotations: {a: 'b'}}}, {'': {...base,
  commonTypes: null}}, {'': {...base, commonTypes: {Long: {type: 'Long'}}}}, {'': {...base, commonTypes: {Set: {type: 'Long'}}}},
  {'': {...base, commonTypes: {'a b': {type: 'Long'}}}}, {'': {...base, commonTypes: {ipaddr: {type: 'Long'}}}},
  {'': {...base, entityTypes: {U: {}, 'a b': {}}}}, {'': {...base, entityTypes: {U: {}, Long: {}}}},
  {'': {...base, entityTypes: {U: {}, 'A::B': {}}}}, {'': {...base, commonTypes: {T: {type: 'T'}}}},
  {'': {...base, commonTypes: {T: {type: 'S'}, S: {type: 'T'}}}}, {'': {...base, commonTypes: {U: {type: 'Long'}}}},
  {N: {...base, entityTypes: {U: {shape: {type: 'Record', attributes: {a: {type: 'M::X'}}}}}},
  M: {entityTypes: {X: {}}, actions: {}}}, '');

schemas.forEach((s, i) => { lines.push({id: 's'+i, policies: 'permit(principal, action, resource) when { principal.a == 1 };',
  schema: s, validate: true, requests: [{principal: {type: 'U', id: 'a'}, action: {type: 'Action',
  id: 'v'}, resource: {type: 'U', id: 'a'}, validate_request: false}], entities: []});
if (typeof s === 'object' && s) lines.push({id: 'S'+i, policies: 'permit(principal, action, resource);',
  schema: JSON.stringify(s), validate: true});
});

// entities
const E = (x) => ({uid: {type: 'U', id: 'a'}, attrs: {}, parents: [], ...x});
const sch = 'entity G in [G]; entity U in [G] {l?: Long, s?: String, b?: Bool, e?: G, i?: ipaddr, d?: decimal, dt?: datetime, du?: duration, r?: {x: Long, y?: ipaddr}, ss?: Set<ipaddr>, se?: Set<G>} tags ipaddr; entity En enum ["a"]; action v appliesTo {principal: U, resource: U};';

const vals = [1, 'x', true, null, 1.5, [], {}, [1], ['1.2.3.4'], {type: 'G', id: 'a'}, {__entity: {type: 'G',
  id: 'a'}}, {__entity: {type: 'G', id: 'a'}, x: 1}, {__entity: {type: 'G'}}, {__entity: 'x'},
  {__extn: {fn: 'ip', arg: '1.2.3.4'}}, {__extn: {fn: 'ip', args: ['1.2.3.4']}}, {__extn: {fn: 'ip'}},
  {__extn: {fn: 'decimal', arg: '1.0'}}, {__extn: {fn: 'offset', args: [{__extn: {fn: 'datetime',
  arg: '2024-01-01'}}, {__extn: {fn: 'duration', arg: '1h'}}]}}, {__extn: {fn: 'ip', arg: 1}},
  {__extn: '1.2.3.4'}, {__extn: {fn: 'isIpv4', arg: {__extn: {fn: 'ip', arg: '1.2.3.4'}}}}, {fn: 'ip',
  arg: '1.2.3.4'}, {fn: 'decimal', arg: '1.0'}, '1.2.3.4', '1.0', '2024-01-01', '1h', {x: 1},
  {x: 1, y: '1.2.3.4'}, {x: 1, z: 1}, {y: '1.2.3.4'}, {__expr: '1'}, [{type: 'G', id: 'a'}],
  [{__entity: {type: 'G', id: 'a'}}], [null], {a: null}, -1, 9223372036854775807n, 9223372036854775808n,
  {type: 'U', id: 'a'}, {type: 'G', id: 'a', x: 1}, {type: 'G'}, {__extn: {fn: 'duration', arg: '1h'},
  x: 1}];

for (const k of ['l', 's', 'b', 'e', 'i', 'd', 'dt', 'du', 'r', 'ss', 'se', 'nope']) for (const v of vals) { lines.push({id: `e-${k}-${write(v)}`,
  policies: 'permit(principal, action, resource) when { principal has '+k+' };', schema: sch,
  entities: [E({attrs: {[k]: v}})], requests: [{principal: {type: 'U', id: 'a'}, action: {type: 'Action',
  id: 'v'}, resource: {type: 'U', id: 'a'}}]});
if (k === 'l') lines.push({id: `f-${write(v)}`, policies: 'permit(principal, action, resource) when { principal.l == principal.l };',
  entities: [E({attrs: {[k]: v}})], requests: [{principal: {type: 'U', id: 'a'}, action: {type: 'Action',
  id: 'v'}, resource: {type: 'U', id: 'a'}, context: {c: v}}]});
}
for (const v of vals) lines.push({id: `tag-${write(v)}`, policies: '', schema: sch, entities: [E({tags: {t: v}})],
  requests: []});

for (const e of [{}, {uid: {type: 'U', id: 'a'}}, E({uid: 'U::"a"'}), E({uid: null}), E({uid: {__entity: {type: 'U',
  id: 'b'}}}), E({parents: ['U::"a"']}), E({parents: null}), E({attrs: null}), E({tags: null}),
  E({x: 1}), E({parents: [{type: 'G', id: 'a'}, {type: 'G', id: 'a'}]}), E({parents: [{type: 'U',
  id: 'b'}]}), E({parents: [{type: 'U', id: 'a'}]}), {uid: {type: 'En', id: 'a'}, attrs: {},
  parents: []}, {uid: {type: 'En', id: 'z'}, attrs: {}, parents: []}, {uid: {type: 'Action',
  id: 'v'}, attrs: {}, parents: []}, {uid: {type: 'Action', id: 'w'}, attrs: {}, parents: []},
  {uid: {type: 'Action', id: 'v'}, attrs: {a: 1}, parents: []}, {uid: {type: 'Nope', id: 'v'},
  attrs: {}, parents: []}, E({uid: {type: 'if', id: 'a'}}), E({uid: {type: '', id: 'a'}}), E({uid: {type: 'U',
  id: ''}}), E({uid: {type: 'U', id: 'a', x: 2}}), E({uid: {type: ' U', id: 'a'}}), 1, null,
  []]) { lines.push({id: 'x'+write(e), policies: '', schema: sch, entities: [e], requests: []});
lines.push({id: 'y'+write(e), policies: '', entities: [e], requests: []});
}

// What the protocol wants refused and the engine reads as a record.
const STRICTER = /has to be the only key|(reference|extension value) has to look like/;
const [program, ...rest] = command.split(' ');
const out = spawnSync(program, rest, { input: lines.map(write).join('\n') + '\n', maxBuffer: 1 << 28 })
  .stdout.toString().trim().split('\n');
const verdict = (reply) => (reply.error ? `error: ${reply.error.stage}` : write([reply.valid ?? 0,
  (reply.results ?? []).map((r) => (r.error ? 'error' : [r.decision, [...r.reason].sort(), [...r.errors].sort()]))]));
let differences = 0, stricter = 0;
lines.forEach((line, i) => {
  const ours = JSON.parse(out[i]), theirs = answer(line, null);
  if (theirs === null || verdict(ours) === verdict(theirs)) return;
  if (STRICTER.test(ours.error?.message ?? ours.results?.[0]?.error?.message)) { stricter++; return; }
  differences++;
  console.log(`--- ${write(line)}\nbailiff: ${out[i]}\ncedar:   ${write(theirs)}`);
});
console.log(`shapes: ${lines.length} lines, ${stricter} refused on purpose, ${differences} differences`);
console.log(`${differences > 0 ? 0 : 1} passed, ${differences > 0 ? 1 : 0} failed`);
process.exit(differences > 0 ? 1 : 0);
