-- Names of persons and the keys that seal their fields in the log. Erasable:
-- outside the control digest, secure_delete on, rollback journal.

CREATE TABLE person (
    id     TEXT PRIMARY KEY,     -- cal_... or adm_...
    handle TEXT NOT NULL UNIQUE, -- what people type
    name   TEXT NOT NULL DEFAULT ''
) STRICT;

-- No sealing key is made any more for those who were erased.
CREATE TABLE erased_subject (
    id TEXT PRIMARY KEY          -- cal_...
) STRICT;

-- Handles of those who were erased, so that no token makes them anew: HMAC-SHA-256
-- under a key of the master key's. Nothing says whose each was.
CREATE TABLE erased_handle (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE sealing_key (
    id      TEXT PRIMARY KEY,    -- short random id, written in entries
    subject TEXT NOT NULL,       -- cal_..., adm_..., or 'anonymous'
    month   TEXT NOT NULL,       -- '2026-11'
    class   TEXT NOT NULL DEFAULT 'default', -- retention class
    wrapped BLOB NOT NULL,       -- nonce, AES-256-GCM(master key, key), tag
    UNIQUE (subject, month, class)
) STRICT;

-- What a proposal (control.db) asks, to the letter: path, query and body may
-- hold handles and names. The proposal has its SHA-256.
CREATE TABLE proposal_request (
    id     TEXT PRIMARY KEY,     -- pro_...
    method TEXT NOT NULL,
    path   TEXT NOT NULL,
    query  TEXT NOT NULL,
    body   TEXT NOT NULL
) STRICT;
