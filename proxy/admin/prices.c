/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/prices.c - the price table: what a model costs, from when on.
 * A row is never changed; a new price is a new row. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/encode.h"
#include "policy/price.h"

#include <stdio.h>

#define PRICE_COLUMNS                                                          \
    "SELECT version, model, valid_from, input, cached, output, request, "      \
    "image, audio_second, created FROM price "

static void read_price(struct db_statement *s, struct price *price)
{
    *price = (struct price){.version = db_column_int(s, 0),
        .valid_from_us = db_column_int(s, 2),
        .input = db_column_int(s, 3),
        .cached = db_column_int(s, 4),
        .output = db_column_int(s, 5),
        .request = db_column_int(s, 6),
        .image = db_column_int(s, 7),
        .audio_second = db_column_int(s, 8)};
    price_hash(price, db_column_text(s, 1));
}

static json_t *price_json(struct db_statement *s)
{
    json_t *item = json_object();
    struct price price;

    read_price(s, &price);
    admin_set_int(item, "version", price.version);
    admin_set_text(item, "hash", str_from(price.hash));
    admin_set_text(item, "model", db_column_text(s, 1));
    admin_set_time(item, "validFrom", price.valid_from_us);
    admin_set_int(item, "input", price.input);
    admin_set_int(item, "cached", price.cached);
    admin_set_int(item, "output", price.output);
    admin_set_int(item, "request", price.request);
    admin_set_int(item, "image", price.image);
    admin_set_int(item, "audioSecond", price.audio_second);
    admin_set_time(item, "created", db_column_int(s, 9));
    return item;
}

/* Is it the row of its model that counts now? */
static void mark_in_force(json_t *items)
{
    size_t count = json_array_size(items);

    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(items, i), *next;
        int64_t from, then = 0;
        bool begun, replaced = false;

        begun =
            clock_parse(
                str_from(json_string_value(json_object_get(item, "validFrom"))),
                &from) == ERR_OK &&
            from <= clock_now();
        next = json_array_get(items, i + 1); /* by model, validFrom, version */
        if (next && json_equal(json_object_get(next, "model"),
                        json_object_get(item, "model")))
            replaced = clock_parse(str_from(json_string_value(
                                       json_object_get(next, "validFrom"))),
                           &then) == ERR_OK &&
                       then <= clock_now();
        admin_set_bool(item, "inForce", begun && !replaced);
    }
}

struct price_filter {
    struct str model;
};

static enum err list_prices(
    struct admin_call *call, struct str model, json_t **out)
{
    struct db_statement *s;
    json_t *items;
    enum err err = db_prepare(call->db,
        PRICE_COLUMNS "WHERE (?1 = '' OR model = ?1) "
                      "ORDER BY model, valid_from, version",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, model);
    items = json_array();
    while ((err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, price_json(s));
    if (err != ERR_NOTFOUND) {
        json_decref(items);
        return err;
    }
    mark_in_force(items);
    *out = items;
    return ERR_OK;
}

enum err handle_price_list(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"model", FIELD_NAME, false, offsetof(struct price_filter, model), 0, 0,
            NULL},
    };
    struct price_filter filter = {.model = STR("")};
    json_t *items;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &filter);

    if (!err && filter.model.len > 0)
        err = admin_resolve_model(call, filter.model, &filter.model);
    if (!err)
        err = list_prices(call, filter.model, &items);
    return err ? err : admin_answer_list(call, items);
}

static enum err one_price(
    struct admin_call *call, int64_t version, json_t **out)
{
    struct db_statement *s;
    struct str model = STR("");
    json_t *items = NULL, *found = NULL;
    enum err err = db_prepare(call->db,
        "SELECT model FROM price WHERE version = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_int(s, 1, version);
    err = db_step(s, &call->info);
    if (!err)
        model = admin_column(call, s, 0);
    db_reset(s);
    if (err == ERR_NOTFOUND)
        return FAIL(call, err,
            "no row %lld in the price table (bailiff price list)",
            (long long)version);
    if (!err)
        err = list_prices(call, model, &items);
    if (err)
        return err;
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        if (json_integer_value(json_object_get(item, "version")) == version)
            found = json_incref(item);
    }
    json_decref(items);
    *out = found;
    return ERR_OK;
}

enum err handle_price_show(struct admin_call *call)
{
    int64_t version;
    json_t *price = NULL;
    enum err err = str_to_i64(call->params[0], &version);

    if (err || version < 1)
        return FAIL(call, ERR_NOTFOUND,
            "\"%.*s\" is no row of the price table (bailiff price list)",
            STR_ARG(call->params[0]));
    err = one_price(call, version, &price);
    return err ? err : admin_answer(call, 200, price);
}

/* --- Setting --------------------------------------------------------- */

struct price_body {
    struct str model;
    int64_t valid_from, input, cached, output, request, image, audio_second;
};

static enum err insert_price(
    struct admin_call *call, const struct price_body *body, int64_t *version)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT coalesce(max(version), 0) + 1 FROM price", &s, &call->info);

    if (!err)
        err = db_step(s, &call->info);
    if (err)
        return err;
    *version = db_column_int(s, 0);
    db_reset(s);
    err = db_prepare(call->db,
        "INSERT INTO price (version, model, valid_from, input, cached, output, "
        "request, image, audio_second, created) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        &s, &call->info);
    if (err)
        return err;
    db_bind_int(s, 1, *version);
    db_bind_text(s, 2, body->model);
    db_bind_int(s, 3, body->valid_from);
    db_bind_int(s, 4, body->input);
    db_bind_int(s, 5, body->cached < 0 ? body->input : body->cached);
    db_bind_int(s, 6, body->output);
    db_bind_int(s, 7, body->request);
    db_bind_int(s, 8, body->image);
    db_bind_int(s, 9, body->audio_second);
    db_bind_int(s, 10, clock_now());
    return db_run(s, &call->info);
}

static enum err check_price(struct admin_call *call, struct price_body *body)
{
    int64_t now = clock_now();

    if (body->cached > body->input)
        return FAIL(call, ERR_INVALID,
            "cached: a token read from a cache costs at most as much as "
            "another (%lld)",
            (long long)body->input);
    if (body->valid_from > 0 && body->valid_from < now - MINUTE_US)
        return FAIL(call, ERR_INVALID,
            "validFrom: prices do not change backwards; what was charged "
            "stands");
    if (body->valid_from == 0)
        body->valid_from = now;
    return admin_resolve_model(call, body->model, &body->model);
}

#define AT(member) offsetof(struct price_body, member)
#define MONEY(name, required, member)                                          \
    {                                                                          \
        name, FIELD_INT, required, AT(member), 0, PRICE_MAX, NULL              \
    }
enum err handle_price_set(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"model", FIELD_NAME, true, AT(model), 0, 0, NULL},
        {"validFrom", FIELD_TIME, false, AT(valid_from), 0, 0, NULL},
        MONEY("input", true, input),
        MONEY("cached", false, cached),
        MONEY("output", true, output),
        MONEY("request", false, request),
        MONEY("image", false, image),
        MONEY("audioSecond", false, audio_second),
    };
    struct price_body body = {.cached = -1};
    char object[24];
    int64_t version = 0;
    json_t *price = NULL, *event;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_price(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = insert_price(call, &body, &version);
    if (!err)
        err = one_price(call, version, &price);
    if (err)
        return err;
    snprintf(object, sizeof object, "%lld", (long long)version);
    event = json_copy(price);
    json_object_del(event, "inForce");
    err = admin_record(call, "admin.price.added", "price", str_from(object),
        NULL, event, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_MODELS);
    if (err) {
        json_decref(price);
        return err;
    }
    return admin_answer(call, 201, price);
}
