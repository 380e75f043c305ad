/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/context_priv.h - the members of a request's context, for context.c
 * (from a request) and context_record.c (as JSON, and from it). */
#ifndef POLICY_CONTEXT_PRIV_H
#define POLICY_CONTEXT_PRIV_H

#include "policy/policy_priv.h"

#include "policy/cedar/extension.h"

#define TOOLS_MAX POLICY_TOOLS_MAX
#define TOOLS_BYTES_MAX POLICY_TOOLS_BYTES_MAX

/* Groups that a token gives; the record must hold them beside the tools. */
#define GROUPS_MAX 64
#define GROUPS_BYTES_MAX 2560 /* as JSON, quotes and commas included */

/* DNS names of a certificate. */
#define DNS_MAX 16
#define DNS_BYTES_MAX 640

enum record_id {
    AUTH,
    CERTIFICATE,
    END_USER,
    INPUT,
    PARAMS,
    REQUEST,
    TARGET,
    TIME,
    WHOLE,
    RECORDS
};

/* Members of each record, in the order of their names. */
#define MEMBERS(X)                                                             \
    X(AUTH, AUTH_CLIENT, "client")                                             \
    X(AUTH, AUTH_GROUPS, "groups")                                             \
    X(AUTH, AUTH_ISSUER, "issuer")                                             \
    X(AUTH, AUTH_KEY, "key")                                                   \
    X(AUTH, AUTH_METHOD, "method")                                             \
    X(CERTIFICATE, CERTIFICATE_DNS, "dns")                                     \
    X(CERTIFICATE, CERTIFICATE_FINGERPRINT, "fingerprint")                     \
    X(CERTIFICATE, CERTIFICATE_ISSUER, "issuer")                               \
    X(CERTIFICATE, CERTIFICATE_DOMAIN, "trustDomain")                          \
    X(CERTIFICATE, CERTIFICATE_URI, "uri")                                     \
    X(END_USER, END_USER_CALLER, "caller")                                     \
    X(END_USER, END_USER_GROUPS, "groups")                                     \
    X(END_USER, END_USER_ISSUER, "issuer")                                     \
    X(END_USER, END_USER_VERIFIED, "verified")                                 \
    X(INPUT, INPUT_AUDIOS, "audios")                                           \
    X(INPUT, INPUT_BYTES, "bytes")                                             \
    X(INPUT, INPUT_IMAGES, "images")                                           \
    X(INPUT, INPUT_MESSAGES, "messages")                                       \
    X(INPUT, INPUT_TOKENS, "tokens")                                           \
    X(INPUT, INPUT_TOOLS, "tools")                                             \
    X(PARAMS, PARAMS_MAX_TOKENS, "maxTokens")                                  \
    X(PARAMS, PARAMS_N, "n")                                                   \
    X(PARAMS, PARAMS_TEMPERATURE, "temperature")                               \
    X(PARAMS, PARAMS_TOP_P, "topP")                                            \
    X(REQUEST, REQUEST_DIALECT, "dialect")                                     \
    X(REQUEST, REQUEST_IP, "ip")                                               \
    X(REQUEST, REQUEST_ROUTE, "route")                                         \
    X(REQUEST, REQUEST_STREAM, "stream")                                       \
    X(TARGET, TARGET_ENGINE, "engine")                                         \
    X(TARGET, TARGET_UPSTREAM, "upstream")                                     \
    X(TIME, TIME_DATE, "date")                                                 \
    X(TIME, TIME_HOUR, "hour")                                                 \
    X(TIME, TIME_IS_HOLIDAY, "isHoliday")                                      \
    X(TIME, TIME_MINUTE, "minute")                                             \
    X(TIME, TIME_NOW, "now")                                                   \
    X(TIME, TIME_WEEKDAY, "weekday")                                           \
    X(WHOLE, WHOLE_AUTH, "auth")                                               \
    X(WHOLE, WHOLE_CERTIFICATE, "certificate")                                 \
    X(WHOLE, WHOLE_CLAIMS, "claims")                                           \
    X(WHOLE, WHOLE_END_USER, "endUser")                                        \
    X(WHOLE, WHOLE_INPUT, "input")                                             \
    X(WHOLE, WHOLE_PARAMS, "params")                                           \
    X(WHOLE, WHOLE_REQUEST, "request")                                         \
    X(WHOLE, WHOLE_TARGET, "target")                                           \
    X(WHOLE, WHOLE_TIME, "time")

enum member {
#define X(record, member, name) member,
    MEMBERS(X)
#undef X
        MEMBER_COUNT
};

struct context_member {
    enum record_id record;
    struct str name;
};
extern const struct context_member context_members[MEMBER_COUNT];

struct policy_context {
    struct cedar_value value[MEMBER_COUNT]; /* CEDAR_NONE: absent */
    /* Members by record, each record's in Cedar's order of keys. */
    enum member order[MEMBER_COUNT];
    struct cedar_key key[MEMBER_COUNT]; /* of order[i] */
    unsigned first[RECORDS + 1];
    struct cedar_field field[MEMBER_COUNT];
    struct cedar_record record[RECORDS];
    struct cedar_ip ip;
    struct cedar_uid engine;
    char date[16];
    int64_t now_us;
    struct arena *arena; /* the set of tools */
    struct arena *groups;
    struct arena *dns, *end_user_groups;
    struct cedar_uid end_user;
    /* context.claims, by name as it is written; its fields as Cedar sorts. */
    struct str claim_name[POLICY_CLAIMS_MAX];
    struct cedar_value claim[POLICY_CLAIMS_MAX];
    struct cedar_field claim_field[POLICY_CLAIMS_MAX];
    struct cedar_record claims;
    size_t claim_count;
    bool has_claims;
    struct arena *claim_sets;
    struct cedar_value no_tools;
    struct arena *fixed;    /* no_tools */
    struct arena *recorded; /* what policy_context_read took from a record */
};

/* The address of a peer as rules expect it: an IPv4 caller on an IPv6 socket
 * is an IPv4 caller, a link-local zone is no part of the address. */
struct cedar_value context_read_address(
    struct policy_context *c, struct str address);
/* The records of what is present, after the values were set. */
void context_close_records(struct policy_context *c);

#endif
