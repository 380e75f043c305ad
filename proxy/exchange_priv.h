/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_priv.h - the exchange as its stages see it (exchange*.c).
 *
 * Phases:
 *   READING -> (stages) -> ADMITTING -> FORWARDING (-> KEEPING_ANSWER) -> ENDED
 *        |          \--> JOINING, QUEUED, MEASURING, KEEPING (and back)
 *        \---------\---> DENYING or SLOWED -------/
 * JOINING waits for its caller to be made, QUEUED for a place at an engine,
 * ADMITTING and DENYING for their entry to be durable, MEASURING for its entry
 * and then for a tokeniser, KEEPING and KEEPING_ANSWER for content to be
 * durable, where a rule obliges to keep it; the caller may go in any phase
 * (connection is NULL then). SLOWED is a refusal of somebody unknown whose turn
 * to be answered has not come yet. Whatever is admitted ends in
 * request.completed or request.withdrawn. */
#ifndef PROXY_EXCHANGE_PRIV_H
#define PROXY_EXCHANGE_PRIV_H

#include "audit/entry.h"
#include "engine/dialect.h"
#include "engine/tokeniser.h"
#include "lib/encode.h"
#include "proxy/connection.h"
#include "proxy/exchange.h"

#define EXCHANGE_MAGIC 0x65786368u
#define EXCHANGE_CANDIDATES 8
#define EXCHANGE_ATTEMPTS 4
#define EXCHANGE_ARENA_FIRST (32u * 1024)
#define EXCHANGE_ARENA_MAX (256u << 20)

enum stage_result {
    STAGE_DENY = 0, /* the verdict says why; the default */
    STAGE_PASS,
    STAGE_WAIT /* something will go on from here */
};

enum exchange_phase {
    READING,
    JOINING,
    QUEUED,
    MEASURING,
    KEEPING,
    ADMITTING,
    DENYING,
    SLOWED,
    FORWARDING,
    KEEPING_ANSWER,
    ENDED
};

/* Why the answer is no. Starts at a denial without a reason. */
struct verdict {
    int status;
    const char *type, *code;
    struct str message, param;
    const char *stage;
    const char *allow;     /* 405 */
    int64_t retry_after_s; /* -1: none */
    bool never_retry;      /* x-should-retry: false */
    bool close;            /* the connection cannot go on */
    struct str quota;
    int64_t quota_asked, quota_used; /* by which it was refused; asked 0: not by
                                        a quota's figures */
};

struct exchange_candidate {
    const struct snapshot_candidate *target;
    struct pool_engine *live;
    struct policy_decision decision;
    bool tried;
    bool let_through; /* not by the rules: by an emergency */
};

enum relay_mode { RELAY_NONE, RELAY_STREAM, RELAY_WHOLE, RELAY_ERROR };

struct exchange {
    uint32_t magic;
    struct worker *worker;
    struct connection *connection;    /* NULL: the caller has gone */
    struct exchange *next, *previous; /* all of the worker; pooled: next */
    struct exchange *next_waiting;
    uint64_t ticket;
    enum exchange_phase phase;
    unsigned stage; /* index into the table */
    struct arena *arena;
    struct snapshot *snapshot;
    char id[ULID_LENGTH + 1];
    int64_t started_us;  /* monotonic: the head was there */
    int64_t appended_us; /* monotonic: the admission was appended */
    int64_t durable_us, first_byte_us; /* since started; -1 */
    int64_t wall_us;
    struct verdict verdict;

    /* from the head */
    struct dialect_match match;
    struct str method, path, user_agent, content_type;
    struct str credentials[3];
    unsigned credential_count;
    struct str end_user_said; /* X-Bailiff-End-User, as it came */
    unsigned end_user_count;
    char trace_id[33];  /* "" or 32 hex */
    bool content_coded; /* a Content-Encoding other than identity */
    uint64_t announced; /* Content-Length, 0 if unknown */

    /* who */
    const struct snapshot_key *key;
    const struct snapshot_caller *caller;
    const struct token_identity *token; /* NULL: no token */
    /* By the groups of the token; NULL: in the caller's own teams alone. */
    const struct snapshot_membership *joined;
    struct identity_certificate *certificate; /* NULL: none; referenced */
    const struct token_identity *end_user; /* for whom; verified. NULL: none */
    bool by_certificate;                   /* it is the credential */
    bool revoked;                          /* meanwhile */
    struct exchange_newcomer *newcomer;    /* the caller is not there yet */

    /* what */
    struct buf body;
    size_t held; /* of the worker's budget */
    struct dialect_description description;
    const struct snapshot_model *model;
    struct exchange_candidate candidates[EXCHANGE_CANDIDATES];
    unsigned candidate_count;
    struct dialect_model_entry *models; /* GET /v1/models */
    size_t model_count;
    struct str context;    /* Cedar's, canonical JSON */
    const char *emergency; /* what let it through; NULL: the rules did */

    /* where */
    struct exchange_candidate *place; /* held; NULL: none, or the attempt's */
    bool counted; /* refused, and on record by worker_refuse alone */
    struct queue_waiter waiter;
    struct exchange_candidate *queued_for[QUEUE_TARGETS];
    struct loop_timer queue_timer;
    int64_t queued_us; /* monotonic */
    int64_t waited_us; /* 0: it did not wait */

    /* how much */
    int64_t input_bound; /* or, once measured, the true count */
    struct quota_demand demand;
    bool measured; /* a tokeniser was asked, or it was found to be of no use */
    struct exchange_candidate *counting; /* whose tokeniser is being asked */
    struct tokeniser tokeniser;
    struct loop_timer measure_timer, slow_timer;
    bool asked_again; /* after a pooled connection that had died */
    int64_t cap;      /* granted per answer; -1: the route has none */
    int64_t answers;  /* per cap */
    bool cap_injected;
    struct quota_claim claims[QUOTA_CLAIMS_MAX];
    const struct snapshot_quota_for *claims_for[QUOTA_CLAIMS_MAX];
    size_t claim_count;
    bool reserved;

    /* forwarding */
    struct transfer_handler handler;
    struct transfer *transfer;
    struct exchange_candidate *current;
    unsigned attempts;
    bool fresh; /* the last attempt died with a pooled connection */
    int engine_status;
    enum relay_mode relay;
    bool head_sent;
    bool paused;
    struct dialect_stream *stream;
    struct buf answer; /* whole answers and errors */
    struct str answer_type;
    int64_t bytes_out;
    struct crypto_mac *relayed; /* of a stream's bytes; NULL: no stream */
    struct str relayed_key;     /* the name of its key */

    struct exchange_content *content; /* NULL: nothing is kept of it */
};

/* --- exchange.c ---------------------------------------------------------- */
extern const unsigned exchange_stage_forward;
enum stage_result exchange_deny(struct exchange *x, const char *stage,
    int status, const char *type, const char *code, const char *format, ...)
    PRINTFLIKE(6, 7);
void exchange_end(struct exchange *x);
/* From the stage that waited; x may be gone afterwards. */
void exchange_go_on(struct exchange *x);
/* What waited ends in the verdict that exchange_deny has set. */
void exchange_refuse(struct exchange *x);

/* --- The stages, in order ------------------------------------------------ */
enum stage_result stage_route(struct exchange *x);
enum stage_result stage_load(struct exchange *x);
enum stage_result stage_identify(struct exchange *x);
enum stage_result stage_read(struct exchange *x);
enum stage_result stage_join(struct exchange *x);
enum stage_result stage_describe(struct exchange *x);
enum stage_result stage_plan(struct exchange *x);
enum stage_result stage_decide(struct exchange *x);
enum stage_result stage_crowd(struct exchange *x);
enum stage_result stage_queue(struct exchange *x);
enum stage_result stage_reserve(struct exchange *x);
enum stage_result stage_keep(struct exchange *x);
enum stage_result stage_admit(struct exchange *x);
enum stage_result stage_forward(struct exchange *x);

/* --- exchange_request.c -------------------------------------------------- */
/* "api_key" "jwt" "certificate" */
struct str exchange_method(const struct exchange *x);
/* Who asks, anew with the snapshot that is in force now. */
enum stage_result exchange_identify_again(struct exchange *x);
/* 401 for a token that is good and whose caller cannot be. */
enum stage_result exchange_refuse_newcomer(
    struct exchange *x, const char *reason, const char *text);
/* exchange_join.c: NULL where there is no memory. */
struct exchange_newcomer *exchange_newcomer_new(
    struct exchange *x, const struct token_answer *answer);
/* exchange_end_user.c: for whom the caller asks, where it may say so. */
enum stage_result exchange_look_at_end_user(struct exchange *x);
/* What was believed of it still is. */
bool exchange_end_user_stands(const struct exchange *x);
/* The certificate is still good, and its caller the one it was. */
bool exchange_certificate_stands(const struct exchange *x);

/* --- exchange_decide.c --------------------------------------------------- */
/* "chat, tiny" of what this caller may use, for messages. */
struct str exchange_permitted_models(struct exchange *x, const char *action);

/* What the tokeniser cannot count: images and sounds, bounded. */
int64_t exchange_media_tokens(const struct exchange *x);

/* --- exchange_queue.c ---------------------------------------------------- */
/* Gives back the place of a candidate, after an attempt or without one. */
void exchange_place_free(
    struct exchange *x, struct exchange_candidate *candidate, bool good);
void exchange_place_leave(struct exchange *x); /* x->place, if any */
void exchange_queue_gone(struct exchange *x);  /* the caller has gone */
void exchange_queue_revoked(struct exchange *x);

/* --- exchange_usage.c ---------------------------------------------------- */
/* The caller's quotas as JSON. */
void exchange_write_usage(struct exchange *x, struct buf *out);

/* --- exchange_measure.c -------------------------------------------------- */
/* Would the true count of the input help, and is there a tokeniser that has
 * it? Cheap. */
bool exchange_may_measure(const struct exchange *x);
/* Makes request.measured durable, then asks; goes on with the stage when it
 * knows more, or knows that it will not. STAGE_DENY: cannot be recorded. */
enum stage_result exchange_measure(struct exchange *x);
void exchange_measure_durable(struct exchange *x);
void exchange_measure_abandon(struct exchange *x); /* the caller has gone */

/* --- exchange_audit.c ---------------------------------------------------- */
/* Appends the entry; false: it cannot be recorded (nothing may pass). */
bool exchange_record_denied(struct exchange *x);
bool exchange_record_admitted(struct exchange *x);
bool exchange_record_measured(struct exchange *x);
void exchange_record_attempt(struct exchange *x, int status, struct str error);
struct settlement {
    const char *outcome; /* ok cut client_gone engine_error */
    const char *reason;
    int status;
    int64_t input, output, cached, reasoning; /* -1: unknown */
    const char *source;                       /* engine counted reserved none */
    bool served; /* false: the request's unit is given back */
};
/* Settles the quotas and appends request.completed; where the answer is kept,
 * once that is durable. */
void exchange_settle(struct exchange *x, const struct settlement *settlement);
void exchange_settle_now(
    struct exchange *x, const struct settlement *settlement);
/* Cancels the reservation and appends request.withdrawn. */
void exchange_withdraw(struct exchange *x, const char *reason);

/* --- exchange_content.c -------------------------------------------------- */
/* What is kept of an exchange, or sealed under a key of another class. */
struct exchange_content {
    struct content_job job;
    struct exchange *exchange;
    struct str class; /* of retention */
    bool keeps;       /* request and answer, not the key alone */
    bool has_key;     /* job.key is that of the class */
    bool has_request; /* it is durable */
    bool admitted;    /* and an entry commits to it */
    struct blob_commitment request;
    struct buf relayed;           /* of a stream, as the caller got it */
    struct settlement settlement; /* due when the answer is durable */
    bool settles, has_answer;
    int64_t total_us;
    const char *lost; /* why the answer is not kept; NULL: it is */
};
/* Bytes that are about to be relayed; false: they cannot be kept. */
bool exchange_content_relay(struct exchange *x, struct str bytes);
/* Does the settlement wait for the answer to be kept? Then it is taken. */
bool exchange_content_settle(
    struct exchange *x, const struct settlement *settlement);
/* Does the end wait? */
bool exchange_content_ends(struct exchange *x);
void exchange_content_free(struct exchange *x);
/* The key for personal fields; NULL: there is none. */
const struct seal_key *exchange_seal_key(const struct exchange *x);

/* --- exchange_answer.c --------------------------------------------------- */
enum framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };
void exchange_write_head(struct exchange *x, struct buf *out, int status,
    struct str content_type, enum framing framing, size_t length, bool keep);
/* The verdict as an answer; lets go of the connection. */
void exchange_answer_verdict(struct exchange *x);
/* A whole answer; lets go of the connection. */
void exchange_answer_whole(
    struct exchange *x, int status, struct str content_type, struct str body);

/* --- exchange_forward.c -------------------------------------------------- */
/* Is it the better one to ask first? By priority, then by load. */
bool exchange_goes_before(
    const struct exchange_candidate *a, const struct exchange_candidate *b);
/* Stops the engine's work and ends the answer in a way that cannot be taken
 * for success; settles; ends the exchange. */
void exchange_cut(struct exchange *x, const char *reason, const char *message);
void exchange_abandon(struct exchange *x); /* the caller has gone */

/* exchange_shadow.c: the candidate version's answer, counted. Between the
 * decisions and their verdict; changes nothing. */
void exchange_shadow(struct exchange *x);

#endif
