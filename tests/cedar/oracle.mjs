// SPDX-License-Identifier: Apache-2.0
//
// What the official engine says to a line of the batch protocol.

import { createRequire } from 'module';
import { withExactIntegers } from './json.mjs';

const engine = createRequire(import.meta.url)('@cedar-policy/cedar-wasm/nodejs');

// An exception is a shape that the engine's front end refuses.
function call(name, argument) {
  try {
    return withExactIntegers(() => engine[name](argument));
  } catch (error) {
    return { type: 'failure', errors: [{ message: String(error) }] };
  }
}

function firstMessage(answer) {
  return answer.errors.map((e) => e.message).join(' | ');
}

const failure = (stage, answer) => ({
  error: { stage, message: firstMessage(answer) },
});

const ESCAPES = { n: '\n', r: '\r', t: '\t', 0: '\0', '\\': '\\', "'": "'", '"': '"' };

function unescape(text) {
  let wrong = false;
  const out = text.replace(/\\(?:x([0-7][0-9a-fA-F])|u\{([0-9a-fA-F]{1,6})\}|([^]))/g, (all, x, u, c) => {
    if (x !== undefined) return String.fromCharCode(parseInt(x, 16));
    if (u !== undefined) return String.fromCodePoint(parseInt(u, 16));
    if (!(c in ESCAPES)) wrong = true;
    return ESCAPES[c];
  });
  return wrong ? null : out;
}

// A reference of the protocol, as the engine takes it; null when it is wrong.
export function reference(ref) {
  if (typeof ref !== 'string') return ref;
  const match = /^((?:[_a-zA-Z][_a-zA-Z0-9]*::)+)"((?:[^"\\]|\\[^])*)"$/.exec(ref);
  const id = match && unescape(match[2]);
  return id === null ? null : { type: match[1].slice(0, -2), id };
}

// The engine's policy set of a case. `parts` lists the policies of a text one
// by one, because the engine takes templates apart from policies.
function policySet(line, parts) {
  let set;
  if (typeof line.policies !== 'string') {
    set = { ...line.policies };
  } else if (parts) {
    set = { staticPolicies: {}, templates: {} };
    parts.forEach((part, i) => {
      (part.template ? set.templates : set.staticPolicies)['policy' + i] = part.text;
    });
  } else {
    set = { staticPolicies: line.policies };
  }
  const links = [...(set.templateLinks ?? []), ...(line.links ?? [])];
  set.templateLinks = links.map((link) => ({
    ...link,
    values: Object.fromEntries(Object.entries(link.values ?? {}).map(
      ([slot, ref]) => [slot, reference(ref)])),
  }));
  return set;
}

function request(line, one) {
  const answer = call('statefulIsAuthorized', {
    principal: reference(one.principal),
    action: reference(one.action),
    resource: reference(one.resource),
    context: one.context ?? {},
    preparsedPolicySetId: 'set',
    entities: line.entities ?? [],
    ...(line.schema != null
      ? { preparsedSchemaName: 'schema', validateRequest: one.validate_request ?? true }
      : {}),
  });
  if (answer.type !== 'success') return failure('request', answer);
  return {
    decision: answer.response.decision,
    reason: answer.response.diagnostics.reason,
    errors: answer.response.diagnostics.errors.map((e) => e.policyId),
    details: answer.response.diagnostics.errors.map((e) => e.error.message),
  };
}

// The reply that the protocol wants, or null where the engine's front end
// cannot tell (a text that turned into a template by mutation).
export function answer(line, parts) {
  // Its front end takes a text there too, which is no part of the protocol.
  if (typeof line.policies?.staticPolicies === 'string') return null;
  const set = policySet(line, parts);
  const policies = withExactIntegers(() => {
    try {
      return engine.preparsePolicySet('set', set);
    } catch (error) {
      return { type: 'failure', errors: [{ message: String(error) }] };
    }
  });
  if (policies.type !== 'success') {
    if (typeof line.policies === 'string' && !parts) {
      const split = call('policySetTextToParts', line.policies);
      if (split.type === 'success' && split.policy_templates.length > 0) return null;
    }
    return failure('policies', policies);
  }
  if (line.schema != null) {
    let schema = line.schema;
    if (typeof schema === 'string' && /^\s*\{/.test(schema)) {
      try {
        schema = JSON.parse(schema);
      } catch (error) {
        return failure('schema', { errors: [error] });
      }
    }
    const parsed = withExactIntegers(() => {
      try {
        return engine.preparseSchema('schema', schema);
      } catch (error) {
        return { type: 'failure', errors: [{ message: String(error) }] };
      }
    });
    if (parsed.type !== 'success') return failure('schema', parsed);
    line = { ...line, schema };
  }
  const reply = {};
  if (line.requests) {
    const entities = call('checkParseEntities', {
      entities: line.entities ?? [],
      ...(line.schema != null ? { schema: line.schema } : {}),
    });
    if (entities.type !== 'success') return failure('entities', entities);
    reply.results = line.requests.map((one) => request(line, one));
  }
  if (line.validate) {
    const checked = call('validate', { schema: line.schema, policies: set });
    if (checked.type !== 'success') return failure('validate', checked);
    reply.valid = checked.validationErrors.length === 0;
    reply.findings = checked.validationErrors.map((e) => e.policyId + ': ' + e.error.message);
  }
  return reply;
}

export const toJson = (text, template) =>
  call(template ? 'templateToJson' : 'policyToJson', text);
export const schemaToJson = (text) => call('schemaToJson', text);
export const version = () => engine.getCedarSDKVersion();
