// SPDX-License-Identifier: Apache-2.0
//
// A random schema with entities and requests that fit it, more or less.

import { Values, recordText, typeText, valueJson, quote, LONG, STRING } from './values.mjs';

export class World {
  constructor(rng) {
    this.rng = rng;
    this.ids = ['a', 'b', 'c', 'd', 'x"y', '\u00fc'];
    this.values = new Values(rng, this);
    this.makeEntityTypes();
    this.makeActions();
  }

  makeEntityTypes() {
    const r = this.rng;
    this.space = r.chance(0.4) ? 'App' : '';
    const inside = (name) => (this.space ? `${this.space}::${name}` : name);
    const outside = r.chance(0.5) ? inside : (name) => name;
    this.names = {
      user: inside('User'), group: outside('Group'), doc: inside('Doc'),
      folder: inside('Folder'), level: outside('Level'),
    };
    const n = this.names;
    this.entityNames = Object.values(n);
    this.entities = {};
    const define = (name, parents, more = {}) => {
      this.entities[name] = { name, parents, attrs: {}, tags: null, choices: null, ...more };
    };
    define(n.user, [n.group, ...(r.chance(0.2) ? [n.level] : [])]);
    define(n.group, r.chance(0.7) ? [n.group] : []);
    define(n.doc, [n.folder]);
    define(n.folder, r.chance(0.5) ? [n.folder, n.group] : []);
    define(n.level, [], { choices: ['low', 'high', 'a'] });
    for (const def of Object.values(this.entities)) {
      if (def.choices) continue;
      def.attrs = this.values.attributes(2, 5);
      if (r.chance(0.5)) def.tags = r.chance(0.5) ? r.pick([LONG, STRING]) : this.values.type(1);
    }
  }

  makeActions() {
    const r = this.rng;
    const type = (space) => (space ? `${space}::Action` : 'Action');
    this.actions = [];
    const define = (id, parents, space = this.space) => {
      const action = { type: type(space), space, id, parents, principals: [], resources: [],
        context: {} };
      this.actions.push(action);
      return action;
    };
    const root = define('all', []);
    const group = define('readers', r.chance(0.7) ? [root] : []);
    const n = this.names;
    for (const id of ['view', 'edit', 'do it']) {
      const action = define(id, r.sample([root, group], r.below(3)),
        r.chance(0.85) ? this.space : (this.space ? '' : 'Other'));
      action.principals = r.sample([n.user, n.group, n.level], r.range(1, 2));
      action.resources = r.sample([n.doc, n.folder, n.user], r.range(1, 2));
      action.context = this.values.attributes(2, 4);
    }
    this.live = this.actions.filter((a) => a.principals.length > 0);
  }

  // All actions above, transitively.
  above(action) {
    const out = new Set();
    const walk = (a) => a.parents.forEach((p) => { out.add(p); walk(p); });
    walk(action);
    return [...out];
  }

  // All entity types that one of this type may be in.
  typesAbove(name) {
    const out = new Set();
    const walk = (t) => this.entities[t].parents.forEach((p) => {
      if (!out.has(p)) { out.add(p); walk(p); }
    });
    walk(name);
    return [...out];
  }

  schemaText() {
    const r = this.rng;
    const spaces = {};
    const add = (space, text) => { (spaces[space] ??= []).push(text); };
    const split = (name) => {
      const at = name.lastIndexOf('::');
      return at < 0 ? ['', name] : [name.slice(0, at), name.slice(at + 2)];
    };
    for (const def of Object.values(this.entities)) {
      const [space, name] = split(def.name);
      if (def.choices) {
        add(space, `entity ${name} enum [${def.choices.map(quote).join(', ')}];`);
        continue;
      }
      const parents = def.parents.length === 0 ? ''
        : def.parents.length === 1 && r.chance(0.5) ? ` in ${def.parents[0]}`
        : ` in [${def.parents.join(', ')}]`;
      let shape = recordText(def.attrs);
      if (Object.keys(def.attrs).length === 0 && r.chance(0.5)) shape = '';
      else shape = (r.chance(0.5) ? ' = ' : ' ') + shape;
      add(space, `entity ${name}${parents}${shape}${def.tags ? ' tags ' + typeText(def.tags) : ''};`);
    }
    for (const a of this.actions) {
      const parents = a.parents.length === 0 ? ''
        : ' in [' + a.parents.map((p) => `${p.type}::${quote(p.id)}`).join(', ') + ']';
      let applies = '';
      if (a.principals.length > 0) {
        let context = recordText(a.context);
        if (r.chance(0.2)) {
          const name = 'Ctx' + this.actions.indexOf(a);
          add(a.space, `type ${name} = ${context};`);
          context = name;
        }
        applies = ` appliesTo { principal: [${a.principals.join(', ')}], ` +
          `resource: [${a.resources.join(', ')}], context: ${context} }`;
      }
      add(a.space, `${r.chance(0.1) ? '@doc("x") ' : ''}action ${quote(a.id)}${parents}${applies};`);
    }
    return Object.entries(spaces).map(([space, list]) =>
      space ? `namespace ${space} {\n${list.join('\n')}\n}` : list.join('\n')).join('\n');
  }

  // Entities; with `bad` some do not conform. Acyclic: parents come later.
  makeEntities(bad, explicit) {
    const r = this.rng;
    const order = [];
    for (const name of this.entityNames)
      for (const id of this.entities[name].choices ?? r.sample(this.ids, r.range(1, 4)))
        order.push({ type: name, id });
    const shuffled = r.sample(order, order.length);
    const out = [];
    shuffled.forEach((uid, at) => {
      const def = this.entities[uid.type];
      const later = shuffled.slice(at + 1).filter((u) => def.parents.includes(u.type));
      let parents = r.sample(later, r.below(3));
      if (r.chance(0.1) && def.parents.length > 0) {
        const type = r.pick(def.parents);
        parents.push({ type, id: this.entities[type].choices ? this.values.id(type) : 'absent' });
      }
      if (bad > 0 && r.chance(bad)) parents = [...parents, { type: r.pick(this.entityNames), id: 'a2' }];
      const attrs = this.values.value({ k: 'Record', attrs: def.attrs }, bad, true);
      const implicit = explicit ? null : r;
      const json = { uid: r.chance(0.5) ? uid : { __entity: uid },
        attrs: valueJson(attrs, implicit),
        parents: parents.map((p) => (r.chance(0.5) ? p : { __entity: p })) };
      if (def.tags && r.chance(0.8)) {
        json.tags = {};
        for (const tag of r.sample(['t', 'u', 'a b'], r.below(3)))
          json.tags[tag] = valueJson(this.values.value(def.tags, bad), implicit);
      }
      if (r.chance(0.9)) out.push(json);
    });
    if (r.chance(0.05) && out.length > 0) out.push(r.pick(out));
    if (r.chance(0.05)) {
      const a = r.pick(this.actions);
      out.push({ uid: { type: a.type, id: a.id }, attrs: {},
        parents: this.above(a).filter(() => !r.chance(0.1)).map((p) => ({ type: p.type, id: p.id })) });
    }
    return out;
  }

  reference(uid) {
    const r = this.rng;
    return r.weighted([
      [2, `${uid.type}::${quote(uid.id)}`],
      [1, { type: uid.type, id: uid.id }],
      [1, { __entity: { type: uid.type, id: uid.id } }],
    ]);
  }

  // A request; `env` is {action, principal, resource}.
  makeRequest(env, bad, explicit) {
    const r = this.rng;
    const wrong = bad > 0 && r.chance(bad);
    const type = (name) => (wrong && r.chance(0.3) ? r.pick(this.entityNames) : name);
    const uid = (name) => ({ type: name, id: wrong && r.chance(0.2) ? 'zz' : this.values.id(name) });
    const action = wrong && r.chance(0.3) ? { type: env.action.type, id: 'nope' } : env.action;
    const context = this.values.value({ k: 'Record', attrs: env.action.context }, wrong ? 0.2 : 0, true);
    const out = {
      principal: this.reference(uid(type(env.principal))),
      action: this.reference(action),
      resource: this.reference(uid(type(env.resource))),
    };
    if (Object.keys(context.fields).length > 0 || r.chance(0.5))
      out.context = valueJson(context, explicit ? null : r);
    if (r.chance(0.15)) out.validate_request = r.chance(0.5);
    return out;
  }

  environment() {
    const action = this.rng.pick(this.live);
    return { action, principal: this.rng.pick(action.principals),
      resource: this.rng.pick(action.resources) };
  }
}
