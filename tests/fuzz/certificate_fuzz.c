/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/certificate_fuzz.c - a first line as a pattern, the rest as a
 * certificate in DER. No bytes may crash the reader; what it gives is within
 * its bounds and plain; and what a pattern captures is a piece of the value.
 * The rest as PEM, too: what is good for a client is no authority's. */
#include "proxy/certificate.h"

#include "lib/crypto.h"
#include "lib/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_names(const struct str *names, size_t count)
{
    size_t bytes = 0;

    MUST(count <= CERTIFICATE_NAMES_MAX);
    for (size_t i = 0; i < count; i++) {
        bytes += names[i].len;
        for (size_t k = 0; k < names[i].len; k++)
            MUST(names[i].ptr[k] > 0x20 && names[i].ptr[k] < 0x7f);
    }
    MUST(bytes <= CERTIFICATE_NAMES_BYTES_MAX);
}

static void match(struct str pattern, struct str value)
{
    struct errinfo info;
    struct str captured;

    for (int i = 0; i < CERTIFICATE_FIELDS; i++) {
        enum certificate_field field = (enum certificate_field)i;
        bool valid = certificate_pattern_is_valid(field, pattern, &info);
        bool good =
            certificate_pattern_matches(field, pattern, value, &captured);
        if (good && valid) {
            MUST(captured.len > 0 && captured.ptr >= value.ptr &&
                 captured.ptr + captured.len <= value.ptr + value.len);
            MUST(memchr(pattern.ptr, '*', pattern.len) != NULL ||
                 str_equal(pattern, value));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(4096, (size_t)1 << 20);
    struct certificate_facts facts;
    struct errinfo info = {0};
    struct str pattern, der, domain;

    MUST(arena != NULL && crypto_init(&info) == ERR_OK);
    str_split(str_make((const char *)data, size), '\n', &pattern, &der);
    if (certificate_read(der, arena, &facts, &info) == ERR_OK) {
        check_names(facts.dns, facts.dns_count);
        check_names(facts.emails, facts.email_count);
        MUST((facts.uri.len > 0) <= (facts.uri_count == 1));
        MUST(facts.uri.len <= CERTIFICATE_URI_MAX);
        MUST(facts.issuer.len <= CERTIFICATE_ISSUER_MAX);
        MUST(str_is_utf8(facts.subject_text) && str_is_utf8(facts.issuer));
        match(pattern, facts.uri);
        for (size_t i = 0; i < facts.email_count; i++)
            match(pattern, facts.emails[i]);
        for (int i = CERTIFICATE_CN; i < CERTIFICATE_FIELDS; i++)
            match(pattern, facts.subject[i]);
        if (certificate_spiffe_domain(facts.uri, &domain))
            MUST(certificate_is_spiffe_domain(domain));
    } else {
        MUST(info.text[0] != '\0');
    }
    match(pattern, der);
    if (certificate_read_client(der, arena, &facts, &info) == ERR_OK)
        MUST(!facts.is_authority && facts.not_before_us != 0 &&
             facts.not_after_us != 0);
    arena_free(&arena);
    return 0;
}
