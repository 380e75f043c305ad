// SPDX-License-Identifier: Apache-2.0
//
// Cases of the batch protocol from a seed and a number: the same two give the
// same case. Each is {line, parts, kind, operator}: `parts` lists the policies
// of a text, `operator` is what decides the first policy, and `opposite` tells
// that the second is its opposite.

import { Random } from './random.mjs';
import { World } from './world.mjs';
import { Expressions, OPERATORS } from './expression.mjs';
import { quote } from './values.mjs';
import { mutateText, mutateJson } from './mutation.mjs';
import { Syntax } from './syntax.mjs';
import { CORNERS } from './corners.mjs';

// --- Policies ---

class Policies {
  constructor(world, options) {
    this.world = world;
    this.rng = world.rng;
    this.options = options;
    this.parts = [];
    this.links = [];
  }

  entityScope(variable, name, slot) {
    const r = this.rng, w = this.world;
    const up = [name, ...w.typesAbove(name)];
    const literal = (type) => `${type}::${quote(w.values.id(type))}`;
    const target = () => (slot ? `?${variable}` : literal(r.pick(up)));
    return r.weighted([
      [slot ? 0 : 6, variable],
      [slot ? 2 : 1, `${variable} == ${slot ? `?${variable}` : literal(name)}`],
      [2, `${variable} in ${target()}`],
      [slot ? 0 : 2, `${variable} is ${r.chance(0.9) ? name : r.pick(w.entityNames)}`],
      [1, `${variable} is ${name} in ${target()}`],
    ]);
  }

  actionScope(env) {
    const r = this.rng, w = this.world;
    const text = (a) => `${a.type}::${quote(a.id)}`;
    const up = [env.action, ...w.above(env.action)];
    return r.weighted([
      [4, 'action'],
      [4, `action == ${text(env.action)}`],
      [2, `action in ${text(r.pick(up))}`],
      [2, `action in [${r.sample(w.actions.filter((a) => a.type === env.action.type), r.range(1, 3)).map(text).join(', ')}]`],
      [this.options.wrong > 0 ? 0.2 : 0, 'action in []'],
      [this.options.wrong > 0 ? 0.2 : 0, `action == ${env.action.type}::"nope"`],
    ]);
  }

  add(env, operator) {
    const r = this.rng;
    const isTemplate = operator === null && r.chance(0.12);
    const slots = isTemplate ? r.pick([[true, false], [false, true], [true, true]]) : [false, false];
    const narrow = operator === null || r.chance(0.3);
    const expressions = new Expressions(this.world, env, this.options);
    const principal = narrow || isTemplate ? this.entityScope('principal', env.principal, slots[0])
      : `principal is ${env.principal}`;
    const resource = narrow || isTemplate ? this.entityScope('resource', env.resource, slots[1])
      : `resource is ${env.resource}`;
    const action = operator !== null && r.chance(0.7)
      ? `action == ${env.action.type}::${quote(env.action.id)}` : this.actionScope(env);
    let text = r.chance(0.08) ? `@id("p${this.parts.length}") @note\n` : '';
    text += `${r.chance(operator === null ? 0.6 : 0.92) ? 'permit' : 'forbid'}(${principal}, ${action}, ${resource})`;
    const depth = r.range(1, 3);
    if (operator !== null) {
      const condition = expressions.boolean(depth, operator).s;
      const clauses = r.chance(0.85) ? ['when', 'unless'] : ['unless', 'when'];
      // Its opposite: whatever the condition says, it decides.
      this.opposite = r.chance(0.6);
      if (this.opposite)
        this.parts.push({ text: `${text}\n${clauses[1]} { ${condition} };`, template: false });
      text += `\n${clauses[0]} { ${condition} }`;
    }
    for (let n = operator === null ? r.below(3) : r.chance(0.15) ? 1 : 0; n > 0; n--)
      text += `\n${r.chance(0.75) ? 'when' : 'unless'} { ${expressions.boolean(depth).s} }`;
    text += ';';
    if (operator !== null) {
      this.parts.unshift({ text, template: false });
      return;
    }
    const number = this.parts.length;
    this.parts.push({ text, template: isTemplate });
    if (isTemplate && r.chance(0.8)) this.link(number, env, slots);
  }

  link(number, env, slots) {
    const r = this.rng, w = this.world;
    const values = {};
    const one = (name) => {
      const type = r.pick([name, ...w.typesAbove(name)]);
      return w.reference({ type, id: w.values.id(type) });
    };
    if (slots[0]) values['?principal'] = one(env.principal);
    if (slots[1]) values['?resource'] = one(env.resource);
    this.links.push({ templateId: 'policy' + number, newId: 'link' + number, values });
  }

  text() { return this.parts.map((p) => p.text).join(this.rng.pick(['\n', ' ', '\n// next\n'])); }
}

// --- Cases ---

export function makeCase(seed, number, oracle) {
  const rng = new Random(seed, number);
  const kind = rng.weighted([
    [50, 'typed'], [18, 'wrong'], [12, 'loose'], [10, 'mutated policy'],
    [4, 'mutated schema'], [3, 'mutated entities'], [3, 'mutated json'], [15, 'syntax'],
    ...Object.keys(CORNERS).map((name) => [name === 'corner guards' ? 25 : 9, name]),
  ]);
  if (kind in CORNERS)
    return { line: { id: `${seed}-${number}`, ...CORNERS[kind](rng) }, parts: null, kind, operator: null };
  if (kind === 'syntax') {
    const line = { id: `${seed}-${number}`, ...new Syntax(rng).line() };
    return { line, parts: null, kind, operator: null };
  }
  const world = new World(rng);
  const operator = OPERATORS[number % OPERATORS.length];
  const env = world.environment();
  const mistakes = kind === 'wrong' || kind === 'loose';
  const policies = new Policies(world, {
    wrong: mistakes ? 0.03 : 0,
    unguarded: mistakes ? 0.3 : kind === 'typed' ? 0 : 0.05,
  });
  policies.add(env, operator);
  for (let n = rng.below(3); n > 0; n--) policies.add(rng.chance(0.7) ? env : world.environment(), null);
  const withSchema = kind !== 'loose';
  const bad = kind === 'wrong' && rng.chance(0.3) ? 0.02 : 0;
  const line = { id: `${seed}-${number}`, policies: policies.text() };
  if (policies.links.length > 0) line.links = policies.links;
  if (withSchema) {
    line.schema = world.schemaText();
    line.validate = true;
  }
  line.entities = world.makeEntities(bad, !withSchema);
  line.requests = [];
  for (let n = rng.range(6, 14); n > 0; n--)
    line.requests.push(world.makeRequest(rng.chance(0.92) ? env : world.environment(),
      kind === 'wrong' ? 0.2 : 0.03, !withSchema));
  const made = { line, parts: policies.parts, kind, operator, opposite: policies.opposite };
  transform(made, rng, oracle);
  return made;
}

// Mutations, and other forms of the same thing.
function transform(made, rng, oracle) {
  const { line, kind } = made;
  if (kind === 'mutated policy') {
    const text = mutateText(rng, made.parts.filter((p) => !p.template).map((p) => p.text).join('\n'));
    line.policies = text;
    delete line.links;
    made.parts = null;
  } else if (kind === 'mutated schema') {
    if (rng.chance(0.5)) line.schema = mutateText(rng, line.schema);
    else {
      const converted = oracle.schemaToJson(line.schema);
      if (converted.type === 'success') line.schema = mutateJson(rng, converted.json);
    }
  } else if (kind === 'mutated entities') {
    line.entities = mutateJson(rng, line.entities);
    if (!Array.isArray(line.entities)) line.entities = [];
  } else if (kind === 'mutated json' || rng.chance(0.1)) {
    const set = { staticPolicies: {}, templates: {} };
    for (let i = 0; i < made.parts.length; i++) {
      const part = made.parts[i];
      const converted = oracle.toJson(part.text, part.template);
      if (converted.type !== 'success') return;
      (part.template ? set.templates : set.staticPolicies)['policy' + i] = converted.json;
    }
    line.policies = kind === 'mutated json' ? mutateJson(rng, set) : set;
    made.parts = null;
  }
  if (kind !== 'mutated schema' && typeof line.schema === 'string' && rng.chance(0.1)) {
    const converted = oracle.schemaToJson(line.schema);
    if (converted.type === 'success')
      line.schema = rng.chance(0.5) ? converted.json : JSON.stringify(converted.json);
  }
}
