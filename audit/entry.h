/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/entry.h - the entries of the log, written as canonical JSON
 * (RFC 8785) without a tree; schema/audit-event.schema.json describes them.
 *
 * Every entry has "v":1, "type", "time" and "id" (its own ULID; for the
 * request.* family the request's id, shared by all its entries). Numbers are
 * integers within +-(2^53-1). Persons appear by opaque id only; personal
 * fields go into "sealed" (audit/seal.h). Each writer appends one entry to
 * `out` and tells where the 27-byte timestamp stands, counted from the entry's
 * first byte. Field maxima keep an entry under 65,535 bytes: longer texts are
 * cut at a character boundary and end in U+2026; a list cut short says by how
 * much ("candidatesMore": 3); a finished JSON value past its maximum is
 * replaced by {"omitted":{"bytes":N,"sha256":"..."}}. No I/O; any thread.
 *
 * The shapes, members sorted, `?` where a member may be missing:
 *   request.admitted  action, auth{key,method}, caller, candidates[{advice?,
 *     engine, errors?, maxTokens?, model, permitted, policies, priority?,
 *     reason?, recordFull?, upstream}], candidatesMore?, cap?, capInjected,
 *     content?{blob,bytes,commitment,key}, context, dialect,
 *     groupTeams?, id, input{body,bound,digest,digestKey}, model{asked,name},
 *     policy{hash,version}, price?{hash,version}, quotas[{arrival?, bucket,
 *     limit, reserved, step?, used, window}], retention?, route,
 *     sealed?{box,key}, snapshot, stream, stripped?, teams, time, trace?,
 *     type, v, waited? (microseconds)
 *   request.denied    the same with denied{code,message,quota?,stage,status};
 *     its quotas are {asked, bucket, limit, used, window}: nothing was taken
 *   request.measured  the same as denied, with engine instead of denied
 *   request.attempt   engine, error, id, number, status?, time, type,
 *     upstream, v
 *   request.completed answer?{digest,digestKey}, attempts, bytesOut,
 *     content?{blob,bytes,commitment,key}, contentLost?, engine?, id,
 *     latency{durable?,firstByte?,total?} (microseconds), outcome,
 *     quotas[{arrival?, bucket, reserved, settled, step?, window}], reason?,
 *     status?, time, type, upstream?, usage{cached?,cost?,input?,output?,
 *     reasoning?,source}, v
 *   request.withdrawn id, quotas (as completed), reason, time, type, v
 *   auth.failed       count, first, id, key?, reason, route, sealed?, time,
 *     type, v
 *   every other       actor{id,method}, after?, before?, controlDigest?,
 *     detail?, id, object?{id,kind}, outbox?, reason?, sealed?, time, type, v
 * A quota's window is the RFC 3339 start of its calendar window, "lifetime",
 * "minute" for a rate, or "now" for what runs at once; only rates have arrival
 * (RFC 3339) and step. Costs are micro-units of money. */
#ifndef AUDIT_ENTRY_H
#define AUDIT_ENTRY_H

#include "lib/buf.h"
#include "lib/clock.h"

/* Past these a value is left out or cut; who builds the inputs keeps within
 * them, so that a record says everything that was decided on. */
#define AUDIT_CONTEXT_MAX 20480 /* bytes of the Cedar context's JSON */
#define AUDIT_BOX_MAX 4096      /* bytes of a sealed box; past it: left out */
#define AUDIT_OBJECT_MAX 16384  /* each of before, after, detail of an act */
#define AUDIT_QUOTAS_MAX 32     /* figures in one entry */
#define AUDIT_MESSAGE_MAX 2048  /* bytes of denied.message, escaped */

struct audit_sealed {
    struct str key_id; /* sealing_key.id; empty: no sealed box in the entry */
    struct str box;    /* nonce | ciphertext | tag, raw bytes */
};

/* Content that was kept (audit/blob.h). */
struct audit_content {
    struct str key_id;     /* sealing_key.id; empty: nothing was kept */
    struct str blob;       /* hex SHA-256 of the file */
    struct str commitment; /* hex SHA-256 of salt and content */
    int64_t bytes;         /* of the content */
};

struct audit_quota_figure {
    struct str bucket; /* quota id */
    bool rate;
    bool now;                /* what runs at once; replay passes over it */
    int64_t window_start_us; /* calendar; 0 and `lifetime` for lifetime */
    int64_t limit;
    int64_t used;       /* before; admitted only */
    int64_t reserved;   /* admitted: taken; completed: what had been taken;
                           denied, measured: what was asked for */
    int64_t settled;    /* completed, withdrawn: charged in the end */
    int64_t arrival_us; /* rate: after the step */
    uint64_t step;      /* rate */
};

struct audit_candidate {
    struct str engine, model, upstream;
    bool permitted;
    struct str reason;          /* why not, in words; empty when permitted */
    const struct str *policies; /* @id of the deciding rules */
    size_t policy_count;
    const struct str *errors; /* @id of rules whose evaluation failed */
    size_t error_count;
    const struct str *advice; /* @id of rules that only advise, and hold */
    size_t advice_count;
    /* obligations that will bind: */
    int64_t max_tokens;  /* -1: none */
    struct str priority; /* low normal high; empty: none */
    bool record_full;
};

/* Shared by admitted, denied and measured. Everything borrowed. */
#define AUDIT_GROUP_TEAMS_BYTES 1100
struct audit_request {
    struct str id; /* ULID */
    int64_t time_us;
    struct str caller, key, auth_method;
    const struct str *teams; /* all, ancestors included */
    size_t team_count;
    /* Those that the groups of a token gave, without what they are in: at most
     * AUDIT_GROUP_TEAMS_BYTES with three for each. Never cut: without them the
     * decision could not be repeated. */
    const struct str *group_teams;
    size_t group_team_count;
    struct str route, dialect, action;
    struct str model_asked,
        model;            /* as asked; the registered name ('' if none) */
    struct str context;   /* canonical JSON of the Cedar context */
    struct str emergency; /* what let it through; empty: the rules did */
    int64_t policy_version;
    struct str policy_hash; /* hex */
    struct str snapshot;    /* hex, short */
    int64_t body_bytes;
    struct str body_digest; /* hex HMAC-SHA-256, keyed */
    struct str digest_key;  /* which key */
    int64_t input_bound;    /* reserved input tokens */
    int64_t cap;            /* output cap sent to the engine; -1: none */
    bool cap_injected;      /* the caller had set none */
    bool stream;
    const struct str *stripped; /* fields taken out of the body */
    size_t stripped_count;
    const struct audit_candidate *candidates;
    size_t candidate_count;
    const struct audit_quota_figure *quotas;
    size_t quota_count;
    int64_t price_version; /* of the row in force; 0: the model has none */
    struct str price_hash; /* hex */
    int64_t waited_us;     /* in the queue for an engine's place; 0: not */
    struct str trace;      /* W3C trace id, 32 hex, or empty */
    struct audit_sealed sealed;
    struct audit_content content; /* admitted: the body */
    struct str retention;         /* class; empty: "default" */
};

void audit_entry_admitted(
    struct buf *out, const struct audit_request *request, size_t *time_offset);

struct audit_denied {
    struct str stage; /* "route", "describe", "plan", "decide", "reserve" ... */
    int status;
    struct str code;    /* "policy_denied", "model_not_found" ... */
    struct str message; /* what the caller was told */
    struct str quota;   /* the quota that refused, or empty */
};
void audit_entry_denied(struct buf *out, const struct audit_request *request,
    const struct audit_denied *denied, size_t *time_offset);
void audit_entry_measured(struct buf *out, const struct audit_request *request,
    struct str engine, size_t *time_offset);

struct audit_attempt { /* one that failed and was followed by another */
    struct str id;
    int64_t time_us;
    int64_t number; /* from 1 */
    struct str engine, upstream;
    int status; /* 0: none came */
    struct str error;
};
void audit_entry_attempt(
    struct buf *out, const struct audit_attempt *attempt, size_t *time_offset);

/* A completion is at most this long. */
#define AUDIT_COMPLETION_MAX 12288

struct audit_completed {
    struct str id;
    int64_t time_us;
    struct str outcome; /* ok cut client_gone engine_error interrupted */
    struct str reason;  /* words, may be empty */
    int status;         /* sent to the caller; 0: none */
    struct str engine, upstream;
    int64_t attempts;
    int64_t input_tokens, output_tokens, cached_tokens,
        reasoning_tokens;    /* -1: unknown */
    struct str usage_source; /* engine counted reserved none */
    int64_t cost;      /* micro-units by the admission's price; -1: none */
    int64_t bytes_out; /* answer bytes relayed */
    struct str answer_digest; /* hex HMAC of the relayed answer, may be empty */
    struct str digest_key;
    struct audit_content content; /* what was relayed of the answer */
    struct str content_lost;      /* why it could not be kept, or empty */
    int64_t durable_us, first_byte_us,
        total_us; /* since the head was read; -1 */
    const struct audit_quota_figure *quotas;
    size_t quota_count;
};
void audit_entry_completed(struct buf *out,
    const struct audit_completed *completed, size_t *time_offset);

struct audit_withdrawn {
    struct str id;
    int64_t time_us;
    struct str reason; /* deadline client_gone engine_unreachable shutdown */
    const struct audit_quota_figure *quotas;
    size_t quota_count;
};
void audit_entry_withdrawn(struct buf *out,
    const struct audit_withdrawn *withdrawn, size_t *time_offset);

/* auth.failed, aggregated per address and reason. */
struct audit_auth_failed {
    int64_t time_us, first_us;
    struct str reason; /* missing malformed unknown expired revoked disabled
                          bad_head route body token certificate_... */
    struct str route;  /* of the last one */
    int64_t count;
    struct str key;             /* key id where one was recognised */
    struct audit_sealed sealed; /* address */
    struct str id; /* the entry's ULID, under which `sealed` was made; empty:
                      one is made */
};
void audit_entry_auth_failed(struct buf *out,
    const struct audit_auth_failed *failed, size_t *time_offset);

/* admin.*, policy.*, engine.*, system.*, audit.*: one shape. */
struct audit_act {
    struct str type; /* "admin.team.added", "policy.activated", "engine.down",
                        "system.started", "audit.queried" ... */
    int64_t time_us;
    struct str actor;             /* adm_..., "system", or "" */
    struct str actor_method;      /* token uid root offline system */
    struct str actor_certificate; /* shown beside it: SHA-256, hex; or empty */
    struct str object_kind, object; /* "team", "cardiology" */
    struct str before, after;       /* canonical JSON objects, or empty */
    struct str detail;              /* canonical JSON object, or empty */
    struct str reason;              /* words a person gave, may be empty */
    int64_t outbox;                 /* sequence, 0: not from the outbox */
    struct str
        control_digest; /* hex of the resulting control state, or empty */
    struct audit_sealed sealed;
    struct str id; /* as in audit_auth_failed */
};
void audit_entry_act(
    struct buf *out, const struct audit_act *act, size_t *time_offset);

/* Where the timestamp stands in an entry that was written earlier (the
 * outbox). ERR_SYNTAX: no entry of ours. */
enum err audit_entry_find_time(struct str entry, size_t *time_offset) MUSTCHECK;

#endif
