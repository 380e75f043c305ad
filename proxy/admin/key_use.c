/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/key_use.c - what a key was used for, out of the log: how often,
 * for which models, on which routes, from where. Asked when a key has leaked.
 *
 * Addresses are personal and sealed in the log; they are opened here, so that
 * each such reading is on record. Runs without the control's lock. */
#include "proxy/admin/audit_priv.h"

#include "audit/seal.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"

#define PAGE_ROWS 10000
#define ROWS_MAX 500000     /* past it the answer says that there is more */
#define ADDRESSES_MAX 10000 /* different ones */

struct use {
    struct admin_call *call;
    struct audit_index *index;
    struct audit_reader *reader;
    struct crypto_aead *aead;
    uint64_t size;
    struct seal_key key; /* the last one that was needed */
    char key_id[64];
    bool key_good;
    json_t *models, *routes, *addresses;
    int64_t requests, permitted, refused, input, output, sealed;
    int64_t first_us, last_us;
    size_t rows;
    bool more;
};

static void count_name(json_t *names, struct str name)
{
    char text[512];
    json_t *now;

    if (name.len == 0 || name.len >= sizeof text)
        return;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    now = json_object_get(names, text);
    json_object_set_new(names, text, json_integer(json_integer_value(now) + 1));
}

static void note_time(struct use *u, int64_t time_us)
{
    if (!u->first_us || time_us < u->first_us)
        u->first_us = time_us;
    if (time_us > u->last_us)
        u->last_us = time_us;
}

/* --- Addresses ----------------------------------------------------------- */

static bool find_seal(struct use *u, struct str id)
{
    if (u->key_good && str_equal(str_from(u->key_id), id))
        return true;
    if (id.len == 0 || id.len >= sizeof u->key_id)
        return false;
    control_lock(u->call->control);
    u->key_good = keyring_find(control_keyring(u->call->control), id, &u->key,
                      NULL) == ERR_OK;
    control_unlock(u->call->control);
    memcpy(u->key_id, id.ptr, id.len);
    u->key_id[id.len] = '\0';
    return u->key_good;
}

static void count_address(
    struct use *u, const char *address, int64_t times, int64_t time_us)
{
    json_t *one = json_object_get(u->addresses, address);

    if (!one) {
        if (json_object_size(u->addresses) >= ADDRESSES_MAX) {
            u->more = true;
            return;
        }
        one = json_pack("{s:I,s:I,s:I}", "requests", (json_int_t)0, "first",
            (json_int_t)time_us, "last", (json_int_t)time_us);
        json_object_set_new(u->addresses, address, one);
    }
    json_object_set_new(one, "requests",
        json_integer(
            json_integer_value(json_object_get(one, "requests")) + times));
    if (time_us < json_integer_value(json_object_get(one, "first")))
        json_object_set_new(one, "first", json_integer(time_us));
    if (time_us > json_integer_value(json_object_get(one, "last")))
        json_object_set_new(one, "last", json_integer(time_us));
}

/* False: the box cannot be opened (any more). */
static bool open_box(
    struct use *u, const struct audit_event *event, int64_t times)
{
    uint8_t box[8192];
    size_t length = 0;
    struct buf plain;
    json_t *person = NULL;
    const char *address = NULL;

    buf_init(&plain, 8192);
    if (base64_decode(event->sealed_box, box, sizeof box, &length) == ERR_OK &&
        seal_open(u->aead, &u->key, event->id,
            str_make((const char *)box, length), &plain) == ERR_OK)
        person = json_loadb(buf_str(&plain).ptr, plain.len, 0, NULL);
    address = json_string_value(json_object_get(person, "address"));
    if (address)
        count_address(u, address, times, event->time_us);
    json_decref(person);
    if (plain.ptr)
        crypto_wipe(plain.ptr, plain.cap);
    buf_fini(&plain);
    return address != NULL;
}

static enum err read_address(struct use *u, uint64_t seq, int64_t times)
{
    struct arena *arena = arena_new(16384, 0);
    struct audit_event event;
    struct buf entry;
    enum err err = arena ? ERR_OK : ERR_NOMEM;

    buf_init(&entry, 1 << 17);
    if (!err)
        err = audit_read_entry(u->reader, u->size, seq, &entry, &u->call->info);
    if (!err)
        err = audit_event_parse(arena, buf_str(&entry), &event, &u->call->info);
    if (!err &&
        (!find_seal(u, event.sealed_key) || !open_box(u, &event, times)))
        u->sealed += times;
    buf_fini(&entry);
    arena_free(&arena);
    return err;
}

/* --- Rows ---------------------------------------------------------------- */

static enum err take_row(struct use *u, const struct audit_row *row)
{
    note_time(u, row->time_us);
    if (row->kind == AUDIT_ROW_EVENT) {
        u->refused += row->count;
        return read_address(u, row->seq, row->count);
    }
    u->requests++;
    u->permitted += row->permitted;
    u->input += row->input > 0 ? row->input : 0;
    u->output += row->output > 0 ? row->output : 0;
    count_name(u->models, row->model.len > 0 ? row->model : row->asked);
    count_name(u->routes, row->route);
    return read_address(u, row->seq, 1);
}

static enum err read_rows(
    struct use *u, struct audit_filter *filter, uint64_t *damaged)
{
    struct audit_result *result = NULL;
    enum err err;

    filter->limit = PAGE_ROWS;
    for (;;) {
        err = audit_query(u->index, filter, &result, damaged, &u->call->info);
        for (size_t i = 0; !err && i < result->count; i++)
            err = take_row(u, &result->rows[i]);
        if (err)
            break;
        u->rows += result->count;
        u->more = u->more || result->incomplete;
        if (!result->more || result->count == 0)
            break;
        if (u->rows >= ROWS_MAX) {
            u->more = true;
            break;
        }
        filter->has_after = true;
        filter->after = result->rows[result->count - 1].seq;
        audit_result_free(&result);
    }
    audit_result_free(&result);
    return err;
}

/* --- The answer ---------------------------------------------------------- */

static json_t *name_list(json_t *names)
{
    json_t *list = json_array(), *value;
    const char *name;

    json_object_foreach(names, name, value) json_array_append_new(
        list, json_pack("{s:s,s:O}", "name", name, "requests", value));
    return list;
}

static json_t *address_list(json_t *addresses)
{
    json_t *list = json_array(), *value, *one;
    const char *address;

    json_object_foreach(addresses, address, value)
    {
        one = json_object();
        admin_set_text(one, "address", str_from(address));
        admin_set(
            one, "requests", json_incref(json_object_get(value, "requests")));
        admin_set_time(
            one, "first", json_integer_value(json_object_get(value, "first")));
        admin_set_time(
            one, "last", json_integer_value(json_object_get(value, "last")));
        json_array_append_new(list, one);
    }
    return list;
}

static enum err answer(struct use *u, struct str key)
{
    json_t *out = json_object();

    admin_set_text(out, "key", key);
    admin_set_int(out, "requests", u->requests);
    admin_set_int(out, "permitted", u->permitted);
    admin_set_int(out, "denied", u->requests - u->permitted);
    admin_set_int(out, "refused", u->refused);
    admin_set_int(out, "inputTokens", u->input);
    admin_set_int(out, "outputTokens", u->output);
    admin_set_time(out, "first", u->first_us);
    admin_set_time(out, "last", u->last_us);
    admin_set(out, "models", name_list(u->models));
    admin_set(out, "routes", name_list(u->routes));
    admin_set(out, "addresses", address_list(u->addresses));
    admin_set_int(out, "addressesSealed", u->sealed);
    admin_set_bool(out, "more", u->more);
    return admin_answer(u->call, 200, out);
}

static enum err open_use(struct use *u)
{
    struct admin_call *call = u->call;
    enum err err = audit_await_index(call, &u->size, &u->more);

    if (!err)
        err = audit_index_open(
            control_dir(call->control), &u->index, &call->info);
    if (!err)
        err = audit_reader_open(
            control_dir(call->control), &u->reader, &call->info);
    u->aead = crypto_aead_new();
    return !err && !u->aead ? ERR_NOMEM : err;
}

static enum err find_key(struct admin_call *call, struct str id)
{
    enum err err;

    control_lock(call->control);
    err = admin_need(call, call->db, "key",
        "SELECT 1 FROM api_key WHERE id = ?1", "SELECT id FROM api_key", id);
    control_unlock(call->control);
    return err;
}

enum err handle_key_use(struct admin_call *call)
{
    struct str id = call->params[0];
    struct audit_filter filter = {.key = id};
    struct use u = {.call = call,
        .models = json_object(),
        .routes = json_object(),
        .addresses = json_object()};
    uint64_t damaged = 0;
    json_t *detail;
    enum err err = admin_read_query(call, NULL, 0, NULL);

    if (!err)
        err = find_key(call, id);
    if (!err)
        err = open_use(&u);
    if (!err && (err = read_rows(&u, &filter, &damaged)) != ERR_OK)
        err = audit_index_failed(call, err, damaged);
    if (!err && !call->answered) {
        detail = json_object();
        admin_set_int(detail, "rows", (int64_t)u.rows);
        err = admin_event(call, "audit.key_traced", "key", id, detail, STR(""));
    }
    if (!err && !call->answered)
        err = answer(&u, id);
    crypto_wipe(&u.key, sizeof u.key);
    crypto_aead_free(&u.aead);
    audit_reader_close(&u.reader);
    audit_index_close(&u.index);
    json_decref(u.models);
    json_decref(u.routes);
    json_decref(u.addresses);
    return err;
}
