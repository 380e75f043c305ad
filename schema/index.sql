-- The audit index: what the journal says, laid out for searching. Derived; it
-- is rebuilt from the journal at will. One file covers the entries
-- [first, first + span). A request is one row under the index of the entry
-- that opened it (admitted or denied); its end may stand in a later range and
-- is still written here. Times are microseconds since 1970 UTC and never
-- decrease with seq, so that a range of time is a range of seq.
-- Every SQL index below ends in seq by itself: it is the rowid.

CREATE TABLE state (
    only       INTEGER PRIMARY KEY CHECK (only = 1),
    first      INTEGER NOT NULL, -- the first entry this file covers
    span       INTEGER NOT NULL, -- how many it is to cover
    next       INTEGER NOT NULL, -- entries before this one are in
    first_time INTEGER,          -- NULL: no rows yet
    last_time  INTEGER,
    clean      INTEGER NOT NULL, -- 1: closed and synced; 0: being written
    boot       TEXT NOT NULL,    -- the boot in which it was last written
    posted     INTEGER NOT NULL, -- requests below this one are in table posting
    last       BLOB NOT NULL     -- SHA-256 of entry next - 1; empty: none is in
) STRICT;

-- Every string that repeats, once.
CREATE TABLE word (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE request (
    seq            INTEGER PRIMARY KEY, -- index of the entry in the log
    id             TEXT NOT NULL,       -- the request's ULID
    time           INTEGER NOT NULL,
    permitted      INTEGER NOT NULL,
    caller         INTEGER NOT NULL,    -- word, as are all below where marked
    key            INTEGER NOT NULL,    -- word
    method         INTEGER NOT NULL,    -- word
    teams          INTEGER NOT NULL,    -- word: a JSON array
    action         INTEGER NOT NULL,    -- word
    route          INTEGER NOT NULL,    -- word
    model          INTEGER NOT NULL,    -- word
    asked          INTEGER NOT NULL,    -- word
    engine         INTEGER,             -- word; the first permitted, then the one that served
    upstream       INTEGER,             -- word
    policy_version INTEGER NOT NULL,
    policies       INTEGER NOT NULL,    -- word: a JSON array of the rules that decided
    stage          INTEGER,             -- word; denied only
    code           INTEGER,             -- word; denied only
    quota          INTEGER,             -- word; denied only
    reason         TEXT,                -- message of a denial, words about the end
    stream         INTEGER NOT NULL,
    body           INTEGER NOT NULL,    -- bytes of the request's body
    cap            INTEGER,
    status         INTEGER,             -- sent to the caller
    outcome        INTEGER,             -- word; NULL: denied, or no end yet
    attempts       INTEGER,
    input          INTEGER,             -- tokens
    output         INTEGER,             -- tokens
    cost           INTEGER,             -- micro-units of money; NULL: no price
    bytes_out      INTEGER,
    first_byte     INTEGER,             -- microseconds
    total          INTEGER,             -- microseconds
    end_seq        INTEGER,
    end_time       INTEGER
) STRICT;
CREATE INDEX request_id ON request (id);

-- Requests without an end: few, and asked for by themselves.
CREATE INDEX request_open ON request (end_seq)
    WHERE permitted = 1 AND end_seq IS NULL;

-- For each value of each field the requests that have it, as sets over chunks
-- of 4096 entries: audit/index_posting.h. Entries below state.posted have them.
CREATE TABLE posting (
    field INTEGER NOT NULL,
    value INTEGER NOT NULL, -- a word, or the number itself
    chunk INTEGER NOT NULL, -- seq >> 12
    seqs  BLOB NOT NULL,    -- offsets of 16 bits, or a bitmap
    PRIMARY KEY (field, value, chunk)
) STRICT, WITHOUT ROWID;

-- What such a request got later, at its end.
CREATE TABLE late (
    field INTEGER NOT NULL,
    value INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (field, value, seq)
) STRICT, WITHOUT ROWID;

-- The words of the arrays in request.teams and request.policies.
CREATE TABLE member (
    list INTEGER NOT NULL, -- word: the JSON array
    word INTEGER NOT NULL, -- word: a team or @id that stands in it
    PRIMARY KEY (list, word)
) STRICT, WITHOUT ROWID;

-- Entries of a request beside the one that opened it and the one that ended it.
CREATE TABLE part (
    id   TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    type INTEGER NOT NULL, -- word
    PRIMARY KEY (id, seq)
) STRICT, WITHOUT ROWID;

-- Acts of administrators and of the program, failed authentications.
CREATE TABLE event (
    seq    INTEGER PRIMARY KEY,
    id     TEXT NOT NULL,
    time   INTEGER NOT NULL,
    type   INTEGER NOT NULL, -- word
    actor  INTEGER NOT NULL, -- word
    method INTEGER NOT NULL, -- word
    kind   INTEGER NOT NULL, -- word: of the object
    object INTEGER NOT NULL, -- word
    key    INTEGER NOT NULL, -- word: auth.failed
    route  INTEGER NOT NULL, -- word: auth.failed
    count  INTEGER NOT NULL, -- auth.failed: how many; else 1
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX event_id ON event (id);
CREATE INDEX event_type ON event (type);
CREATE INDEX event_actor ON event (actor);
CREATE INDEX event_object ON event (object);
