// SPDX-License-Identifier: Apache-2.0
//
// Administrators' client certificates: pinned, shown over TLS beside a token or
// alone, demanded for approvals; and certificates that are each wrong in one way.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import https from 'node:https';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World, sleep } from './harness.mjs';
import { Authority } from './pki.mjs';

let world, port, authority, short;
const tokens = {}, certificates = {}, seen = [];
const stamp = (ms) => new Date(Date.now() + ms).toISOString().replace(/[-:T]|\..*/g, '').replace(/$/, 'Z');
const pinnedBy = (one) => createHash('sha256').update(new X509Certificate(one.pem).raw).digest('hex');

before(async () => {
  world = await World.make({ settings: 'admin_listen = "127.0.0.1:0";\nrefusals_per_minute = 100000;\n' });
  port = Number(world.server.log.match(/admin_door address=127\.0\.0\.1:(\d+)/)[1]);
  authority = new Authority(world.dir, 'staff');
  for (const [name, role] of [['ada', 'admin'], ['ben', 'admin'], ['carl', 'approver'], ['vera', 'auditor']]) {
    tokens[name] = world.json('admin', 'add', name, '--role', role).secret;
    world.keys.push(tokens[name]);
  }
});
after(async () => {
  await world.end();
  if (!world.entries) return;
  const refusals = world.entries.filter((one) => one.type === 'admin.refused').map((one) => one.detail);
  for (const why of ['unknown certificate', 'certificate of another administrator', 'certificate is not valid yet', 'expired certificate',
    'certificate without a token', 'approval without the second factor'])
    assert.ok(refusals.some((one) => one.why === why && (why.startsWith('approval') || /^[0-9a-f]{64}$/.test(one.certificate))), why);
  for (const type of ['admin.certificate.pinned', 'admin.certificate.unpinned'])
    assert.ok(world.entries.some((one) => one.type === type), type);
  // Which factors were used: with both, alone, and without.
  const approvals = world.entries.filter((one) => ['admin.proposal.approved', 'policy.approved', 'admin.emergency.reviewed'].includes(one.type));
  assert.deepEqual([...new Set(approvals.map((one) => one.type))].sort(), ['admin.emergency.reviewed', 'admin.proposal.approved', 'policy.approved']);
  for (const one of approvals.filter((one) => one.time > seen[0]))
    assert.deepEqual([one.actor.method, one.actor.certificate], ['token', pinnedBy(certificates.ben)], JSON.stringify(one));
  const alone = world.entries.find((one) => one.type === 'admin.team.added' && one.object.id === 'alone');
  assert.deepEqual([alone.actor.method, alone.actor.certificate], ['certificate', pinnedBy(certificates.ada)]);
  const plain = world.entries.find((one) => one.type === 'admin.team.added' && one.object.id === 'plain');
  assert.deepEqual(Object.keys(plain.actor).sort(), ['id', 'method']);
});

function send(method, path, { bearer, shows, body } = {}) {
  return new Promise((done, fail) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const request = https.request({ host: '127.0.0.1', port, method, path, ca: world.ca, agent: false, cert: shows?.cert, key: shows?.key,
      headers: { ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
        ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }) } }, (answer) => {
      let got = '';
      answer.on('data', (piece) => { got += piece; });
      answer.on('end', () => done({ status: answer.statusCode, body: JSON.parse(got) }));
    });
    request.on('error', fail);
    request.end(text);
  });
}
const list = (options) => send('GET', '/v1/teams', options);
function file(name, text) {
  const path = join(world.dir, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}
function pin(name, one, ...args) {
  return world.json('admin', 'certificate', name, file('pinned.pem', one.pem), ...args);
}
// The command line from elsewhere.
function remote(who, shows, ...args) {
  const as = [...(who ? ['--token-file', file('token', tokens[who])] : []),
    ...(shows ? ['--certificate', file('own.pem', shows.cert), '--key', file('own.key', shows.key)] : [])];
  const { status, stdout, stderr } = spawnSync(process.env.BAILIFF, ['--server', `https://127.0.0.1:${port}`,
    '--ca', join(world.state, 'tls/ca.pem'), ...as, ...args], { encoding: 'utf8', env: { PATH: process.env.PATH } });
  return { status, out: stdout, err: stderr };
}
function must(...args) {
  const { status, out, err } = remote(...args);
  assert.equal(status, 0, err + out);
  return out;
}
function refused(why, ...args) {
  const { status, out, err } = remote(...args);
  assert.equal(status, 1, out);
  assert.match(err, why);
}

test('a certificate is pinned by its digest, and only one that can be shown', () => {
  certificates.ada = authority.issue({ subject: '/CN=ada' });
  const one = pin('ada', certificates.ada, '--label', 'laptop', '--reason', 'two factors');
  assert.equal(one.fingerprint, pinnedBy(certificates.ada));
  assert.deepEqual([one.label, one.state], ['laptop', 'active']);
  const [row] = world.json('admin', 'certificates', 'ada').items;
  assert.deepEqual(row, (({ etag, ...rest }) => rest)(one));
  const ends = new Date(new X509Certificate(certificates.ada.pem).validTo).getTime();
  assert.equal(new Date(row.expires).getTime(), ends);
  assert.match(world.cli('admin', 'certificates', 'ada'), new RegExp(`${row.fingerprint}\\s+active\\s.*laptop`));
  const wrong = {
    'once more': [certificates.ada, /pinned already, and a certificate is one administrator's/, 'ben'],
    'an authority': [{ pem: authority.pem }, /authority's; pin the one that it issued[^]*CA:FALSE/],
    'a server': [authority.issue({ usage: 'serverAuth' }), /not for clients/],
    'a weak key': [authority.issue({ bits: 1024 }), /weaker than 112 bits/],
    'one that is over': [authority.issue({ from: stamp(-7200e3), until: stamp(-3600e3) }), /has expired/],
    'two at once': [{ pem: certificates.ada.pem + authority.pem }, /more than one certificate/],
    'a key': [{ pem: certificates.ada.key }, /no certificate in PEM/],
    'half of one': [{ pem: certificates.ada.pem.slice(0, 300) }, /no certificate in PEM/],
  };
  for (const [what, [text, why, who = 'ada']] of Object.entries(wrong))
    assert.throws(() => pin(who, text), (error) => why.test(error.stderr), what);
  const der = join(world.dir, 'own.der');
  writeFileSync(der, new X509Certificate(certificates.ada.pem).raw);
  assert.throws(() => world.cli('admin', 'certificate', 'ada', der), /certificate in PEM/);
  assert.throws(() => world.cli('admin', 'certificate', 'nobody', file('pinned.pem', certificates.ada.pem)), /no administrator/);
  assert.equal(world.json('admin', 'certificates', 'ada').items.length, 1);
});

test('beside a token it is welcome, and a wrong one is not', async () => {
  const { ada } = certificates;
  assert.equal((await list({ bearer: tokens.ada })).status, 200, 'nobody asks for it');
  assert.equal((await list({ bearer: tokens.ada, shows: ada })).status, 200);
  const dull = await list({ bearer: `bla_${'A'.repeat(39)}` });
  assert.equal(dull.status, 401);
  const same = async (what, options) => {
    const got = await list(options);
    assert.deepEqual([got.status, got.body], [401, dull.body], what);
  };
  short = authority.issue({ subject: '/CN=short', until: stamp(30e3) });
  pin('ada', short);
  const early = authority.issue({ subject: '/CN=early', from: stamp(3600e3), until: stamp(7200e3) }),
    twin = authority.issue({ subject: '/CN=ada' }), other = new Authority(world.dir, 'others').issue({ subject: '/CN=ada' }),
    unpinned = authority.issue({ subject: '/CN=old' });
  assert.equal(pin('ada', early).state, 'not_yet_valid');
  certificates.ben = authority.issue({ subject: '/CN=ben' });
  pin('ben', certificates.ben);
  const { fingerprint } = pin('ada', unpinned);
  assert.equal((await list({ bearer: tokens.ada, shows: unpinned })).status, 200);
  assert.throws(() => world.cli('admin', 'no-certificate', 'ben', fingerprint), /pinned for this administrator/);
  assert.throws(() => world.cli('admin', 'no-certificate', 'ada', 'abc'), /no SHA-256 in hex/);
  world.cli('admin', 'no-certificate', 'ada', fingerprint.toUpperCase().match(/../g).join(':'));
  await same('another of the same authority and name', { bearer: tokens.ada, shows: twin });
  await same('another authority, the same name', { bearer: tokens.ada, shows: other });
  await same("another administrator's", { bearer: tokens.ada, shows: certificates.ben });
  await same('mine with their token', { bearer: tokens.ben, shows: ada });
  await same('not valid yet', { bearer: tokens.ada, shows: early });
  await same('taken away', { bearer: tokens.ada, shows: unpinned });
  await same('a wrong token beside it', { bearer: `bla_${'A'.repeat(39)}`, shows: ada });
  await same('alone where it is not allowed', { shows: ada });
  await same('alone and nobody\'s', { shows: twin });
  // Somebody else's certificate without its key does not come that far.
  await assert.rejects(list({ bearer: tokens.ada, shows: { cert: ada.cert, key: twin.key } }));
  await sleep(Math.max(0, new Date(new X509Certificate(short.pem).validTo).getTime() + 1500 - Date.now()));
  await same('expired', { bearer: tokens.ada, shows: short });
  assert.deepEqual(world.json('admin', 'certificates', 'ada').items.map((one) => one.state).sort(), ['active', 'expired', 'not_yet_valid']);
});

test('alone it signs in whom that is allowed', async () => {
  const { ada } = certificates;
  must('ada', null, 'team', 'add', 'plain');
  assert.throws(() => world.cli('admin', 'certificate-alone', 'ada', 'maybe'), /yes or no/);
  world.cli('admin', 'certificate-alone', 'ada', 'yes');
  assert.deepEqual(world.json('admin', 'list').items.filter((one) => one.certificateAlone).map((one) => one.name), ['ada']);
  must(null, ada, 'team', 'add', 'alone');
  assert.equal((await list({ shows: certificates.ben })).status, 401);
  assert.equal((await list({ shows: short })).status, 401);
  // What the change does not name stays.
  world.cli('admin', 'role', 'ada', 'operator');
  assert.equal((await list({ shows: ada })).status, 200);
  world.cli('admin', 'disable', 'ada');
  assert.equal((await list({ shows: ada })).status, 401);
  world.cli('admin', 'enable', 'ada');
  world.cli('admin', 'role', 'ada', 'admin');
  world.cli('admin', 'certificate-alone', 'ada', 'no');
  assert.equal((await list({ shows: ada })).status, 401);
});

test('the command line says what is wrong with its files', () => {
  const { ada } = certificates;
  const none = { cert: '', key: '' };
  refused(/asks for an administrator's token.*--certificate/s, null, null, 'team', 'list');
  refused(/own\.pem|certificate|PEM/i, 'ada', { cert: 'nonsense', key: ada.key }, 'team', 'list');
  refused(/key|certificate/i, 'ada', { cert: ada.cert, key: certificates.ben.key }, 'team', 'list');
  refused(/certificate/i, 'ada', none, 'team', 'list');
  const run = (...args) => spawnSync(process.env.BAILIFF, args, { encoding: 'utf8', env: { PATH: process.env.PATH, BAILIFF_ADMIN_TOKEN: tokens.ada } });
  const where = ['--server', `https://127.0.0.1:${port}`, '--ca', join(world.state, 'tls/ca.pem')];
  assert.match(run(...where, '--certificate', '/nowhere.pem', 'team', 'list').stderr, /\/nowhere\.pem: No such file/);
  assert.match(run(...where, '--key', '/nowhere.key', 'team', 'list').stderr, /give --certificate/);
  assert.match(run('-C', world.state, '--certificate', file('own.pem', ada.cert), 'team', 'list').stderr, /shown to a server elsewhere/);
  // Both in one file, by the environment.
  const both = file('both.pem', ada.cert + ada.key);
  const got = spawnSync(process.env.BAILIFF, [...where, 'team', 'list'], { encoding: 'utf8',
    env: { PATH: process.env.PATH, BAILIFF_ADMIN_TOKEN: tokens.ada, BAILIFF_CERTIFICATE: both } });
  assert.equal(got.status, 0, got.stderr);
});

test('approvals take both where that is asked for', async () => {
  const { ada, ben } = certificates;
  world.cli('admin', 'no-certificate', 'ben', pinnedBy(ben));
  assert.throws(() => world.cli('setting', 'set', 'approvals_need_certificate', 'true'), /1 other person.*1 administrator.*pin more first/s);
  assert.throws(() => world.cli('setting', 'set', 'approvals_need_certificate', 'yes'), /true or false/);
  pin('ben', ben);
  world.cli('policy', 'require-approvals', '1');
  world.cli('setting', 'set', 'two_person_for', 'quotas');
  must('ada', null, 'setting', 'set', 'approvals_need_certificate', 'true');
  seen.push(new Date().toISOString());
  const propose = (...args) => {
    const { status, out, err } = remote(...args, '--json');
    assert.equal(status, 3, err + out);
    return JSON.parse(out).id;
  };
  const id = propose('ada', null, 'quota', 'set', '--organisation', '--limit', 'requests/day=1000');
  refused(/the certificate is missing \(--certificate/, 'ben', null, 'proposal', 'approve', id);
  const local = spawnSync(process.env.BAILIFF, ['-C', world.state, 'proposal', 'approve', id], { encoding: 'utf8',
    env: { PATH: process.env.PATH, BAILIFF_ADMIN_TOKEN: tokens.ben } });
  assert.match(local.stderr, /shown at admin_listen alone \(--server/);
  refused(/not known here/, 'ben', ada, 'proposal', 'approve', id);
  refused(/someone else must approve/, 'ada', ada, 'proposal', 'approve', id);
  refused(/the role "auditor" may not/, 'vera', null, 'proposal', 'approve', id);
  const answer = await send('POST', `/v1/proposals/${id}/approve`, { bearer: tokens.ben, body: {} });
  assert.deepEqual([answer.status, answer.body.type], [403, 'urn:bailiff:problem:second-factor']);
  // A certificate that does without a token is one factor, too.
  const alone = propose('ada', null, 'admin', 'certificate-alone', 'ben', 'yes');
  refused(/the certificate is missing/, 'ben', null, 'proposal', 'approve', alone);
  must('ben', ben, 'proposal', 'approve', alone);
  refused(/the token is missing/, null, ben, 'proposal', 'approve', id);
  assert.match(must('ben', ben, 'proposal', 'approve', id), /appl|quota/i);
  // To say no takes one.
  const other = propose('ada', null, 'quota', 'set', '--organisation', '--limit', 'requests/day=2000');
  must('ben', null, 'proposal', 'reject', other);
  // Versions of the rules, and reviews.
  const rules = file('rules.cedar', '@id("all")\n@title("Everybody may do everything")\npermit (principal, action, resource);\n');
  const version = String(JSON.parse(must('ada', null, 'policy', 'put', rules, '--json')).version);
  must('ada', null, 'policy', 'submit', version);
  refused(/the certificate is missing/, 'ben', null, 'policy', 'approve', version);
  must('ben', ben, 'policy', 'approve', version);
  must('ada', null, 'policy', 'activate', version);
  world.cli('caller', 'add', 'alice', '--team', 'everyone');
  world.handles.push('alice');
  const emergency = JSON.parse(must('ada', null, 'emergency', 'open', '--caller', 'alice', '--model', 'tiny', '--reason', 'tried', '--expires', '1h', '--json')).id;
  must('ada', null, 'emergency', 'end', emergency, '--reason', 'over');
  refused(/the certificate is missing/, 'ben', null, 'emergency', 'review', emergency);
  must('ben', ben, 'emergency', 'review', emergency, '--reason', 'looked at');
});

test('one person neither takes it back nor brings a certificate in', () => {
  const { ben } = certificates, fresh = authority.issue({ subject: '/CN=fresh' });
  const waits = (...args) => {
    const { status, out, err } = remote(...args, '--json');
    assert.equal(status, 3, err + out);
    return JSON.parse(out);
  };
  // Somebody with a stolen token cannot make the second factor.
  const path = file('fresh.pem', fresh.pem);
  assert.match(waits('ada', null, 'admin', 'certificate', 'ada', path).rule, /two people/);
  assert.match(waits('ada', null, 'admin', 'certificate', 'carl', path).rule, /two people/);
  assert.ok(!world.json('admin', 'certificates', 'carl').items.length);
  const off = waits('ada', null, 'setting', 'set', 'approvals_need_certificate', 'false');
  assert.match(off.rule, /taken back only by the rule itself/);
  const warned = () => world.json('status').warnings.filter((one) => /certificate/.test(one));
  assert.ok(warned().some((one) => /last pinned certificate of ben expires in 9 days/.test(one)), `${warned()}`);
  assert.ok(!warned().some((one) => /approvals_need_certificate/.test(one)));
  // Who has just been locked out is told so, too.
  const own = pinnedBy(certificates.ada);
  must('ada', null, 'admin', 'no-certificate', 'ada', own);
  assert.ok(warned().some((one) => /takes 1 other person.*only 1 administrator/.test(one)), `${warned()}`);
  refused(/the certificate is missing/, 'ben', null, 'proposal', 'approve', off.id);
  must('ben', ben, 'proposal', 'approve', off.id);
  assert.equal(world.json('setting', 'list').items.find((one) => one.key === 'approvals_need_certificate').value, 'false');
});

test('TLS 1.2 shows it as well, and openssl does', () => {
  const { ben } = certificates;
  const out = execFileSync('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_2', '-quiet', '-CAfile', join(world.state, 'tls/ca.pem'),
    '-verify_return_error', '-cert', file('own.pem', ben.cert), '-key', file('own.key', ben.key)], { encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'],
    input: `GET /v1/teams HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${tokens.ben}\r\n\r\n` });
  assert.match(out, /^HTTP\/1\.1 200 /);
});
