// SPDX-License-Identifier: Apache-2.0
//
// The official engine (cedar-wasm, stateful API: policies parsed once) on the
// sets of bench_authorize.c. Each call is given only the entities that its own
// request needs, which is the best case for the peer.
//
//   bench/cedar/run.sh [SECONDS-PER-CASE]    (after tests/cedar/run.sh, which
//   installs the package)

import { createRequire } from 'module';
const require = createRequire(new URL('../../tests/cedar/package.json', import.meta.url));
const cedar = require('@cedar-policy/cedar-wasm/nodejs');

const limit = Number(process.argv[2] ?? 1);
const CALLERS = 1000, REQUESTS = 1024, PER_TEAM = 5, EVERYBODY = 5;

const conditions = [
  'context.maxTokens <= 4096 && context.stream == false',
  'context.ip.isInRange(ip("10.0.0.0/8"))',
  'context.hour >= 6 && context.hour < 22 && !context.isHoliday',
  '["chat", "complete", "embed"].contains(context.route)',
  'context has labels && context.labels.contains("internal")',
];

const sets = {
  indexed(count) {
    let text = '';
    for (let i = 0; i < EVERYBODY; i++)
      text += i % 2
        ? `forbid(principal, action, resource) when { context.maxTokens > 1000000 && ${conditions[i % 5]} };\n`
        : `permit(principal, action, resource) when { ${conditions[i % 5]} };\n`;
    for (let i = EVERYBODY; i < count; i++) {
      const team = Math.floor((i - EVERYBODY) / PER_TEAM);
      text += `permit(principal in Team::"t${team}", action in [Action::"infer", Action::"read"], `
        + `resource in ModelGroup::"g${team % 10}") when { ${conditions[i % 5]} };\n`;
    }
    return text;
  },
  shared(count) {
    let text = '';
    for (let i = 0; i < count; i++)
      text += `permit(principal in Team::"t${i % 20}", action == Action::"a${Math.floor(i / 20) % 10}", `
        + `resource in ModelGroup::"g${Math.floor(i / 200) % 10}") when { ${conditions[i % 5]} };\n`;
    return text;
  },
  conditions(count) {
    let text = '';
    for (let i = 0; i < count; i++)
      text += `permit(principal, action, resource) when { context.tokens == ${i} && ${conditions[i % 5]} };\n`;
    return text;
  },
};

const context = {
  maxTokens: 512, stream: false, ip: { __extn: { fn: 'ip', arg: '10.1.2.3' } }, hour: 11,
  isHoliday: false, route: 'chat', labels: ['internal', 'german'], tokens: -1,
};
for (let i = 8; i < 30; i++) context[`field${i}`] = i;

const entity = (type, id, parents) => ({ uid: { type, id }, attrs: {}, parents });

function request(i, teams, depth) {
  const caller = (i * 7919) % CALLERS, team = caller % teams, group = team % 10;
  const model = (i % 10) * 10 + group;
  const entities = [entity('Caller', `c${caller}`, [{ type: 'Team', id: `t${team}` }]),
    entity('Model', `m${model}`, [{ type: 'ModelGroup', id: `g${model % 10}` }]),
    entity('Action', `a${i % 10}`, [{ type: 'Action', id: 'infer' }])];
  let below = `t${team}`;
  for (let unit = 1; unit < depth; unit++) {
    entities.push(entity('Team', below, [{ type: 'Team', id: `unit${unit}` }]));
    below = `unit${unit}`;
  }
  return { principal: { type: 'Caller', id: `c${caller}` }, action: { type: 'Action', id: `a${i % 10}` },
    resource: { type: 'Model', id: `m${model}` }, context, entities, preparsedPolicySetId: 'set', validateRequest: false };
}

// Seconds of this process' processor, as in bench_authorize.c.
const seconds = () => { const used = process.cpuUsage(); return (used.user + used.system) / 1e6; };
const ROUNDS = 5;

function measure(name, count, depth) {
  const text = sets[name](count), before = process.memoryUsage().rss, loading = seconds();
  const parsed = cedar.preparsePolicySet('set', { staticPolicies: text });
  const loaded = (seconds() - loading) * 1e3, kib = (process.memoryUsage().rss - before) / 1024;
  if (parsed.type !== 'success') throw new Error(JSON.stringify(parsed));
  const teams = Math.min(CALLERS, Math.max(20, Math.floor(count / PER_TEAM)));
  const requests = Array.from({ length: REQUESTS }, (_, i) => request(i, teams, depth));
  let done = 0, allowed = 0, reasons = 0, best = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const start = seconds();
    let inRound = 0, elapsed = 0;
    while (elapsed < limit / ROUNDS) {
      const answer = cedar.statefulIsAuthorized(requests[done % REQUESTS]);
      if (answer.type !== 'success') throw new Error(JSON.stringify(answer));
      allowed += answer.response.decision === 'allow' ? 1 : 0;
      reasons += answer.response.diagnostics.reason.length;
      done++;
      inRound++;
      elapsed = seconds() - start;
    }
    best = Math.max(best, inRound / elapsed);
  }
  console.log(`${name.padEnd(10)} ${String(count).padStart(6)} policies depth ${String(depth).padStart(2)}: `
    + `${best.toFixed(0).padStart(9)}/s ${(1e9 / best).toFixed(0).padStart(9)} ns, `
    + `${(allowed / done * 100).toFixed(1)} % allowed, ${(reasons / done).toFixed(1)} reasons; `
    + `parsed in ${loaded.toFixed(3)} ms, resident memory +${kib.toFixed(0)} KiB`);
}

cedar.preparsePolicySet('set', { staticPolicies: sets.indexed(1000) }); // warms up
for (const count of [10, 100, 1000, 10000]) measure('indexed', count, 3);
for (const depth of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) measure('indexed', 100, depth);
for (const count of [10, 100, 1000, 10000]) measure('shared', count, 3);
for (const count of [10, 100, 1000, 10000]) measure('conditions', count, 3);
