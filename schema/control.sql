-- The control database: who exists, what they may reach, how much they may
-- use, and the rules. One writer (the holder of DIR/lock). Names of persons are
-- not here but in persons.db. Times are microseconds since 1970 UTC.
-- Everything but `outbox`, `control_event` and `idempotent_answer` is covered by
-- the control digest.

CREATE TABLE organisation_setting (
    key   TEXT PRIMARY KEY,      -- require_approvals, zone, contact, ...
    value TEXT NOT NULL
) STRICT;

CREATE TABLE team (
    name    TEXT PRIMARY KEY,    -- the Cedar uid Team::"name", immutable
    parent  TEXT REFERENCES team (name),
    title   TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL
) STRICT;

-- How much of an engine's places a team gets where its requests wait for them;
-- a team without a row is as the one above it, or 1.
CREATE TABLE team_weight (
    team   TEXT PRIMARY KEY REFERENCES team (name) ON DELETE CASCADE,
    weight INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 1000)
) STRICT;

CREATE TABLE caller (
    id       TEXT PRIMARY KEY,   -- opaque, Caller::"cal_..."; the handle is in persons.db
    kind     TEXT NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'service')),
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    created  INTEGER NOT NULL,
    issuer   TEXT NOT NULL DEFAULT '' -- whose token made it just in time; '': none did
) STRICT;
CREATE INDEX caller_by_issuer ON caller (issuer, created);

CREATE TABLE caller_team (
    caller TEXT NOT NULL REFERENCES caller (id) ON DELETE CASCADE,
    team   TEXT NOT NULL REFERENCES team (name),
    PRIMARY KEY (caller, team)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
    id      TEXT PRIMARY KEY,    -- public id: key_...
    caller  TEXT NOT NULL REFERENCES caller (id),
    hash    BLOB NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of the whole key text
    hint    TEXT NOT NULL,       -- first characters, for recognising it
    label   TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL,
    expires INTEGER,             -- NULL: never
    revoked INTEGER,             -- NULL: in force
    -- What it took over from by rotation: quotas of that key, and of those
    -- before it, go on for this one, out of the same budget.
    replaces TEXT UNIQUE REFERENCES api_key (id)
) STRICT;
CREATE INDEX api_key_caller ON api_key (caller);

-- What a key may be used for, beside what the rules permit its caller. A kind
-- without a row does not limit.
CREATE TABLE api_key_limit (
    key   TEXT NOT NULL REFERENCES api_key (id),
    kind  TEXT NOT NULL CHECK (kind IN ('address', 'model', 'route')),
    value TEXT NOT NULL,         -- 192.0.2.0/24 | a model's name | a route's path
    PRIMARY KEY (key, kind, value)
) STRICT, WITHOUT ROWID;

-- Whose signed tokens (JWT) are believed, and how a token becomes a caller: the
-- claim's text behind `prefix` is a caller's handle.
CREATE TABLE issuer (
    name              TEXT PRIMARY KEY,
    issuer            TEXT NOT NULL UNIQUE,       -- the tokens' "iss", to the letter
    jwks_file         TEXT NOT NULL DEFAULT '',   -- a key set on disk, or
    jwks_url          TEXT NOT NULL DEFAULT '',   -- its URL; neither: OpenID discovery
    ca_file           TEXT NOT NULL DEFAULT '',   -- https: trust this bundle only
    caller_claim      TEXT NOT NULL DEFAULT 'sub',
    prefix            TEXT NOT NULL DEFAULT '',
    groups_claim      TEXT NOT NULL DEFAULT '',   -- '': groups are not read
    access_token_type INTEGER NOT NULL DEFAULT 0 CHECK (access_token_type IN (0, 1)),
    skew_seconds      INTEGER NOT NULL DEFAULT 60 CHECK (skew_seconds BETWEEN 0 AND 300),
    created           INTEGER NOT NULL,
    -- A token whose caller is not there makes it: so many in a minute, and so
    -- many in all.
    just_in_time            INTEGER NOT NULL DEFAULT 0 CHECK (just_in_time IN (0, 1)),
    just_in_time_team       TEXT REFERENCES team (name), -- NULL: in no team
    just_in_time_kind       TEXT NOT NULL DEFAULT 'person' CHECK (just_in_time_kind IN ('person', 'service')),
    just_in_time_per_minute INTEGER NOT NULL DEFAULT 60 CHECK (just_in_time_per_minute BETWEEN 1 AND 1000),
    just_in_time_most       INTEGER NOT NULL DEFAULT 10000 CHECK (just_in_time_most BETWEEN 1 AND 1000000),
    clients_only            INTEGER NOT NULL DEFAULT 0 CHECK (clients_only IN (0, 1)), -- of issuer_client
    CHECK (jwks_file = '' OR jwks_url = '')
) STRICT;

CREATE TABLE issuer_audience (
    issuer   TEXT NOT NULL REFERENCES issuer (name) ON DELETE CASCADE,
    audience TEXT NOT NULL,      -- one of them must stand in "aud"
    PRIMARY KEY (issuer, audience)
) STRICT, WITHOUT ROWID;

-- Groups of an issuer's tokens that are teams here: who comes with such a token
-- is in the team for that request.
CREATE TABLE issuer_group (
    issuer     TEXT NOT NULL REFERENCES issuer (name) ON DELETE CASCADE,
    group_name TEXT NOT NULL,    -- as the token has it, to the letter
    team       TEXT NOT NULL REFERENCES team (name),
    PRIMARY KEY (issuer, group_name)
) STRICT, WITHOUT ROWID;

-- Applications ("client_id", "azp") for which an issuer makes tokens. With a
-- caller, a token made for it is that caller's, whatever else it says.
CREATE TABLE issuer_client (
    issuer TEXT NOT NULL REFERENCES issuer (name) ON DELETE CASCADE,
    client TEXT NOT NULL,        -- to the letter
    caller TEXT REFERENCES caller (id), -- NULL: whom the token names
    PRIMARY KEY (issuer, client)
) STRICT, WITHOUT ROWID;

-- What rules may ask of a token's claims: context.claims.NAME. Stays when the
-- issuer goes, because rules may name it.
CREATE TABLE claim_attribute (
    name TEXT PRIMARY KEY,
    type TEXT NOT NULL CHECK (type IN ('string', 'long', 'bool', 'set'))
) STRICT, WITHOUT ROWID;

-- Which claim of an issuer's tokens it is.
CREATE TABLE issuer_claim (
    issuer    TEXT NOT NULL REFERENCES issuer (name) ON DELETE CASCADE,
    attribute TEXT NOT NULL REFERENCES claim_attribute (name),
    claim     TEXT NOT NULL,     -- a.b: b within a
    PRIMARY KEY (issuer, attribute)
) STRICT, WITHOUT ROWID;

-- Issuers whose tokens may say for whom a gateway asks. Without a row a token
-- is a caller's credential and nothing else.
CREATE TABLE issuer_end_user (
    issuer TEXT PRIMARY KEY REFERENCES issuer (name) ON DELETE CASCADE,
    mode   TEXT NOT NULL CHECK (mode IN ('also', 'only'))
) STRICT;

-- Callers that stand in front of people, and may pass on for whom they ask.
CREATE TABLE gateway (
    caller   TEXT PRIMARY KEY REFERENCES caller (id) ON DELETE CASCADE,
    required INTEGER NOT NULL DEFAULT 0 CHECK (required IN (0, 1)), -- each request names somebody
    created  INTEGER NOT NULL
) STRICT;

-- Whose client certificates are believed. Each domain judges by its own
-- authorities alone.
CREATE TABLE trust_domain (
    name     TEXT PRIMARY KEY,
    spiffe   TEXT NOT NULL DEFAULT '',  -- the trust domain of its SPIFFE IDs; '': it issues none
    bundle   TEXT NOT NULL,             -- PEM: every certificate is an anchor
    crl_file TEXT NOT NULL DEFAULT '',  -- revocation lists on disk; then one must be in force
    created  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX trust_domain_spiffe ON trust_domain (spiffe) WHERE spiffe <> '';

-- How a good certificate becomes a caller: the one named here, or the one whose
-- handle is `prefix` and what '*' stands for (the whole name without a '*').
CREATE TABLE certificate_mapping (
    id           TEXT PRIMARY KEY,      -- map_...
    trust_domain TEXT NOT NULL REFERENCES trust_domain (name) ON DELETE CASCADE,
    field        TEXT NOT NULL CHECK (field IN ('uri', 'dns', 'email', 'CN', 'O', 'OU', 'UID', 'serialNumber')),
    pattern      TEXT NOT NULL,
    caller       TEXT REFERENCES caller (id), -- NULL: named by the certificate
    prefix       TEXT NOT NULL DEFAULT '',
    created      INTEGER NOT NULL,
    UNIQUE (trust_domain, field, pattern)
) STRICT;

-- Where client certificates are asked for. Without a row: nowhere.
CREATE TABLE certificate_mode (
    listener TEXT PRIMARY KEY,          -- as it stands in bailiff.conf, or '*': every other
    mode     TEXT NOT NULL CHECK (mode IN ('off', 'optional', 'required'))
) STRICT;

CREATE TABLE engine (
    name            TEXT PRIMARY KEY,   -- Engine::"name"
    kind            TEXT NOT NULL CHECK (kind IN ('openai', 'llama-server', 'vllm', 'ollama', 'tgi', 'localai', 'demo')),
    url             TEXT NOT NULL,      -- http://h:p, https://h:p[/base], unix:/path
    credential_file TEXT NOT NULL DEFAULT '', -- file that holds the engine's own bearer token
    ca_file         TEXT NOT NULL DEFAULT '', -- https: trust this bundle only
    health_path     TEXT NOT NULL DEFAULT '/health',
    weight          INTEGER NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    max_concurrent  INTEGER NOT NULL DEFAULT 0 CHECK (max_concurrent >= 0), -- 0: no limit
    region          TEXT NOT NULL DEFAULT '',
    created         INTEGER NOT NULL
) STRICT;

CREATE TABLE model (
    name               TEXT PRIMARY KEY, -- Model::"name"
    version            TEXT NOT NULL DEFAULT '',
    owner              TEXT NOT NULL DEFAULT '',
    licence            TEXT NOT NULL DEFAULT '',
    risk_class         TEXT NOT NULL DEFAULT 'unclassified'
                       CHECK (risk_class IN ('unclassified', 'minimal', 'limited', 'high')),
    region             TEXT NOT NULL DEFAULT '',
    status             TEXT NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'approved', 'retired')),
    default_max_tokens INTEGER NOT NULL DEFAULT 1024 CHECK (default_max_tokens BETWEEN 1 AND 10000000),
    template_tokens    INTEGER NOT NULL DEFAULT 32 CHECK (template_tokens BETWEEN 0 AND 100000),  -- per request, upper bound
    message_tokens     INTEGER NOT NULL DEFAULT 16 CHECK (message_tokens BETWEEN 0 AND 100000),   -- per message, upper bound
    created            INTEGER NOT NULL
) STRICT;

CREATE TABLE model_alias (
    alias TEXT PRIMARY KEY,
    model TEXT NOT NULL REFERENCES model (name)
) STRICT;

CREATE TABLE model_group (
    name    TEXT PRIMARY KEY,    -- ModelGroup::"name"
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE model_group_member (
    model_group TEXT NOT NULL REFERENCES model_group (name) ON DELETE CASCADE,
    model       TEXT NOT NULL REFERENCES model (name) ON DELETE CASCADE,
    PRIMARY KEY (model_group, model)
) STRICT, WITHOUT ROWID;

-- Where a model runs: the candidates of a request, lowest priority first.
CREATE TABLE model_target (
    model    TEXT NOT NULL REFERENCES model (name) ON DELETE CASCADE,
    engine   TEXT NOT NULL REFERENCES engine (name),
    upstream TEXT NOT NULL,      -- the name the engine knows it by
    priority INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (model, engine, upstream)
) STRICT, WITHOUT ROWID;

-- What models cost. A row is never changed nor removed: a cost on record can be
-- computed again. In force is the latest that is valid, of equal ones the last.
CREATE TABLE price (
    version      INTEGER PRIMARY KEY,
    model        TEXT NOT NULL,
    valid_from   INTEGER NOT NULL,
    -- micro-units of money for a million tokens
    input        INTEGER NOT NULL CHECK (input BETWEEN 0 AND 1000000000000),
    cached       INTEGER NOT NULL CHECK (cached BETWEEN 0 AND input),
    output       INTEGER NOT NULL CHECK (output BETWEEN 0 AND 1000000000000),
    -- micro-units for each
    request      INTEGER NOT NULL DEFAULT 0 CHECK (request BETWEEN 0 AND 1000000000000),
    image        INTEGER NOT NULL DEFAULT 0 CHECK (image BETWEEN 0 AND 1000000000000),
    audio_second INTEGER NOT NULL DEFAULT 0 CHECK (audio_second BETWEEN 0 AND 1000000000000),
    created      INTEGER NOT NULL
) STRICT;
CREATE INDEX price_model ON price (model, valid_from, version);

CREATE TABLE quota (
    id          TEXT PRIMARY KEY,  -- quo_..., also the ledger's bucket
    scope       TEXT NOT NULL CHECK (scope IN ('organisation', 'team', 'caller', 'key')),
    subject     TEXT NOT NULL,     -- '' | team name | caller id | key id
    model       TEXT NOT NULL DEFAULT '',    -- '' = every model
    dimension   TEXT NOT NULL CHECK (dimension IN ('requests', 'tokens', 'input_tokens', 'output_tokens',
                    'cost', 'images', 'audio_seconds', 'request_bytes', 'concurrent_requests')),
    window      TEXT NOT NULL CHECK (window IN ('minute', 'hour', 'day', 'week', 'month', 'lifetime', 'now')),
    amount      INTEGER NOT NULL CHECK (amount BETWEEN 0 AND 9007199254740991), -- cost: micro-units of money
    created     INTEGER NOT NULL,
    model_group TEXT NOT NULL DEFAULT '',    -- '' or the models of this group together
    warn_percent INTEGER NOT NULL DEFAULT 0 CHECK (warn_percent BETWEEN 0 AND 100), -- 0: no warning
    zone        TEXT NOT NULL DEFAULT '',    -- of its calendar windows; '': the organisation's
    earlier     INTEGER NOT NULL DEFAULT 0 CHECK (earlier >= 0), -- used before it was made, in the window
    earlier_window INTEGER NOT NULL DEFAULT 0,                   -- that began then; 0 for lifetime
    UNIQUE (scope, subject, model, model_group, dimension, window),
    CHECK (model = '' OR model_group = ''),
    CHECK ((dimension = 'concurrent_requests') = (window = 'now'))
) STRICT;

-- Immutable once written; only state and the columns of the acts move.
CREATE TABLE policy_version (
    version   INTEGER PRIMARY KEY,
    hash      BLOB NOT NULL CHECK (length(hash) = 32), -- SHA-256 of the stored text
    text      TEXT NOT NULL,     -- Cedar, Caller literals already by id
    note      TEXT NOT NULL DEFAULT '',
    state     TEXT NOT NULL CHECK (state IN ('draft', 'submitted', 'approved', 'active', 'retired')),
    author    TEXT NOT NULL,     -- administrator id, or '' when unattributed
    created   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX policy_version_active ON policy_version (state) WHERE state = 'active';

-- Test cases that stand beside a version; JSON (proxy/rules/cases.h).
CREATE TABLE policy_test (
    version INTEGER PRIMARY KEY REFERENCES policy_version (version),
    text    TEXT NOT NULL
) STRICT;

-- What a version would have changed when it was submitted; JSON.
CREATE TABLE policy_effect (
    version INTEGER PRIMARY KEY REFERENCES policy_version (version),
    text    TEXT NOT NULL
) STRICT;

-- A version that is asked about live traffic beside the active one.
CREATE TABLE policy_shadow (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL REFERENCES policy_version (version),
    started INTEGER NOT NULL
) STRICT;

CREATE TABLE policy_act (
    id      INTEGER PRIMARY KEY,
    version INTEGER NOT NULL REFERENCES policy_version (version),
    act     TEXT NOT NULL CHECK (act IN ('put', 'submit', 'approve', 'activate', 'retire', 'rollback')),
    actor   TEXT NOT NULL,
    time    INTEGER NOT NULL,
    note    TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE administrator (
    id         TEXT PRIMARY KEY, -- adm_...; the name is in persons.db
    role       TEXT NOT NULL CHECK (role IN ('admin', 'policy-author', 'approver', 'auditor', 'operator')),
    token_hash BLOB UNIQUE CHECK (token_hash IS NULL OR length(token_hash) = 32),
    uid        INTEGER UNIQUE,   -- a system user who is this administrator on the socket
    disabled   INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    certificate_alone INTEGER NOT NULL DEFAULT 0 CHECK (certificate_alone IN (0, 1)), -- a pinned one, without a token
    created    INTEGER NOT NULL
) STRICT;

-- Further tokens of an administrator, each with an end of its own; two tokens
-- are still one person.
CREATE TABLE administrator_token (
    id            TEXT PRIMARY KEY, -- tok_...
    administrator TEXT NOT NULL REFERENCES administrator (id),
    hash          BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    label         TEXT NOT NULL DEFAULT '',
    created       INTEGER NOT NULL,
    expires       INTEGER,          -- NULL: never
    revoked       INTEGER           -- NULL: in force
) STRICT;

-- Client certificates of administrators, each pinned by its digest; a
-- certificate is one person's.
CREATE TABLE administrator_certificate (
    fingerprint   BLOB PRIMARY KEY CHECK (length(fingerprint) = 32), -- SHA-256 of the DER
    administrator TEXT NOT NULL REFERENCES administrator (id),
    label         TEXT NOT NULL DEFAULT '',
    not_before    INTEGER NOT NULL, -- as the certificate says
    not_after     INTEGER NOT NULL,
    created       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Sign-in by an issuer: whose "sub" is which administrator. The audience is the
-- administrators' own; a token that is good for calling models is not for this.
CREATE TABLE administrator_sign_in (
    issuer        TEXT NOT NULL REFERENCES issuer (name) ON DELETE CASCADE,
    subject       BLOB NOT NULL CHECK (length(subject) = 32), -- SHA-256 of "sub"
    audience      TEXT NOT NULL,
    administrator TEXT NOT NULL REFERENCES administrator (id),
    created       INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

-- A change that waits for a second person: the request as it was asked (its
-- path, query and body are in persons.db, since they may hold handles), and
-- what it would do, as its events would say it.
CREATE TABLE proposal (
    id      TEXT PRIMARY KEY,    -- pro_...
    action  TEXT NOT NULL,       -- of schema/admin.cedarschema
    rule    TEXT NOT NULL,       -- why one person is not enough
    hash    BLOB NOT NULL CHECK (length(hash) = 32), -- SHA-256 of the request
    changes TEXT NOT NULL,       -- JSON: [{type, object, before, after}]
    reason  TEXT NOT NULL DEFAULT '',
    author  TEXT NOT NULL REFERENCES administrator (id),
    state   TEXT NOT NULL CHECK (state IN ('open', 'approved', 'applied', 'rejected', 'withdrawn')),
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE proposal_act (
    id       INTEGER PRIMARY KEY,
    proposal TEXT NOT NULL REFERENCES proposal (id),
    act      TEXT NOT NULL CHECK (act IN ('open', 'approve', 'apply', 'reject', 'withdraw')),
    actor    TEXT NOT NULL,
    time     INTEGER NOT NULL,
    note     TEXT NOT NULL DEFAULT ''
) STRICT;

-- Break-glass. 'policy': a version in force without its approvals, until
-- `expires`, when the one before comes back. 'access': named callers whom the
-- rules deny are let through. Either stays under review until somebody else
-- has closed it.
CREATE TABLE emergency (
    id       TEXT PRIMARY KEY,   -- eme_...
    kind     TEXT NOT NULL CHECK (kind IN ('policy', 'access')),
    version  INTEGER REFERENCES policy_version (version), -- policy
    previous INTEGER REFERENCES policy_version (version), -- policy; NULL: none was active
    state    TEXT NOT NULL DEFAULT '', -- policy: of the version before, to go back to
    model    TEXT NOT NULL DEFAULT '', -- access: '' = every approved model
    actor    TEXT NOT NULL,
    reason   TEXT NOT NULL CHECK (reason <> ''),
    started  INTEGER NOT NULL,
    expires  INTEGER NOT NULL,
    ended    INTEGER,            -- NULL: still on
    cause    TEXT NOT NULL DEFAULT '' CHECK (cause IN ('', 'expired', 'ended', 'superseded')),
    reviewed INTEGER,            -- NULL: the review is open
    reviewer TEXT NOT NULL DEFAULT '',
    review   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX emergency_policy ON emergency (kind) WHERE kind = 'policy' AND ended IS NULL;

CREATE TABLE emergency_caller (
    emergency TEXT NOT NULL REFERENCES emergency (id),
    caller    TEXT NOT NULL REFERENCES caller (id),
    PRIMARY KEY (emergency, caller)
) STRICT, WITHOUT ROWID;

-- How long what a record seals stays readable: its personal fields and kept
-- content. The class "default" is there without a row, too.
CREATE TABLE retention_class (
    name    TEXT PRIMARY KEY,
    days    INTEGER NOT NULL CHECK (days BETWEEN 1 AND 36500), -- after the month
    exempt  INTEGER NOT NULL DEFAULT 0 CHECK (exempt IN (0, 1)), -- from erasure
    created INTEGER NOT NULL
) STRICT;

-- The class of a team's records, where no rule names one (@retain).
CREATE TABLE retention_team (
    team  TEXT PRIMARY KEY REFERENCES team (name) ON DELETE CASCADE,
    class TEXT NOT NULL REFERENCES retention_class (name)
) STRICT, WITHOUT ROWID;

-- No class keeps for less. It can only be raised.
CREATE TABLE retention_lock (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    days  INTEGER NOT NULL CHECK (days BETWEEN 1 AND 36500),
    since INTEGER NOT NULL
) STRICT;

-- Legal holds: the sealing keys of the records that they are about are not
-- destroyed while they stand.
CREATE TABLE hold (
    name     TEXT PRIMARY KEY,
    caller   TEXT NOT NULL DEFAULT '', -- id; '': every caller
    team     TEXT NOT NULL DEFAULT '', -- '': every team
    since    INTEGER NOT NULL DEFAULT 0, -- 0: no bound
    until    INTEGER NOT NULL DEFAULT 0, -- exclusive; 0: no bound
    reason   TEXT NOT NULL,
    basis    TEXT NOT NULL,            -- the duty or claim it rests on
    created  INTEGER NOT NULL,
    released INTEGER                   -- NULL: it stands
) STRICT;

-- Destructions: of sealing keys (expiry and erasure), of the log's oldest entries
-- (prune). One that has no end yet is taken up again at the next start.
CREATE TABLE disposal (
    id      TEXT PRIMARY KEY,
    kind    TEXT NOT NULL CHECK (kind IN ('retention', 'erasure', 'prune')),
    subject TEXT NOT NULL DEFAULT '',  -- erasure: the caller's id
    reason  TEXT NOT NULL DEFAULT '',
    basis   TEXT NOT NULL DEFAULT '',
    begun   INTEGER NOT NULL,
    ended   INTEGER,
    keys    INTEGER NOT NULL DEFAULT 0,
    files   INTEGER NOT NULL DEFAULT 0,
    bytes   INTEGER NOT NULL DEFAULT 0,
    certificate TEXT NOT NULL DEFAULT '', -- hex SHA-256 of DIR/certificates/ID.json
    prefix  TEXT NOT NULL DEFAULT ''   -- prune: audit/pruned.h
) STRICT;

CREATE TABLE disposal_key (            -- of those that have not ended
    disposal TEXT NOT NULL REFERENCES disposal (id),
    key      TEXT NOT NULL,
    PRIMARY KEY (disposal, key)
) STRICT, WITHOUT ROWID;

-- Keys of content digests (DIR/keys/digest-N.key) that a newer one replaced.
CREATE TABLE digest_key (
    number    INTEGER PRIMARY KEY,
    replaced  INTEGER NOT NULL,
    destroyed INTEGER            -- NULL: it is still there
) STRICT;

CREATE TABLE anchor (
    name          TEXT PRIMARY KEY,
    kind          TEXT NOT NULL CHECK (kind IN ('file', 'command')),
    target        TEXT NOT NULL, -- a path, or a command line for /bin/sh
    every_minutes INTEGER NOT NULL DEFAULT 60 CHECK (every_minutes BETWEEN 1 AND 10080),
    created       INTEGER NOT NULL
) STRICT;

-- To whom the log is delivered as it grows.
CREATE TABLE sink (
    name            TEXT PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE, -- snk_...: names the file of its position, DIR/sinks/ID
    kind            TEXT NOT NULL CHECK (kind IN ('syslog', 'https')),
    url             TEXT NOT NULL,        -- tcp://h:p, tls://h:p; https://h[:p]/path
    format          TEXT NOT NULL DEFAULT 'jsonl' CHECK (format IN ('jsonl', 'ocsf')),
    ca_file         TEXT NOT NULL DEFAULT '', -- trust this bundle only
    credential_file TEXT NOT NULL DEFAULT '', -- https: file with the Authorization
    first           INTEGER NOT NULL CHECK (first >= 0), -- the first entry that goes there
    created         INTEGER NOT NULL
) STRICT;

-- Who cosigns the log's checkpoints (C2SP tlog-witness), and how many must.
CREATE TABLE witness (
    name    TEXT PRIMARY KEY,
    url     TEXT NOT NULL,        -- the prefix before /add-checkpoint
    key     TEXT NOT NULL UNIQUE, -- its verifier key, type 04
    ca_file TEXT NOT NULL DEFAULT '', -- https: trust this bundle only
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE witness_policy (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    quorum        INTEGER NOT NULL CHECK (quorum BETWEEN 0 AND 16),
    mode          TEXT NOT NULL CHECK (mode IN ('open', 'closed')), -- closed: without it nothing is admitted
    grace_minutes INTEGER NOT NULL CHECK (grace_minutes BETWEEN 0 AND 10080),
    every_seconds INTEGER NOT NULL CHECK (every_seconds BETWEEN 1 AND 3600)
) STRICT;

-- Answers that are kept for a day, for a request that is sent again. `id` is a
-- digest of who asks and of the idempotency key; the answer is sealed under
-- that key, which is not here.
CREATE TABLE idempotent_answer (
    id      BLOB PRIMARY KEY CHECK (length(id) = 32),
    request BLOB NOT NULL CHECK (length(request) = 32), -- a digest
    status  INTEGER,             -- NULL: carried out, the answer is lost
    answer  BLOB,
    created INTEGER NOT NULL
) STRICT;

-- Events of committed changes that the journal may not have yet. `sequence`
-- never repeats; the entry carries it as "outbox".
CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    entry    TEXT NOT NULL       -- canonical JSON of the audit entry
) STRICT;
