/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/settings.c - DIR/bailiff.conf, read with libconfig. What a key may
 * hold stands in settings.tbl.h; here is how each kind is read, with every
 * error collected before the file is refused. */
#include "proxy/settings.h"

#include "lib/clock.h"
#include "lib/file.h"
#include "proxy/address.h"

#include <libconfig.h>
#include <stdlib.h>
#include <sys/un.h>

#define SETTINGS_FILE "bailiff.conf"
#define LISTEN_MAX 16

enum setting_kind {
    KIND_LIST,
    KIND_PATH,
    KIND_TEXT,
    KIND_CHOICE,
    KIND_COUNT,
    KIND_BYTES,
    KIND_TIME,
    KIND_HEADING
};

struct setting_row {
    enum setting_kind kind;
    const char *name; /* KIND_HEADING: the text */
    const char *text; /* default of list, path, text, choice */
    int64_t number, least, most;
    const char *choices;
    const char *help;
    size_t offset; /* of the member in struct settings */
};

#define AT(name) offsetof(struct settings, name)
static const struct setting_row rows[] = {
#define SETTING_LIST(name, value, help)                                        \
    {KIND_LIST, #name, value, 0, 0, 0, NULL, help, AT(name)},
#define SETTING_PATH(name, value, help)                                        \
    {KIND_PATH, #name, value, 0, 0, 0, NULL, help, AT(name)},
#define SETTING_TEXT(name, value, help)                                        \
    {KIND_TEXT, #name, value, 0, 0, 0, NULL, help, AT(name)},
#define SETTING_CHOICE(name, value, choices, help)                             \
    {KIND_CHOICE, #name, value, 0, 0, 0, choices, help, AT(name)},
#define SETTING_COUNT(name, value, least, most, help)                          \
    {KIND_COUNT, #name, NULL, value, least, most, NULL, help, AT(name)},
#define SETTING_BYTES(name, value, least, most, help)                          \
    {KIND_BYTES, #name, NULL, value, least, most, NULL, help, AT(name)},
#define SETTING_TIME(name, value, least, most, help)                           \
    {KIND_TIME, #name, NULL, value, least, most, NULL, help, AT(name)},
#define SETTING_HEADING(text)                                                  \
    {KIND_HEADING, text, NULL, 0, 0, 0, NULL, NULL, 0},
#include "proxy/settings.tbl.h"
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

struct loading {
    struct settings *settings;
    const char *state_dir;
    struct buf *findings;
    unsigned errors;
};

/* --- Findings -------------------------------------------------------- */

static void finding(struct loading *load, const char *file, int line,
    const char *format, ...) PRINTFLIKE(4, 5);
static void finding(
    struct loading *load, const char *file, int line, const char *format, ...)
{
    char text[ERRINFO_MAX];
    const char *slash = file ? strrchr(file, '/') : NULL;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buf_printf(load->findings, "%s:%d: %s\n",
        slash ? slash + 1 : (file ? file : SETTINGS_FILE), line, text);
    load->errors++;
}

#define FINDING(load, setting, ...)                                            \
    finding((load), config_setting_source_file(setting),                       \
        (int)config_setting_source_line(setting), __VA_ARGS__)

/* --- Members --------------------------------------------------------- */

static char **text_member(struct settings *s, const struct setting_row *row)
{
    return (char **)(void *)((char *)s + row->offset);
}

static int64_t *number_member(struct settings *s, const struct setting_row *row)
{
    return (int64_t *)(void *)((char *)s + row->offset);
}

static void set_text(
    struct loading *load, const struct setting_row *row, const char *value)
{
    char **member = text_member(load->settings, row);
    char *copy;

    if (row->kind == KIND_PATH && value[0] != '/' && value[0] != '\0')
        copy = file_join(load->state_dir, value);
    else
        copy = strdup(value);
    if (!copy) {
        finding(load, SETTINGS_FILE, 0, "out of memory");
        return;
    }
    free(*member);
    *member = copy;
}

static void clear_listen(struct settings *settings)
{
    for (size_t i = 0; i < settings->listen_count; i++)
        free(settings->listen[i]);
    free(settings->listen);
    settings->listen = NULL;
    settings->listen_count = 0;
}

static void add_listen(struct loading *load, const char *value)
{
    struct settings *s = load->settings;

    if (!s->listen)
        s->listen = calloc(LISTEN_MAX, sizeof *s->listen);
    if (!s->listen || !(s->listen[s->listen_count] = strdup(value))) {
        finding(load, SETTINGS_FILE, 0, "out of memory");
        return;
    }
    s->listen_count++;
}

static void set_defaults(struct loading *load)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct setting_row *row = &rows[i];
        switch (row->kind) {
        case KIND_LIST:
            add_listen(load, "[::]:8443");
            add_listen(load, "0.0.0.0:8443");
            break;
        case KIND_PATH:
        case KIND_TEXT:
        case KIND_CHOICE:
            set_text(load, row, row->text);
            break;
        case KIND_COUNT:
        case KIND_BYTES:
        case KIND_TIME:
            *number_member(load->settings, row) = row->number;
            break;
        case KIND_HEADING:
            break;
        }
    }
}

/* --- Values ---------------------------------------------------------- */

static void read_listen(struct loading *load, config_setting_t *setting)
{
    int type = config_setting_type(setting);
    int count = config_setting_length(setting);

    clear_listen(load->settings);
    if (type == CONFIG_TYPE_STRING)
        count = 1;
    else if (type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST) {
        FINDING(load, setting,
            "listen must be a list of texts, for instance [ \"[::]:8443\" ]");
        return;
    }
    if (count < 1 || count > LISTEN_MAX) {
        FINDING(
            load, setting, "listen must name 1 to %d addresses", LISTEN_MAX);
        return;
    }
    for (int i = 0; i < count; i++) {
        const char *text = type == CONFIG_TYPE_STRING
                               ? config_setting_get_string(setting)
                               : config_setting_get_string_elem(setting, i);
        struct sockaddr_storage address;
        socklen_t length;
        struct errinfo info = {0};

        if (!text)
            FINDING(load, setting, "listen: element %d is no text", i + 1);
        else if (address_parse(str_from(text), &address, &length, &info))
            FINDING(load, setting, "listen: %s", info.text);
        else
            add_listen(load, text);
    }
}

/* "64KiB" and the like. */
static enum err parse_bytes(struct str text, int64_t *out)
{
    static const struct {
        struct str suffix;
        int shift;
    } units[] = {{STR_INIT("KiB"), 10}, {STR_INIT("MiB"), 20},
        {STR_INIT("GiB"), 30}, {STR_INIT(""), 0}};
    int64_t value;

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        enum err err;

        if (!str_ends(text, units[i].suffix))
            continue;
        err = str_to_i64(
            str_trim(str_make(text.ptr, text.len - units[i].suffix.len)),
            &value);
        if (err)
            return err;
        if (__builtin_mul_overflow(value, INT64_C(1) << units[i].shift, &value))
            return ERR_RANGE;
        *out = value;
        return ERR_OK;
    }
    return ERR_SYNTAX;
}

static void read_number(struct loading *load, const struct setting_row *row,
    config_setting_t *setting)
{
    int type = config_setting_type(setting);
    int64_t value = 0;

    if (type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64) {
        value = config_setting_get_int64(setting);
    } else if (type == CONFIG_TYPE_STRING && row->kind != KIND_COUNT) {
        struct str text = str_from(config_setting_get_string(setting));
        enum err err = row->kind == KIND_BYTES
                           ? parse_bytes(text, &value)
                           : clock_parse_duration(text, &value);
        if (err) {
            FINDING(load, setting, "%s: \"%.*s\" is no %s", row->name,
                STR_ARG(text),
                row->kind == KIND_BYTES
                    ? "size; write bytes, or a text such as \"16MiB\""
                    : "time; write milliseconds, or a text such as \"30s\"");
            return;
        }
        if (row->kind == KIND_TIME)
            value /= 1000;
    } else {
        FINDING(load, setting, "%s must be a whole number", row->name);
        return;
    }
    if (value < row->least || value > row->most) {
        FINDING(load, setting, "%s is %lld; it must be from %lld to %lld",
            row->name, (long long)value, (long long)row->least,
            (long long)row->most);
        return;
    }
    *number_member(load->settings, row) = value;
}

static bool is_choice(const char *choices, struct str value)
{
    struct str rest = str_from(choices), word;

    while (rest.len > 0) {
        str_split(rest, ' ', &word, &rest);
        if (str_equal(word, value))
            return true;
    }
    return false;
}

static void read_text(struct loading *load, const struct setting_row *row,
    config_setting_t *setting)
{
    const char *value = config_setting_get_string(setting);

    if (!value) {
        FINDING(load, setting, "%s must be a text in double quotes", row->name);
        return;
    }
    if (row->kind == KIND_PATH && value[0] == '\0' && row->text[0] != '\0') {
        FINDING(load, setting, "%s must name a file", row->name);
        return;
    }
    if (row->kind == KIND_CHOICE && !is_choice(row->choices, str_from(value))) {
        FINDING(load, setting, "%s is \"%s\"; it must be one of: %s", row->name,
            value, row->choices);
        return;
    }
    if ((row->offset == AT(metrics_listen) ||
            row->offset == AT(admin_listen)) &&
        value[0] != '\0') {
        struct sockaddr_storage address;
        socklen_t length;
        struct errinfo info = {0};

        if (address_parse(str_from(value), &address, &length, &info)) {
            FINDING(load, setting, "%s: %s", row->name, info.text);
            return;
        }
        if (row->offset == AT(metrics_listen) &&
            !address_is_loopback(&address)) {
            FINDING(load, setting,
                "metrics_listen: %s is not a loopback address; this listener "
                "asks nobody who they are, so use 127.0.0.1 or [::1]",
                value);
            return;
        }
    }
    set_text(load, row, value);
}

static void report_unknown(struct loading *load, config_setting_t *setting)
{
    const char *name = config_setting_name(setting);
    struct str names[ROW_COUNT], near;
    size_t count = 0;

    for (size_t i = 0; i < ROW_COUNT; i++)
        if (rows[i].kind != KIND_HEADING)
            names[count++] = str_from(rows[i].name);
    near = str_suggest(str_from(name), names, count);
    if (near.len > 0)
        FINDING(load, setting, "unknown key \"%s\"; did you mean \"%.*s\"?",
            name, STR_ARG(near));
    else
        FINDING(load, setting,
            "unknown key \"%s\"; `bailiff init` writes every key that there "
            "is into " SETTINGS_FILE,
            name);
}

static void read_setting(struct loading *load, config_setting_t *setting)
{
    const char *name = config_setting_name(setting);

    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct setting_row *row = &rows[i];

        if (row->kind == KIND_HEADING || !name || strcmp(row->name, name) != 0)
            continue;
        switch (row->kind) {
        case KIND_LIST:
            read_listen(load, setting);
            break;
        case KIND_PATH:
        case KIND_TEXT:
        case KIND_CHOICE:
            read_text(load, row, setting);
            break;
        case KIND_COUNT:
        case KIND_BYTES:
        case KIND_TIME:
            read_number(load, row, setting);
            break;
        case KIND_HEADING:
            break;
        }
        return;
    }
    report_unknown(load, setting);
}

/* What only shows when all keys are known. */
static void check_together(struct loading *load)
{
    const struct settings *s = load->settings;

    if (s->admin_socket &&
        strlen(s->admin_socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        finding(load, SETTINGS_FILE, 0,
            "admin_socket: \"%s\" is longer than the 107 bytes that a Unix "
            "socket's path may have; set a shorter one",
            s->admin_socket);
    if (s->max_body_bytes > s->max_held_bytes)
        finding(load, SETTINGS_FILE, 0,
            "max_body_bytes is larger than max_held_bytes: no such body could "
            "ever be taken");
}

/* --- The file -------------------------------------------------------- */

/* Behind a text or a comment that begins at `at`; else `at` itself. */
static size_t skip_quiet(struct str text, size_t at)
{
    struct str rest = str_make(text.ptr + at, text.len - at);

    if (str_starts(rest, STR("\""))) {
        for (at++; at < text.len && text.ptr[at] != '"'; at++)
            if (text.ptr[at] == '\\')
                at++;
        return at < text.len ? at + 1 : text.len;
    }
    if (str_starts(rest, STR("#")) || str_starts(rest, STR("//"))) {
        while (at < text.len && text.ptr[at] != '\n')
            at++;
    } else if (str_starts(rest, STR("/*"))) {
        const char *end = memmem(rest.ptr, rest.len, "*/", 2);
        at = end ? (size_t)(end - text.ptr) + 2 : text.len;
    }
    return at;
}

static bool in_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

/* libconfig (before 1.7.3) cuts a number off at 32 bits unless an L stands
 * behind it: 4294967297 would be 1. Puts the L there. */
static void mark_large(struct str text, struct buf *out)
{
    for (size_t at = 0; at < text.len;) {
        size_t end = skip_quiet(text, at);
        bool digits = true;

        if (end == at)
            while (end < text.len && in_word(text.ptr[end])) {
                digits = digits && text.ptr[end] >= '0' && text.ptr[end] <= '9';
                end++;
            }
        else
            digits = false;
        if (end == at)
            end++;
        buf_append(out, text.ptr + at, end - at);
        if (digits && end - at >= 10)
            buf_append_char(out, 'L');
        at = end;
    }
}

static void read_file(struct loading *load, const char *path)
{
    config_t config;
    struct buf text, marked;
    struct errinfo info = {0};
    config_setting_t *root;

    buf_init(&marked, 2 * 1024 * 1024);
    config_init(&config);
    config_set_include_dir(&config, load->state_dir);
    /* Read whole first: libconfig says only "file I/O error". */
    buf_init(&text, 1024 * 1024);
    if (file_read(path, &text, &info) != ERR_OK) {
        finding(load, SETTINGS_FILE, 0, "%s", info.text);
        goto out;
    }
    if (memchr(buf_str(&text).ptr, '\0', text.len)) {
        finding(load, SETTINGS_FILE, 0, "the file holds a NUL byte");
        goto out;
    }
    mark_large(buf_str(&text), &marked);
    if (config_read_string(&config, buf_cstr(&marked)) != CONFIG_TRUE) {
        finding(load, config_error_file(&config), config_error_line(&config),
            "%s (a setting is written: name = value;)",
            config_error_text(&config));
        goto out;
    }
    root = config_root_setting(&config);
    for (int i = 0; i < config_setting_length(root); i++)
        read_setting(load, config_setting_get_elem(root, (unsigned)i));
out:
    buf_fini(&text);
    buf_fini(&marked);
    config_destroy(&config);
}

enum err settings_load(
    const char *state_dir, struct settings **out, struct buf *findings)
{
    struct loading load = {NULL, state_dir, findings, 0};
    char *path = file_join(state_dir, SETTINGS_FILE);

    load.settings = calloc(1, sizeof *load.settings);
    if (!load.settings || !path) {
        free(path);
        free(load.settings);
        return ERR_NOMEM;
    }
    set_defaults(&load);
    if (file_exists(path))
        read_file(&load, path);
    if (load.errors == 0)
        check_together(&load);
    free(path);
    if (load.errors > 0) {
        settings_free(&load.settings);
        return ERR_INVALID;
    }
    *out = load.settings;
    return ERR_OK;
}

void settings_free(struct settings **settings)
{
    struct settings *s = *settings;

    if (!s)
        return;
    clear_listen(s);
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (rows[i].kind == KIND_PATH || rows[i].kind == KIND_TEXT ||
            rows[i].kind == KIND_CHOICE)
            free(*text_member(s, &rows[i]));
    free(s);
    *settings = NULL;
}

/* --- The commented file of `init` ------------------------------------ */

#define COMMENT_WIDTH 76

static void write_comment(struct buf *out, struct str text)
{
    size_t column = 0;

    while (text.len > 0) {
        struct str word;
        str_split(text, ' ', &word, &text);
        if (column > 0 && column + 1 + word.len > COMMENT_WIDTH) {
            buf_append_char(out, '\n');
            column = 0;
        }
        buf_append_str(out, column == 0 ? STR("# ") : STR(" "));
        column += word.len + (column == 0 ? 2 : 1);
        buf_append_str(out, word);
    }
    buf_append_char(out, '\n');
}

static void write_row(struct buf *out, const struct setting_row *row)
{
    switch (row->kind) {
    case KIND_LIST:
        buf_printf(out, "# %s = [ %s ];\n", row->name, row->text);
        break;
    case KIND_PATH:
    case KIND_TEXT:
        buf_printf(out, "# %s = \"%s\";\n", row->name, row->text);
        break;
    case KIND_CHOICE:
        buf_printf(out, "# One of: %s.\n# %s = \"%s\";\n", row->choices,
            row->name, row->text);
        break;
    case KIND_COUNT:
    case KIND_BYTES:
    case KIND_TIME:
        buf_printf(out, "# From %lld to %lld.\n# %s = %lld;\n",
            (long long)row->least, (long long)row->most, row->name,
            (long long)row->number);
        break;
    case KIND_HEADING:
        break;
    }
}

void settings_write_default(struct buf *out)
{
    write_comment(out,
        STR("Settings of Bailiff: addresses, paths, sizes, threads, times. "
            "Every key is here with its default; take the \"# \" away before "
            "a key to change it, then run `bailiff check DIR`. Rules, quotas, "
            "callers and whatever else weakens or tightens a control are not "
            "settings: they are changed with `bailiff policy`, `quota`, "
            "`caller` ... and go on record."));
    for (size_t i = 0; i < ROW_COUNT; i++) {
        buf_append_char(out, '\n');
        if (rows[i].kind == KIND_HEADING) {
            buf_printf(out, "# --- %s\n", rows[i].name);
            continue;
        }
        write_comment(out, str_from(rows[i].help));
        write_row(out, &rows[i]);
    }
}
