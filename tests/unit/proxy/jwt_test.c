/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of proxy/jwt and lib/public_key: tokens that are right in every
 * algorithm, and wrong in one way each (RFC 8725 and what it learned from). */
#include "proxy/jwt/jwt.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/must.h"
#include "proxy/jwt/jwt_lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/proxy/jwt_fixture.h"

#define NOW INT64_C(1800000000)
#define GOOD                                                                   \
    "{\"iss\":\"https://i.example\",\"aud\":\"bailiff\",\"sub\":\"alice\","    \
    "\"exp\":1800000300,\"iat\":1799999990}"

/* Keys are made once: RSA takes its time. */
enum { RSA_A, RSA_B, EC256, EC384, EC521, ED, EC256_B, ED_B, KEY_COUNT };
static EVP_PKEY *keys[KEY_COUNT];
static struct jwks *set; /* kid "k0" ... by the enum; the B keys are not in */
static const struct str audience = STR_INIT("bailiff");

static struct jwt_rules rules(void)
{
    return (struct jwt_rules){.issuer = STR("https://i.example"),
        .audiences = &audience,
        .audience_count = 1,
        .now_us = NOW * SECOND_US};
}

static int set_up(void **state)
{
    struct errinfo info = {0};
    struct buf text;

    MUST(crypto_init(&info) == ERR_OK);
    keys[RSA_A] = make_rsa(2048);
    keys[RSA_B] = make_rsa(2048);
    keys[EC256] = make_ec("P-256");
    keys[EC384] = make_ec("P-384");
    keys[EC521] = make_ec("P-521");
    keys[ED] = make_ed25519();
    keys[EC256_B] = make_ec("P-256");
    keys[ED_B] = make_ed25519();
    buf_init(&text, JWKS_TEXT_MAX);
    buf_append_str(&text, STR("{\"keys\":["));
    static const int in_set[] = {RSA_A, EC256, EC384, EC521, ED};
    for (size_t i = 0; i < 5; i++) {
        char further[64];
        snprintf(further, sizeof further, "\"kid\":\"k%d\",\"use\":\"sig\",",
            in_set[i]);
        if (i > 0)
            buf_append_char(&text, ',');
        append_jwk(&text, keys[in_set[i]], further);
    }
    buf_append_str(&text, STR("]}"));
    assert_int_equal(ERR_OK, jwks_parse(buf_str(&text), &set, &info));
    assert_int_equal(5, jwks_count(set));
    buf_fini(&text);
    return 0;
}

static int tear_down(void **state)
{
    for (int i = 0; i < KEY_COUNT; i++)
        EVP_PKEY_free(keys[i]);
    jwks_unref(&set);
    return 0;
}

static enum jwt_reason judge_with(
    struct str token, const struct jwks *jwks, const struct jwt_rules *r)
{
    struct arena *arena = arena_new(4096, 1u << 20);
    struct jwt jwt;
    /* A copy of the exact size: reads past its end are seen. */
    char *copy = malloc(token.len + (token.len == 0));
    enum jwt_reason reason;

    memcpy(copy, token.ptr, token.len);
    reason = jwt_verify(str_make(copy, token.len), jwks, r, arena, &jwt);
    free(copy);
    arena_free(&arena);
    return reason;
}

static void expect(const char *what, enum jwt_reason wanted, struct str token)
{
    struct jwt_rules r = rules();
    enum jwt_reason got = judge_with(token, set, &r);

    if (got != wanted)
        fail_msg("%s: %s, not %s", what, jwt_reason_word(got),
            jwt_reason_word(wanted));
}

/* Signs header and payload as they are and expects the reason. */
static void expect_signed(enum jwt_reason wanted, int key,
    const char *algorithm, struct str header, struct str payload)
{
    struct buf token;

    buf_init(&token, 1u << 20);
    append_signed(&token, keys[key], algorithm, header, payload);
    expect(header.len < 200 ? header.ptr : "long", wanted, buf_str(&token));
    buf_fini(&token);
}

#define HEADER(alg, kid) STR("{\"alg\":\"" alg "\",\"kid\":\"" kid "\"}")

/* --- Right --------------------------------------------------------------- */

static void every_algorithm(void **state)
{
    struct str good = STR(GOOD);
    expect_signed(JWT_OK, RSA_A, "RS256", HEADER("RS256", "k0"), good);
    expect_signed(JWT_OK, RSA_A, "RS384", HEADER("RS384", "k0"), good);
    expect_signed(JWT_OK, RSA_A, "RS512", HEADER("RS512", "k0"), good);
    expect_signed(JWT_OK, RSA_A, "PS256", HEADER("PS256", "k0"), good);
    expect_signed(JWT_OK, RSA_A, "PS384", HEADER("PS384", "k0"), good);
    expect_signed(JWT_OK, RSA_A, "PS512", HEADER("PS512", "k0"), good);
    expect_signed(JWT_OK, EC256, "ES256", HEADER("ES256", "k2"), good);
    expect_signed(JWT_OK, EC384, "ES384", HEADER("ES384", "k3"), good);
    expect_signed(JWT_OK, EC521, "ES512", HEADER("ES512", "k4"), good);
    expect_signed(JWT_OK, ED, "EdDSA", HEADER("EdDSA", "k5"), good);
    expect_signed(JWT_OK, ED, "EdDSA", HEADER("Ed25519", "k5"), good);
    /* without a kid each key that fits is tried */
    expect_signed(JWT_OK, RSA_A, "RS256", STR("{\"alg\":\"RS256\"}"), good);
    expect_signed(JWT_OK, ED, "EdDSA",
        STR(" {\"typ\":\"JWT\" ,\n\"alg\":\"EdDSA\"} "), good);
}

/* The published vectors: RFC 7515 A.2 and A.3, RFC 8037 A.4. */
static void published(void **state)
{
    static const struct {
        const char *jwk, *input, *signature;
        enum signature_algorithm algorithm;
    } vectors[] = {
        {"{\"kty\":\"EC\",\"crv\":\"P-256\","
         "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
         "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkz"
            "ODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISl"
            "SApmWQxfKTUJqPP3-Kg6NU1Q",
            SIGNATURE_ES256},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
         "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5"
            "BhVsPt9g7sVvpAr_MuM0KAg",
            SIGNATURE_ED25519},
    };

    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct jwks *one;
        struct errinfo info = {0};
        struct buf text;
        uint8_t signature[64];
        size_t size;
        buf_init(&text, 4096);
        buf_printf(&text, "{\"keys\":[%s]}", vectors[i].jwk);
        assert_int_equal(ERR_OK, jwks_parse(buf_str(&text), &one, &info));
        assert_int_equal(1, jwks_count(one));
        assert_int_equal(
            ERR_OK, base64url_decode(str_from(vectors[i].signature), signature,
                        sizeof signature, &size));
        struct str bytes = str_make((char *)signature, size);
        assert_int_equal(JWKS_VERIFIED,
            jwks_verify(one, str_make(NULL, 0), vectors[i].algorithm,
                str_from(vectors[i].input), bytes));
        signature[7] ^= 1;
        assert_int_equal(JWKS_BAD_SIGNATURE,
            jwks_verify(one, str_make(NULL, 0), vectors[i].algorithm,
                str_from(vectors[i].input), bytes));
        jwks_unref(&one);
        buf_fini(&text);
    }
}

/* --- Algorithms ---------------------------------------------------------- */

static void algorithm_confusion(void **state)
{
    struct str good = STR(GOOD);
    /* one key, several algorithms: what the header says must be what is */
    expect_signed(
        JWT_BAD_SIGNATURE, RSA_A, "PS256", HEADER("RS256", "k0"), good);
    expect_signed(
        JWT_BAD_SIGNATURE, RSA_A, "RS256", HEADER("PS256", "k0"), good);
    expect_signed(
        JWT_BAD_SIGNATURE, RSA_A, "RS384", HEADER("RS256", "k0"), good);
    expect_signed(
        JWT_BAD_SIGNATURE, RSA_A, "PS256-SALT20", HEADER("PS256", "k0"), good);
    /* another type of key */
    expect_signed(
        JWT_KEY_MISMATCH, EC256, "ES256", HEADER("ES256", "k0"), good);
    expect_signed(
        JWT_KEY_MISMATCH, RSA_A, "RS256", HEADER("RS256", "k2"), good);
    expect_signed(
        JWT_KEY_MISMATCH, EC256, "ES256", HEADER("ES384", "k2"), good);
    expect_signed(
        JWT_KEY_MISMATCH, EC384, "ES384", HEADER("ES256", "k3"), good);
    expect_signed(JWT_KEY_MISMATCH, ED, "EdDSA", HEADER("ES256", "k5"), good);
    expect_signed(
        JWT_KEY_MISMATCH, EC256, "ES256", HEADER("EdDSA", "k2"), good);
    /* the right shape by another's key */
    expect_signed(
        JWT_BAD_SIGNATURE, RSA_B, "RS256", HEADER("RS256", "k0"), good);
    expect_signed(
        JWT_BAD_SIGNATURE, EC256_B, "ES256", HEADER("ES256", "k2"), good);
    expect_signed(
        JWT_BAD_SIGNATURE, ED_B, "EdDSA", HEADER("EdDSA", "k5"), good);
    expect_signed(
        JWT_BAD_SIGNATURE, RSA_B, "RS256", STR("{\"alg\":\"RS256\"}"), good);
}

static void algorithm_names(void **state)
{
    static const struct {
        const char *header;
        enum jwt_reason reason;
    } cases[] = {
        {"{\"alg\":\"none\"}", JWT_ALG_NONE},
        {"{\"alg\":\"None\"}", JWT_ALG_NONE},
        {"{\"alg\":\"NONE\"}", JWT_ALG_NONE},
        {"{\"alg\":\"nOnE\"}", JWT_ALG_NONE},
        {"{\"alg\":\"\\u006eone\"}", JWT_ALG_NONE},
        {"{\"alg\":\"none \"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"none\\u0000\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"HS256\"}", JWT_ALG_SYMMETRIC},
        {"{\"alg\":\"HS384\"}", JWT_ALG_SYMMETRIC},
        {"{\"alg\":\"HS512\"}", JWT_ALG_SYMMETRIC},
        {"{\"alg\":\"hs256\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"rs256\",\"kid\":\"k0\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"RS256 \",\"kid\":\"k0\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"RS256\\u0000\",\"kid\":\"k0\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"RS1\",\"kid\":\"k0\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"ES256K\",\"kid\":\"k0\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"Ed448\",\"kid\":\"k0\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"RSA-OAEP\",\"kid\":\"k0\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":\"dir\",\"enc\":\"A128GCM\"}", JWT_ENCRYPTED},
        {"{\"alg\":\"\",\"kid\":\"k0\"}", JWT_ALG_UNSUPPORTED},
        {"{\"alg\":null,\"kid\":\"k0\"}", JWT_BAD_HEADER},
        {"{\"alg\":256,\"kid\":\"k0\"}", JWT_BAD_HEADER},
        {"{\"alg\":[\"RS256\"],\"kid\":\"k0\"}", JWT_BAD_HEADER},
        {"{\"alg\":{\"a\":1},\"kid\":\"k0\"}", JWT_BAD_HEADER},
        {"{\"ALG\":\"RS256\",\"kid\":\"k0\"}", JWT_ALG_MISSING},
        {"{\"kid\":\"k0\"}", JWT_ALG_MISSING},
        {"{}", JWT_ALG_MISSING},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_signed(cases[i].reason, RSA_A, "RS256",
            str_from(cases[i].header), STR(GOOD));
}

/* The public key as an HMAC secret (CVE-2015-9235 and many since). */
static void hmac_with_public_key(void **state)
{
    struct buf token;
    uint8_t mac[SHA256_SIZE];
    char secret[] = "-----BEGIN PUBLIC KEY-----\nwhatever it is\n";

    buf_init(&token, 65536);
    base64url_append(&token, "{\"alg\":\"HS256\",\"kid\":\"k0\"}", 26);
    buf_append_char(&token, '.');
    base64url_append(&token, GOOD, strlen(GOOD));
    crypto_hmac_sha256(
        mac, (uint8_t *)secret, strlen(secret), buf_str(&token).ptr, token.len);
    buf_append_char(&token, '.');
    base64url_append(&token, mac, sizeof mac);
    expect("hmac", JWT_ALG_SYMMETRIC, buf_str(&token));
    buf_fini(&token);
}

/* --- Signatures ---------------------------------------------------------- */

static void expect_signature(enum jwt_reason wanted, const char *header,
    const void *signature, size_t size)
{
    struct buf token;

    buf_init(&token, 65536);
    base64url_append(&token, header, strlen(header));
    buf_append_char(&token, '.');
    base64url_append(&token, GOOD, strlen(GOOD));
    buf_append_char(&token, '.');
    base64url_append(&token, signature, size);
    expect(header, wanted, buf_str(&token));
    buf_fini(&token);
}

static const char p256_order[] =
    "\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"
    "\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";

static void signatures(void **state)
{
    static const char es[] = "{\"alg\":\"ES256\",\"kid\":\"k2\"}";
    static const char rs[] = "{\"alg\":\"RS256\",\"kid\":\"k0\"}";
    static const char ed[] = "{\"alg\":\"EdDSA\",\"kid\":\"k5\"}";
    unsigned char bytes[1100] = {0};

    /* psychic signatures (CVE-2022-21449): zeros, the order, one of each */
    expect_signature(JWT_BAD_SIGNATURE, es, bytes, 64);
    memcpy(bytes, p256_order, 32);
    memcpy(bytes + 32, p256_order, 32);
    expect_signature(JWT_BAD_SIGNATURE, es, bytes, 64);
    memset(bytes, 0, 32);
    expect_signature(JWT_BAD_SIGNATURE, es, bytes, 64);
    memcpy(bytes, p256_order, 32);
    memset(bytes + 32, 0, 32);
    expect_signature(JWT_BAD_SIGNATURE, es, bytes, 64);
    /* DER of two zeros, and sizes that are no signature's */
    expect_signature(
        JWT_BAD_SIGNATURE, es, "\x30\x06\x02\x01\x00\x02\x01\x00", 8);
    for (size_t size = 0; size <= 140; size++)
        expect_signature(JWT_BAD_SIGNATURE, es, bytes, size);
    memset(bytes, 0, sizeof bytes);
    static const size_t sizes[] = {0, 1, 32, 63, 64, 65, 255, 256, 257, 1100};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        expect_signature(JWT_BAD_SIGNATURE, rs, bytes, sizes[i]);
        expect_signature(JWT_BAD_SIGNATURE, ed, bytes, sizes[i]);
        expect_signature(JWT_BAD_SIGNATURE,
            "{\"alg\":\"PS512\",\"kid\":\"k0\"}", bytes, sizes[i]);
    }
    /* right, but in DER */
    expect_signed(JWT_BAD_SIGNATURE, EC256, "ES256-DER", HEADER("ES256", "k2"),
        STR(GOOD));
}

/* The Ed25519 signature's malleability: s + L is the same point. */
static void ed25519_malleable(void **state)
{
    static const unsigned char order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63,
        0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, [31] = 0x10};
    struct buf token;
    unsigned char signature[1200];
    unsigned carry = 0;

    buf_init(&token, 65536);
    base64url_append(&token, "{\"alg\":\"EdDSA\",\"kid\":\"k5\"}", 26);
    buf_append_char(&token, '.');
    base64url_append(&token, GOOD, strlen(GOOD));
    sign_bytes(keys[ED], "EdDSA", buf_str(&token), signature);
    for (int i = 0; i < 32; i++) {
        carry += signature[32 + i] + (unsigned)order[i];
        signature[32 + i] = (unsigned char)carry;
        carry >>= 8;
    }
    buf_append_char(&token, '.');
    base64url_append(&token, signature, 64);
    expect("s + L", JWT_BAD_SIGNATURE, buf_str(&token));
    buf_fini(&token);
}

/* Each bit of a right token flipped, each byte taken away, each byte doubled:
 * none may pass. */
static void every_mutation(void **state)
{
    struct buf token, changed;
    struct jwt_rules r = rules();

    buf_init(&token, 65536);
    buf_init(&changed, 65536);
    append_signed(&token, keys[ED], "EdDSA", HEADER("EdDSA", "k5"), STR(GOOD));
    struct str good = buf_str(&token);
    assert_int_equal(JWT_OK, judge_with(good, set, &r));
    for (size_t i = 0; i < good.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            buf_clear(&changed);
            buf_append_str(&changed, good);
            changed.ptr[changed.start + i] ^= (char)(1 << bit);
            assert_int_not_equal(
                JWT_OK, judge_with(buf_str(&changed), set, &r));
        }
        buf_clear(&changed);
        buf_append(&changed, good.ptr, i);
        buf_append(&changed, good.ptr + i + 1, good.len - i - 1);
        assert_int_not_equal(JWT_OK, judge_with(buf_str(&changed), set, &r));
        assert_int_not_equal(
            JWT_OK, judge_with(str_make(good.ptr, i), set, &r));
        buf_clear(&changed);
        buf_append(&changed, good.ptr, i + 1);
        buf_append(&changed, good.ptr + i, good.len - i);
        assert_int_not_equal(JWT_OK, judge_with(buf_str(&changed), set, &r));
    }
    buf_fini(&token);
    buf_fini(&changed);
}

/* --- Shape --------------------------------------------------------------- */

static void expect_spliced(enum jwt_reason wanted, const char *before,
    struct str good, const char *after)
{
    struct buf token;

    buf_init(&token, 1u << 20);
    buf_append_str(&token, str_from(before));
    buf_append_str(&token, good);
    buf_append_str(&token, str_from(after));
    expect(after, wanted, buf_str(&token));
    buf_fini(&token);
}

static void shapes(void **state)
{
    struct buf token;
    struct str good;

    buf_init(&token, 65536);
    append_signed(&token, keys[ED], "EdDSA", HEADER("EdDSA", "k5"), STR(GOOD));
    good = buf_str(&token);
    expect("good", JWT_OK, good);
    expect("empty", JWT_MALFORMED, STR(""));
    expect("dots", JWT_MALFORMED, STR(".."));
    expect("dot", JWT_MALFORMED, STR("."));
    expect("four", JWT_MALFORMED, STR("a.b.c.d"));
    expect("five", JWT_ENCRYPTED, STR("a.b.c.d.e"));
    expect("five empty", JWT_ENCRYPTED, STR("...."));
    expect("six", JWT_MALFORMED, STR("a.b.c.d.e.f"));
    expect("json", JWT_MALFORMED, STR("{\"payload\":\"e30\"}"));
    expect_spliced(JWT_MALFORMED, "", good, ".");
    expect_spliced(JWT_MALFORMED, ".", good, "");
    expect_spliced(JWT_BAD_ENCODING, " ", good, "");
    expect_spliced(JWT_BAD_ENCODING, "", good, " ");
    expect_spliced(JWT_BAD_ENCODING, "", good, "\n");
    expect_spliced(JWT_BAD_ENCODING, "", good, "\r");
    expect_spliced(JWT_BAD_ENCODING, "", good, "\t");
    expect_spliced(JWT_BAD_ENCODING, "", good, "=");
    expect_spliced(JWT_BAD_ENCODING, "", good, "==");
    expect_spliced(JWT_BAD_ENCODING, "\xef\xbb\xbf", good, "");
    expect_spliced(JWT_BAD_ENCODING, "Bearer ", good, "");
    /* one and two parts of it, and a part left empty */
    size_t first = strcspn(good.ptr, ".");
    expect("one part", JWT_MALFORMED, str_make(good.ptr, first));
    expect("one and a dot", JWT_MALFORMED, str_make(good.ptr, first + 1));
    size_t second = first + 1 + strcspn(good.ptr + first + 1, ".");
    expect("two parts", JWT_MALFORMED, str_make(good.ptr, second));
    expect("no signature", JWT_BAD_SIGNATURE, str_make(good.ptr, second + 1));
    expect_signed(JWT_BAD_HEADER, ED, "EdDSA", STR("x"), STR(GOOD));
    /* NUL and high bytes */
    expect("nul", JWT_BAD_ENCODING, STR("\0.\0.\0"));
    expect("nuls", JWT_MALFORMED, STR("\0\0\0"));
    expect("high", JWT_BAD_ENCODING, STR("\xff\xfe.\xff\xfe.\xff\xfe"));
    buf_clear(&token);
    append_signed(&token, keys[ED], "EdDSA", HEADER("EdDSA", "k5"), STR(GOOD));
    token.ptr[token.start + 3] = '\0';
    expect("nul inside", JWT_BAD_ENCODING, buf_str(&token));
    buf_fini(&token);
}

/* The last character's unused bits, the other alphabet. */
static void encodings(void **state)
{
    static const char *const tokens[] = {"e30=.e30.AA", "e30.e30=.AA",
        "e31.e30.AA", "e3+.e30.AA", "e3/.e30.AA", "e 30.e30.AA", "e.e30.AA",
        "eyJhbGciOiJFZERTQSIsImtpZCI6Ims1In0.e30.AB",
        "eyJhbGciOiJFZERTQSIsImtpZCI6Ims1In0.e31.AA",
        "eyJhbGciOiJFZERTQSIsImtpZCI6Ims1In0.e30.A",
        "eyJhbGciOiJFZERTQSIsImtpZCI6Ims1In0.e30.AA%3D"};

    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        expect(tokens[i], JWT_BAD_ENCODING, str_from(tokens[i]));
}

static void headers(void **state)
{
    static const struct {
        const char *header;
        enum jwt_reason reason;
    } cases[] = {
        {"[]", JWT_BAD_HEADER},
        {"null", JWT_BAD_HEADER},
        {"\"EdDSA\"", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\"", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\"}{}", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\",}", JWT_BAD_HEADER},
        {"{'alg':'EdDSA'}", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\"}//", JWT_BAD_HEADER},
        {"\xef\xbb\xbf{\"alg\":\"EdDSA\"}", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\",\"x\":\"\xff\"}", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\",\"x\":\"\\ud800\"}", JWT_BAD_HEADER},
        /* repeated members, also when one is spelt with an escape */
        {"{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"k5\"}", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"kid\":\"k5\"}",
            JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\",\"\\u0061lg\":\"none\",\"kid\":\"k5\"}",
            JWT_BAD_HEADER},
        /* crit */
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"crit\":[\"exp\"],\"exp\":1}",
            JWT_UNSUPPORTED_CRIT},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"crit\":[\"alg\"]}",
            JWT_UNSUPPORTED_CRIT},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"crit\":[]}",
            JWT_UNSUPPORTED_CRIT},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"crit\":null}",
            JWT_UNSUPPORTED_CRIT},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"crit\":\"exp\"}",
            JWT_UNSUPPORTED_CRIT},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"b64\":false}",
            JWT_UNSUPPORTED_CRIT},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"b64\":false,\"crit\":[\"b64\"]}",
            JWT_UNSUPPORTED_CRIT},
        /* keys that the token brings */
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"jwk\":{\"kty\":\"OKP\"}}",
            JWT_EMBEDDED_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"x5c\":[\"MII\"]}",
            JWT_EMBEDDED_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"jwk\":null}", JWT_EMBEDDED_KEY},
        /* types */
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":\"JWT\"}", JWT_OK},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":\"jwt\"}", JWT_OK},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":\"at+jwt\"}", JWT_OK},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":\"application/at+JWT\"}",
            JWT_OK},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":\"logout+jwt\"}",
            JWT_TYPE_MISMATCH},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":\"dpop+jwt\"}",
            JWT_TYPE_MISMATCH},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":\"\"}", JWT_TYPE_MISMATCH},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":7}", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"cty\":\"JWT\"}", JWT_NESTED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"cty\":\"json\"}", JWT_OK},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"enc\":\"A256GCM\"}",
            JWT_ENCRYPTED},
        /* kid: a name, and nothing else */
        {"{\"alg\":\"EdDSA\",\"kid\":\"../../../dev/null\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5' OR '1'='1\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"| id\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"http://127.0.0.1/k\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"K5\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\\u0000\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5 \"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":5}", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\",\"kid\":null}", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\",\"kid\":[\"k5\"]}", JWT_BAD_HEADER},
        {"{\"alg\":\"EdDSA\",\"kid\":\"\\u006b5\"}", JWT_OK},
        /* never followed */
        {"{\"alg\":\"EdDSA\",\"kid\":\"zz\",\"jku\":\"http://127.0.0.1/\"}",
            JWT_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"jku\":\"http://127.0.0.1/\","
         "\"x5u\":\"http://127.0.0.1/\"}",
            JWT_OK},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_signed(
            cases[i].reason, ED, "EdDSA", str_from(cases[i].header), STR(GOOD));
    /* NUL bytes and raw control characters in the JSON */
    expect_signed(JWT_BAD_HEADER, ED, "EdDSA",
        STR("{\"alg\":\"EdDSA\",\"kid\":\"k5\"}\0"), STR(GOOD));
    expect_signed(JWT_BAD_HEADER, ED, "EdDSA",
        STR("{\"alg\":\"EdDSA\0\",\"kid\":\"k5\"}"), STR(GOOD));
}

static void sizes(void **state)
{
    struct buf long_header, payload;

    buf_init(&long_header, 1u << 20);
    buf_append_str(
        &long_header, STR("{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"x\":\""));
    for (int i = 0; i < 10000; i++)
        buf_append_char(&long_header, 'a');
    buf_append_str(&long_header, STR("\"}"));
    expect_signed(JWT_TOO_LARGE, ED, "EdDSA", buf_str(&long_header), STR(GOOD));
    buf_clear(&long_header);
    buf_append_str(
        &long_header, STR("{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"x\":"));
    for (int i = 0; i < 2000; i++)
        buf_append_char(&long_header, '[');
    expect_signed(
        JWT_BAD_HEADER, ED, "EdDSA", buf_str(&long_header), STR(GOOD));
    buf_init(&payload, 1u << 20);
    buf_append_str(&payload, str_make(GOOD, strlen(GOOD) - 1));
    buf_append_str(&payload, STR(",\"x\":"));
    for (int i = 0; i < 5000; i++)
        buf_append_char(&payload, '[');
    for (int i = 0; i < 5000; i++)
        buf_append_char(&payload, ']');
    buf_append_char(&payload, '}');
    expect_signed(
        JWT_BAD_PAYLOAD, ED, "EdDSA", HEADER("EdDSA", "k5"), buf_str(&payload));
    for (int i = 0; i < 40000; i++)
        buf_append_char(&payload, ' ');
    expect_signed(
        JWT_TOO_LARGE, ED, "EdDSA", HEADER("EdDSA", "k5"), buf_str(&payload));
    buf_fini(&long_header);
    buf_fini(&payload);
}

/* --- Claims -------------------------------------------------------------- */

/* %s stands for the rest of a payload that is right but for it. */
#define ISS "\"iss\":\"https://i.example\","
#define AUD "\"aud\":\"bailiff\","
#define SUB "\"sub\":\"alice\","
#define EXP "\"exp\":1800000300"

static void claims(void **state)
{
    static const struct {
        const char *payload;
        enum jwt_reason reason;
    } cases[] = {
        {"{" ISS AUD SUB EXP "}", JWT_OK},
        {"{}", JWT_ISS_MISSING},
        {"[]", JWT_BAD_PAYLOAD},
        {"\"" ISS, JWT_BAD_PAYLOAD},
        {"null", JWT_BAD_PAYLOAD},
        {"{" ISS AUD SUB EXP "", JWT_BAD_PAYLOAD},
        {"{" ISS AUD SUB EXP "," EXP "}", JWT_BAD_PAYLOAD},
        {"{" ISS AUD SUB EXP ",\"\\u0073ub\":\"bob\"}", JWT_BAD_PAYLOAD},
        {"{" ISS AUD SUB EXP ",\"x\":{\"a\":1,\"a\":2}}", JWT_BAD_PAYLOAD},
        {"{" ISS AUD SUB EXP ",\"x\":\"\xc3\"}", JWT_BAD_PAYLOAD},
        {"{" ISS AUD SUB EXP ",\"x\":NaN}", JWT_BAD_PAYLOAD},
        {"{" ISS AUD SUB EXP ",\"x\":01}", JWT_BAD_PAYLOAD},
        /* iss */
        {"{" AUD SUB EXP "}", JWT_ISS_MISSING},
        {"{\"iss\":7," AUD SUB EXP "}", JWT_ISS_MISSING},
        {"{\"iss\":null," AUD SUB EXP "}", JWT_ISS_MISSING},
        {"{\"iss\":[\"https://i.example\"]," AUD SUB EXP "}", JWT_ISS_MISSING},
        {"{\"iss\":\"https://i.example/\"," AUD SUB EXP "}", JWT_ISS_MISMATCH},
        {"{\"iss\":\"https://I.example\"," AUD SUB EXP "}", JWT_ISS_MISMATCH},
        {"{\"iss\":\"https://i.example.evil\"," AUD SUB EXP "}",
            JWT_ISS_MISMATCH},
        {"{\"iss\":\"https://i.example\\u0000\"," AUD SUB EXP "}",
            JWT_ISS_MISMATCH},
        {"{\"iss\":\"\"," AUD SUB EXP "}", JWT_ISS_MISMATCH},
        {"{\"iss\":\"https:\\/\\/i.example\"," AUD SUB EXP "}", JWT_OK},
        /* aud */
        {"{" ISS SUB EXP "}", JWT_AUD_MISSING},
        {"{" ISS "\"aud\":\"other\"," SUB EXP "}", JWT_AUD_MISMATCH},
        {"{" ISS "\"aud\":\"Bailiff\"," SUB EXP "}", JWT_AUD_MISMATCH},
        {"{" ISS "\"aud\":\"bailiff2\"," SUB EXP "}", JWT_AUD_MISMATCH},
        {"{" ISS "\"aud\":\"other bailiff\"," SUB EXP "}", JWT_AUD_MISMATCH},
        {"{" ISS "\"aud\":\"\"," SUB EXP "}", JWT_AUD_MISMATCH},
        {"{" ISS "\"aud\":[]," SUB EXP "}", JWT_AUD_MISMATCH},
        {"{" ISS "\"aud\":[\"other\",\"bailiff\"]," SUB EXP "}", JWT_OK},
        {"{" ISS "\"aud\":[\"other\"]," SUB EXP "}", JWT_AUD_MISMATCH},
        {"{" ISS "\"aud\":[\"bailiff\",7]," SUB EXP "}", JWT_AUD_INVALID},
        {"{" ISS "\"aud\":[[\"bailiff\"]]," SUB EXP "}", JWT_AUD_INVALID},
        {"{" ISS "\"aud\":{\"bailiff\":1}," SUB EXP "}", JWT_AUD_INVALID},
        {"{" ISS "\"aud\":null," SUB EXP "}", JWT_AUD_INVALID},
        {"{" ISS "\"aud\":true," SUB EXP "}", JWT_AUD_INVALID},
        /* exp */
        {"{" ISS AUD SUB "\"x\":1}", JWT_EXP_MISSING},
        {"{" ISS AUD SUB "\"exp\":\"1800000300\"}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":null}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":true}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":[1800000300]}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":1800000000}", JWT_EXPIRED},
        {"{" ISS AUD SUB "\"exp\":1800000000.0}", JWT_EXPIRED},
        {"{" ISS AUD SUB "\"exp\":1800000000.0001}", JWT_OK},
        {"{" ISS AUD SUB "\"exp\":1800000000.5}", JWT_OK},
        {"{" ISS AUD SUB "\"exp\":1799999999}", JWT_EXPIRED},
        {"{" ISS AUD SUB "\"exp\":1800000001}", JWT_OK},
        {"{" ISS AUD SUB "\"exp\":1.8000003e9}", JWT_OK},
        {"{" ISS AUD SUB "\"exp\":18000003e+2}", JWT_OK},
        {"{" ISS AUD SUB "\"exp\":1.7e9}", JWT_EXPIRED},
        {"{" ISS AUD SUB "\"exp\":0}", JWT_EXPIRED},
        {"{" ISS AUD SUB "\"exp\":-1}", JWT_EXPIRED},
        {"{" ISS AUD SUB "\"exp\":-1800000300}", JWT_EXPIRED},
        {"{" ISS AUD SUB "\"exp\":253402300799}", JWT_OK},
        {"{" ISS AUD SUB "\"exp\":1800000300000}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":1e20}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":1e400}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":1e999999999999}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":1e-999999999999}", JWT_EXPIRED},
        {"{" ISS AUD SUB "\"exp\":9223372036854775807}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":18446744073709551616}", JWT_EXP_INVALID},
        {"{" ISS AUD SUB "\"exp\":-9223372036854775808}", JWT_EXP_INVALID},
        /* nbf and iat */
        {"{" ISS AUD SUB EXP ",\"nbf\":1800000000}", JWT_OK},
        {"{" ISS AUD SUB EXP ",\"nbf\":1800000001}", JWT_NOT_YET_VALID},
        /* finer than a ten thousandth: never to the token's advantage */
        {"{" ISS AUD SUB EXP ",\"nbf\":1800000000.00001}", JWT_NOT_YET_VALID},
        {"{" ISS AUD SUB EXP ",\"nbf\":1.80000000000000001e9}",
            JWT_NOT_YET_VALID},
        {"{" ISS AUD SUB EXP ",\"nbf\":1800000000.00000}", JWT_OK},
        {"{" ISS AUD SUB EXP ",\"nbf\":1799999999.99999}", JWT_OK},
        {"{" ISS AUD SUB EXP ",\"nbf\":-0.00001}", JWT_OK},
        {"{" ISS AUD SUB EXP ",\"nbf\":1e-99999}", JWT_OK},
        {"{" ISS AUD SUB EXP ",\"iat\":1800000000.00001}",
            JWT_ISSUED_IN_FUTURE},
        {"{" ISS AUD SUB "\"exp\":1800000000.00001}", JWT_EXPIRED},
        {"{" ISS AUD SUB EXP ",\"nbf\":\"1700000000\"}", JWT_NBF_INVALID},
        {"{" ISS AUD SUB EXP ",\"nbf\":null}", JWT_NBF_INVALID},
        {"{" ISS AUD SUB EXP ",\"nbf\":1e300}", JWT_NBF_INVALID},
        {"{" ISS AUD SUB EXP ",\"iat\":1800000000}", JWT_OK},
        {"{" ISS AUD SUB EXP ",\"iat\":1800000001}", JWT_ISSUED_IN_FUTURE},
        {"{" ISS AUD SUB EXP ",\"iat\":\"now\"}", JWT_IAT_INVALID},
        {"{" ISS AUD SUB EXP ",\"iat\":-5}", JWT_OK},
        /* sub and the rest */
        {"{" ISS AUD EXP "}", JWT_SUB_MISSING},
        {"{" ISS AUD "\"sub\":\"\"," EXP "}", JWT_SUB_MISSING},
        {"{" ISS AUD "\"sub\":7," EXP "}", JWT_SUB_INVALID},
        {"{" ISS AUD "\"sub\":null," EXP "}", JWT_SUB_INVALID},
        {"{" ISS AUD "\"sub\":[\"a\"]," EXP "}", JWT_SUB_INVALID},
        {"{" ISS AUD SUB EXP ",\"jti\":7}", JWT_CLAIM_INVALID},
        {"{" ISS AUD SUB EXP ",\"client_id\":[]}", JWT_CLAIM_INVALID},
        /* case of claim names */
        {"{\"ISS\":\"https://i.example\"," AUD SUB EXP "}", JWT_ISS_MISSING},
        {"{" ISS "\"Aud\":\"bailiff\"," SUB EXP "}", JWT_AUD_MISSING},
        /* bound tokens */
        {"{" ISS AUD SUB EXP ",\"cnf\":{\"x5t#S256\":"
         "\"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"}}",
            JWT_CONFIRM_MISSING},
        {"{" ISS AUD SUB EXP ",\"cnf\":{\"x5t#S256\":\"AAAA\"}}",
            JWT_CONFIRM_INVALID},
        {"{" ISS AUD SUB EXP ",\"cnf\":{\"jkt\":\"abc\"}}",
            JWT_CONFIRM_INVALID},
        {"{" ISS AUD SUB EXP ",\"cnf\":{}}", JWT_CONFIRM_INVALID},
        {"{" ISS AUD SUB EXP ",\"cnf\":\"x\"}", JWT_CONFIRM_INVALID},
        {"{" ISS AUD SUB EXP ",\"cnf\":null}", JWT_CONFIRM_INVALID},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf token;
        buf_init(&token, 65536);
        append_signed(&token, keys[ED], "EdDSA", HEADER("EdDSA", "k5"),
            str_from(cases[i].payload));
        expect(cases[i].payload, cases[i].reason, buf_str(&token));
        buf_fini(&token);
    }
}

static void expect_with(enum jwt_reason wanted, const struct jwt_rules *r,
    const char *header, const char *payload)
{
    struct buf token;

    buf_init(&token, 65536);
    append_signed(
        &token, keys[ED], "EdDSA", str_from(header), str_from(payload));
    enum jwt_reason got = judge_with(buf_str(&token), set, r);
    if (got != wanted)
        fail_msg("%s %s: %s, not %s", header, payload, jwt_reason_word(got),
            jwt_reason_word(wanted));
    buf_fini(&token);
}

static void strict_rules(void **state)
{
    static const char at[] =
        "{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":\"at+jwt\"}";
    static const char jwt[] =
        "{\"alg\":\"EdDSA\",\"kid\":\"k5\",\"typ\":\"JWT\"}";
    static const char all[] =
        "{" ISS AUD SUB EXP ",\"iat\":1799999990,\"jti\":\"1\","
        "\"client_id\":\"app\"}";
    struct jwt_rules r = rules();

    r.access_token_type = true;
    expect_with(JWT_OK, &r, at, all);
    expect_with(JWT_TYPE_MISMATCH, &r, jwt, all);
    expect_with(
        JWT_TYPE_MISMATCH, &r, "{\"alg\":\"EdDSA\",\"kid\":\"k5\"}", all);
    expect_with(JWT_IAT_MISSING, &r, at, "{" ISS AUD SUB EXP "}");
    expect_with(JWT_CLAIM_MISSING, &r, at, GOOD);
    r = rules();
    r.max_age_us = 60 * SECOND_US;
    expect_with(JWT_OK, &r, jwt, GOOD);
    expect_with(
        JWT_TOO_OLD, &r, jwt, "{" ISS AUD SUB EXP ",\"iat\":1799999939}");
    expect_with(JWT_IAT_MISSING, &r, jwt, "{" ISS AUD SUB EXP "}");
    r = rules();
    r.skew_us = 60 * SECOND_US;
    expect_with(JWT_OK, &r, jwt, "{" ISS AUD SUB "\"exp\":1799999941}");
    expect_with(JWT_EXPIRED, &r, jwt, "{" ISS AUD SUB "\"exp\":1799999940}");
    expect_with(JWT_OK, &r, jwt, "{" ISS AUD SUB EXP ",\"nbf\":1800000060}");
    expect_with(
        JWT_NOT_YET_VALID, &r, jwt, "{" ISS AUD SUB EXP ",\"nbf\":1800000061}");
    r.skew_us = INT64_MAX; /* bounded, whatever was asked for */
    expect_with(JWT_EXPIRED, &r, jwt, "{" ISS AUD SUB "\"exp\":1799999700}");
    /* nothing is expected: nothing passes */
    r = rules();
    r.issuer = STR("");
    expect_with(JWT_ISS_MISMATCH, &r, jwt, "{\"iss\":\"\"," AUD SUB EXP "}");
    r = rules();
    r.audience_count = 0;
    expect_with(JWT_AUD_MISMATCH, &r, jwt, GOOD);
}

static void bound_to_certificate(void **state)
{
    uint8_t shown[SHA256_SIZE];
    struct jwt_rules r = rules();
    static const char header[] = "{\"alg\":\"EdDSA\",\"kid\":\"k5\"}";
    static const char bound[] =
        "{" ISS AUD SUB EXP ",\"cnf\":{\"x5t#S256\":"
        "\"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"}}";

    crypto_sha256(shown, "", 0);
    r.certificate_sha256 = shown;
    expect_with(JWT_OK, &r, header, bound);
    expect_with(JWT_OK, &r, header, GOOD);
    shown[31] ^= 1;
    expect_with(JWT_CONFIRM_MISMATCH, &r, header, bound);
}

/* --- Key sets ------------------------------------------------------------ */

/* The number of keys of {"keys":[...]} that can be used; -1: no set. */
static int usable(const char *text)
{
    struct jwks *jwks;
    struct errinfo info = {0};
    int count;

    if (jwks_parse(str_from(text), &jwks, &info) != ERR_OK) {
        assert_true(info.text[0] != '\0');
        return -1;
    }
    count = (int)jwks_count(jwks);
    jwks_unref(&jwks);
    return count;
}

#define P256_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define P256_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define ED_X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define EC_KEY(further)                                                        \
    "{\"keys\":[{" further "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X  \
    "\",\"y\":\"" P256_Y "\"}]}"
#define ED_KEY(x)                                                              \
    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" x "\"}]}"

static void key_sets(void **state)
{
    static const struct {
        const char *text;
        int usable;
    } cases[] = {
        {EC_KEY(""), 1},
        {EC_KEY("\"use\":\"sig\","), 1},
        {EC_KEY("\"use\":\"enc\","), 0},
        {EC_KEY("\"use\":\"SIG\","), 0},
        {EC_KEY("\"use\":7,"), 0},
        {EC_KEY("\"alg\":\"ES256\","), 1},
        {EC_KEY("\"alg\":\"ES384\","), 0},
        {EC_KEY("\"alg\":\"ECDH-ES\","), 0},
        {EC_KEY("\"alg\":\"RS256\","), 0},
        {EC_KEY("\"alg\":\"HS256\","), 0},
        {EC_KEY("\"alg\":null,"), 0},
        {EC_KEY("\"key_ops\":[\"verify\"],"), 1},
        {EC_KEY("\"key_ops\":[\"sign\",\"verify\"],"), 1},
        {EC_KEY("\"key_ops\":[\"sign\"],"), 0},
        {EC_KEY("\"key_ops\":[],"), 0},
        {EC_KEY("\"key_ops\":\"verify\","), 0},
        {EC_KEY("\"key_ops\":[7],"), 0},
        /* none twice (RFC 7517, 4.3), none that `use` forbids */
        {EC_KEY("\"key_ops\":[\"verify\",\"verify\"],"), 0},
        {EC_KEY("\"key_ops\":[\"verify\",\"sign\",\"\\u0076erify\"],"), 0},
        {EC_KEY("\"key_ops\":[\"verify\",\"deriveKey\"],"), 1},
        {EC_KEY("\"use\":\"sig\",\"key_ops\":[\"verify\",\"sign\"],"), 1},
        {EC_KEY("\"use\":\"sig\",\"key_ops\":[\"verify\",\"encrypt\"],"), 0},
        {EC_KEY("\"use\":\"enc\",\"key_ops\":[\"verify\"],"), 0},
        {EC_KEY("\"kid\":7,"), 0},
        {EC_KEY("\"x5c\":[\"anything\"],"), 1},
        /* a point off the curve (invalid curve attacks), the wrong width */
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X
         "\",\"y\":\"" P256_X "\"}]}",
            0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" P256_X
         "\",\"y\":\"" P256_Y "\"}]}",
            0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
            0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" P256_X
         "\",\"y\":\"" P256_Y "\"}]}",
            0},
        {"{\"keys\":[{\"kty\":\"EC\",\"x\":\"" P256_X "\"}]}", 0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X
         "=\",\"y\":\"" P256_Y "\"}]}",
            0},
        /* Ed25519: width, points of small order */
        {ED_KEY(ED_X), 1},
        {ED_KEY("AAAA"), 0},
        {ED_KEY("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 0},
        {ED_KEY("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 0},
        {ED_KEY("7P________________________________________38"), 0},
        {ED_KEY("7P_______________________________________38"), 0},
        {ED_KEY("7P________________________________________8"), 0},
        /* y = 3 is a point; p + 3 is it once more, spelt otherwise */
        {ED_KEY("AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 1},
        {ED_KEY("8P_______________________________________38"), 0},
        {ED_KEY("8P________________________________________8"), 0},
        {ED_KEY("_________________________________________38"), 0},
        /* no point has y = 2, 7 or 17 */
        {ED_KEY("AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 0},
        {ED_KEY("BwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA"), 0},
        {ED_KEY("EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 0},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" ED_X "\"}]}",
            0},
        /* RSA that is too small, or signs everything */
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", 0},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}]}", 0},
        {"{\"keys\":[{\"kty\":\"RSA\"}]}", 0},
        /* symmetric: never */
        {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}", 0},
        {"{\"keys\":[{\"kty\":\"future\",\"z\":1}]}", 0},
        {"{\"keys\":[{}]}", 0},
        {"{\"keys\":[7,null,\"a\",[]]}", 0},
        {"{\"keys\":[]}", 0},
        /* not a set */
        {"", -1},
        {"{}", -1},
        {"[]", -1},
        {"{\"keys\":{}}", -1},
        {"{\"keys\":[],\"keys\":[]}", -1},
        {"{\"keys\":[{\"kty\":\"EC\",\"kty\":\"RSA\"}]}", -1},
        {"{\"keys\":[}", -1},
        {"<html>", -1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int got = usable(cases[i].text);
        if (got != cases[i].usable)
            fail_msg("%s: %d, not %d", cases[i].text, got, cases[i].usable);
    }
}

static void rsa_keys(void **state)
{
    static const unsigned sizes[] = {1024, 2047};
    struct buf text;
    unsigned char n[300];

    buf_init(&text, 65536);
    for (size_t i = 0; i < 2; i++) {
        EVP_PKEY *small = make_rsa(sizes[i]);
        buf_clear(&text);
        buf_append_str(&text, STR("{\"keys\":["));
        append_jwk(&text, small, "");
        buf_append_str(&text, STR("]}"));
        assert_int_equal(0, usable(buf_cstr(&text)));
        EVP_PKEY_free(small);
    }
    /* exponents of 1 and of an even number; a modulus that is even */
    static const struct {
        const char *exponent;
        unsigned char last;
        enum err err;
    } cases[] = {{"\x01", 0xff, ERR_RANGE}, {"\x02", 0xff, ERR_RANGE},
        {"\x01\x00\x01", 0xfe, ERR_RANGE}, {"\x01\x00\x01", 0xff, ERR_OK},
        {"\x03", 0xff, ERR_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct public_key *key = NULL;
        memset(n, 0xff, sizeof n);
        n[255] = cases[i].last;
        size_t width =
            cases[i].exponent[1] == '\0' && cases[i].exponent[0] == 1 && i != 0
                ? 3
                : 1;
        assert_int_equal(
            cases[i].err, public_key_rsa(str_make((char *)n, 256),
                              str_make(cases[i].exponent, width), &key, NULL));
        public_key_free(&key);
    }
    buf_fini(&text);
}

/* A key bound to one algorithm by its own "alg"; two keys of one name. */
static void key_choice(void **state)
{
    struct jwks *jwks;
    struct errinfo info = {0};
    struct buf text, token;
    struct jwt_rules r = rules();

    buf_init(&text, 65536);
    buf_init(&token, 65536);
    buf_append_str(&text, STR("{\"keys\":["));
    append_jwk(&text, keys[RSA_A], "\"kid\":\"r\",\"alg\":\"PS256\",");
    buf_append_char(&text, ',');
    append_jwk(&text, keys[EC256], "\"kid\":\"r\",");
    buf_append_char(&text, ',');
    append_jwk(&text, keys[ED], "\"kid\":\"twice\",");
    buf_append_char(&text, ',');
    append_jwk(&text, keys[ED_B], "\"kid\":\"twice\",");
    buf_append_char(&text, ',');
    append_jwk(&text, keys[EC384], "");
    buf_append_str(&text, STR("]}"));
    assert_int_equal(ERR_OK, jwks_parse(buf_str(&text), &jwks, &info));
    static const struct {
        int key;
        const char *algorithm, *header;
        enum jwt_reason reason;
    } cases[] = {
        {RSA_A, "PS256", "{\"alg\":\"PS256\",\"kid\":\"r\"}", JWT_OK},
        {RSA_A, "RS256", "{\"alg\":\"RS256\",\"kid\":\"r\"}", JWT_KEY_MISMATCH},
        {RSA_A, "RS256", "{\"alg\":\"RS256\"}", JWT_UNKNOWN_KEY},
        {RSA_A, "PS384", "{\"alg\":\"PS384\",\"kid\":\"r\"}", JWT_KEY_MISMATCH},
        /* one name, two types: the algorithm tells them apart */
        {EC256, "ES256", "{\"alg\":\"ES256\",\"kid\":\"r\"}", JWT_OK},
        {ED, "EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"twice\"}",
            JWT_KEY_AMBIGUOUS},
        {ED_B, "EdDSA", "{\"alg\":\"EdDSA\"}", JWT_OK},
        {EC384, "ES384", "{\"alg\":\"ES384\"}", JWT_OK},
        {EC384, "ES384", "{\"alg\":\"ES384\",\"kid\":\"\"}", JWT_UNKNOWN_KEY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&token);
        append_signed(&token, keys[cases[i].key], cases[i].algorithm,
            str_from(cases[i].header), STR(GOOD));
        enum jwt_reason got = judge_with(buf_str(&token), jwks, &r);
        if (got != cases[i].reason)
            fail_msg("%s: %s", cases[i].header, jwt_reason_word(got));
    }
    jwks_unref(&jwks);
    buf_fini(&text);
    buf_fini(&token);
}

/* --- The command's lines ------------------------------------------------- */

static void lines(void **state)
{
    struct jwt_lines how = {.jwks = set,
        .issuer = STR("https://i.example"),
        .audiences = &audience,
        .audience_count = 1,
        .has_now = true,
        .now_us = NOW * SECOND_US};
    struct errinfo info = {0};
    struct buf input;
    FILE *in = tmpfile(), *out = tmpfile();
    char text[4096];

    buf_init(&input, 1u << 20);
    append_signed(&input, keys[ED], "EdDSA", HEADER("EdDSA", "k5"),
        STR("{ \"iss\" : \"https://i.example\",\n" AUD
            "\"sub\":\"a \\\" \\\\\", \"exp\": 1800000300, \"n\": 1.0 }"));
    buf_append_str(&input, STR("\n\n"));
    for (int i = 0; i < 100000; i++)
        buf_append_char(&input, 'a');
    buf_append_str(&input, STR("\n\0\n\r\nx.y.z"));
    fwrite(buf_str(&input).ptr, 1, input.len, in);
    fflush(in);
    assert_int_equal(0, lseek(fileno(in), 0, SEEK_SET));
    assert_int_equal(ERR_OK, jwt_lines_judge(&how, fileno(in), out, &info));
    rewind(out);
    size_t n = fread(text, 1, sizeof text - 1, out);
    text[n] = '\0';
#define REFUSED(word)                                                          \
    "{\"valid\":false,\"reason\":\"" word "\",\"claims\":null}\n"
    assert_string_equal(text,
        "{\"valid\":true,\"reason\":\"ok\",\"claims\":{\"iss\":"
        "\"https://i.example\",\"aud\":\"bailiff\",\"sub\":\"a \\\" \\\\\","
        "\"exp\":1800000300,\"n\":1.0}}\n" REFUSED("malformed")
            REFUSED("too_large") REFUSED("malformed") REFUSED("malformed")
                REFUSED("bad_encoding"));
    fclose(in);
    fclose(out);
    buf_fini(&input);
}

/* Nobody reads the answers: that is an error, not a success without them. */
static void lines_into_a_full_disk(void **state)
{
    struct jwt_lines how = {.jwks = set,
        .issuer = STR("https://i.example"),
        .audiences = &audience,
        .audience_count = 1};
    struct errinfo info = {0};
    FILE *in = tmpfile(), *out = fopen("/dev/full", "w");

    assert_non_null(out);
    fputs("a.b.c\nd.e.f", in);
    fflush(in);
    assert_int_equal(0, lseek(fileno(in), 0, SEEK_SET));
    assert_int_equal(ERR_IO, jwt_lines_judge(&how, fileno(in), out, &info));
    assert_non_null(strstr(info.text, "cannot be written"));
    fclose(in);
    fclose(out);
}

static void reasons_have_words(void **state)
{
    for (int i = 0; i < JWT_REASON_COUNT; i++) {
        assert_non_null(jwt_reason_word((enum jwt_reason)i));
        assert_true(strlen(jwt_reason_text((enum jwt_reason)i)) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm),
        cmocka_unit_test(published),
        cmocka_unit_test(algorithm_confusion),
        cmocka_unit_test(algorithm_names),
        cmocka_unit_test(hmac_with_public_key),
        cmocka_unit_test(signatures),
        cmocka_unit_test(ed25519_malleable),
        cmocka_unit_test(every_mutation),
        cmocka_unit_test(shapes),
        cmocka_unit_test(encodings),
        cmocka_unit_test(headers),
        cmocka_unit_test(sizes),
        cmocka_unit_test(claims),
        cmocka_unit_test(strict_rules),
        cmocka_unit_test(bound_to_certificate),
        cmocka_unit_test(key_sets),
        cmocka_unit_test(rsa_keys),
        cmocka_unit_test(key_choice),
        cmocka_unit_test(lines),
        cmocka_unit_test(lines_into_a_full_disk),
        cmocka_unit_test(reasons_have_words),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
