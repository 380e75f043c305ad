// SPDX-License-Identifier: Apache-2.0
//
// Certificate authorities for tests, by the openssl command: each with its
// database, so that it can date, revoke and publish lists as it likes.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const openssl = (dir, ...args) => execFileSync('openssl', args, { cwd: dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

export class Authority {
  constructor(root, name, options = {}) {
    this.dir = join(root, name);
    this.name = name;
    this.count = 0;
    mkdirSync(this.dir);
    writeFileSync(join(this.dir, 'index.txt'), '');
    writeFileSync(join(this.dir, 'serial'), '1000\n');
    writeFileSync(join(this.dir, 'crlnumber'), '01\n');
    this.config();
    if (!options.parent) {
      openssl(this.dir, 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'ca.key',
        '-out', 'ca.pem', '-days', '30', '-subj', options.subject ?? `/O=Tests/CN=${name}`, '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
      this.chain = [];
    } else {
      const { key, pem } = options.parent.issue({ subject: `/O=Tests/CN=${name}`, authority: true });
      writeFileSync(join(this.dir, 'ca.key'), key);
      writeFileSync(join(this.dir, 'ca.pem'), pem);
      this.chain = [pem, ...options.parent.chain];
    }
    this.pem = readFileSync(join(this.dir, 'ca.pem'), 'utf8');
    this.file = join(this.dir, 'ca.pem');
  }

  config(extensions = '') {
    writeFileSync(join(this.dir, 'ca.cnf'), `
[ca]\ndefault_ca = d\n[d]\ndir = ${this.dir}\ndatabase = $dir/index.txt\nserial = $dir/serial\ncrlnumber = $dir/crlnumber
new_certs_dir = $dir\ncertificate = $dir/ca.pem\nprivate_key = $dir/ca.key\ndefault_md = sha256\npolicy = p\nunique_subject = no
copy_extensions = none\n[p]
commonName = optional\norganizationName = optional\norganizationalUnitName = optional\nUID = optional\nserialNumber = optional\n[ext]\n${extensions}\n`);
  }

  // { key, cert (with the chain), pem, serial }. san: lines of subjectAltName.
  issue({ subject = '/CN=x', san, usage = 'clientAuth', from, until, authority = false, bits } = {}) {
    const name = `c${this.count++}`;
    const key = bits ? ['-newkey', `rsa:${bits}`] : ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    openssl(this.dir, 'req', '-new', ...key, '-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject, '-utf8');
    const names = san ? `subjectAltName = @san\n` : '';
    const section = san ? `[san]\n${[san].flat().join('\n')}\n` : '';
    this.config(authority ? 'basicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n'
      : `basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n${usage ? `extendedKeyUsage = ${usage}\n` : ''}${names}${section}`);
    openssl(this.dir, 'ca', '-batch', '-notext', '-config', 'ca.cnf', '-extensions', 'ext', '-in', `${name}.csr`, '-out', `${name}.pem`,
      ...(from ? ['-startdate', from] : []), ...(until ? ['-enddate', until] : ['-days', '10']));
    const pem = readFileSync(join(this.dir, `${name}.pem`), 'utf8');
    return { key: readFileSync(join(this.dir, `${name}.key`), 'utf8'), pem, cert: [pem, ...this.chain].join(''), file: join(this.dir, `${name}.pem`) };
  }

  revoke({ file }) { this.config(); openssl(this.dir, 'ca', '-config', 'ca.cnf', '-revoke', file); }

  // A list in force for `options`, as text.
  list(options = ['-crldays', '5']) {
    this.config();
    openssl(this.dir, 'ca', '-config', 'ca.cnf', '-gencrl', ...options, '-out', 'crl.pem');
    return readFileSync(join(this.dir, 'crl.pem'), 'utf8');
  }
}
