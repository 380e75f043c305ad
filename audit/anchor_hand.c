/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/anchor_hand.c - one note to one anchor.
 *
 * A command runs in a process group of its own, with the note on a socket as
 * its standard input (a command that does not read it must not raise SIGPIPE
 * here) and its output caught for the error text. */
#include "audit/anchors.h"

#include "lib/clock.h"
#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_TIMEOUT_US (30 * SECOND_US)
#define OUTPUT_KEPT 300 /* bytes of a failed command's words */

extern char **environ;

/* --- Files
 * ---------------------------------------------------------------------
 */

static enum err hand_to_folder(
    const char *folder, struct str note, uint64_t size, struct errinfo *info)
{
    char name[48];
    snprintf(name, sizeof(name), "checkpoint-%" PRIu64, size);
    char *path = file_join(folder, name);
    if (!path)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    /* Of this size there is one already: it was handed over before. */
    enum err err = file_create(path, note, 0644, info);
    free(path);
    return err == ERR_EXISTS ? ERR_OK : err;
}

static enum err append_note(
    const char *path, struct str note, struct errinfo *info)
{
    struct buf text;
    enum err err = ERR_OK;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return errinfo_errno(info, ERR_IO, "cannot open %s", path);
    buf_init(&text, note.len + 1);
    buf_append_str(&text, note);
    buf_append_char(&text, '\n');
    if (text.failed) {
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    } else {
        /* One write: what others append at the same time stays apart. */
        ssize_t wrote = write(fd, text.ptr, text.len);
        if (wrote < 0)
            err = errinfo_errno(info, ERR_IO, "cannot write to %s", path);
        else if ((size_t)wrote != text.len)
            err = errinfo_set(info, ERR_FULL,
                "%s took only part of the checkpoint: is its disk full?", path);
        else if (fsync(fd) != 0 && errno != EINVAL)
            err = errinfo_errno(info, ERR_IO, "cannot sync %s", path);
    }
    buf_fini(&text);
    close(fd);
    return err;
}

static enum err hand_to_file(
    const char *path, struct str note, uint64_t size, struct errinfo *info)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return hand_to_folder(path, note, size, info);
    return append_note(path, note, info);
}

enum err anchor_last_note(struct str file, struct str *note)
{
    static const struct str mark = STR_INIT("\n\n\xE2\x80\x94 ");
    /* To the newline of the last signature line, and no further. */
    while (file.len > 1 && file.ptr[file.len - 1] == '\n' &&
           file.ptr[file.len - 2] == '\n')
        file.len--;
    if (file.len <= mark.len)
        return ERR_SYNTAX;
    size_t signatures = file.len - mark.len;
    while (signatures > 0 &&
           memcmp(file.ptr + signatures, mark.ptr, mark.len) != 0)
        signatures--;
    if (signatures == 0)
        return ERR_SYNTAX;
    /* A checkpoint has no empty line: it begins after the one before. */
    size_t start = signatures;
    while (start > 0 && !(start >= 2 && file.ptr[start - 1] == '\n' &&
                            file.ptr[start - 2] == '\n'))
        start--;
    *note = str_make(file.ptr + start, file.len - start);
    return ERR_OK;
}

/* --- Commands
 * --------------------------------------------------------------------
 */

struct running {
    pid_t pid;
    int input, output; /* our ends */
    int64_t deadline_us;
    char words[OUTPUT_KEPT + 1];
    size_t word_count;
};

static enum err spawn(const char *command, uint64_t size,
    struct running *running, struct errinfo *info)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    char variable[64];
    char shell[] = "sh", option[] = "-c";
    char *line = strdup(command);
    char *arguments[] = {shell, option, line, NULL};
    size_t count = 0;
    while (environ && environ[count])
        count++;
    char **environment = calloc(count + 2, sizeof(*environment));
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    enum err err = ERR_OK;
    if (!line || !environment) {
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0 ||
        pipe2(out, O_CLOEXEC) != 0) {
        err = errinfo_errno(info, ERR_IO, "cannot make a pipe");
        goto out;
    }
    snprintf(
        variable, sizeof(variable), "BAILIFF_CHECKPOINT_SIZE=%" PRIu64, size);
    memcpy(environment, environ, count * sizeof(*environment));
    environment[count] = variable;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setflags(&attributes,
        POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawn_file_actions_adddup2(&actions, in[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDERR_FILENO);
    errno = posix_spawn(&running->pid, "/bin/sh", &actions, &attributes,
        arguments, environment);
    if (errno != 0)
        err = errinfo_errno(info, ERR_IO, "cannot start /bin/sh");
    if (err == ERR_OK) {
        running->input = in[0];
        running->output = out[0];
        in[0] = out[0] = -1;
    }
out:
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    for (int i = 0; i < 2; i++) {
        if (in[i] >= 0)
            close(in[i]);
        if (out[i] >= 0)
            close(out[i]);
    }
    free(environment);
    free(line);
    return err;
}

static int left_ms(const struct running *running)
{
    int64_t left = running->deadline_us - clock_monotonic();
    return left <= 0 ? 0 : (int)(left / 1000) + 1;
}

static void keep_words(struct running *running, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n && running->word_count < OUTPUT_KEPT; i++) {
        unsigned char c = (unsigned char)bytes[i];
        running->words[running->word_count++] =
            c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
}

/* Gives the note and takes the output until both are through. False: the time
 * is over. */
static bool converse(struct running *running, struct str note)
{
    char bytes[4096];
    for (;;) {
        struct pollfd fds[2] = {
            {running->output, POLLIN, 0}, {running->input, POLLOUT, 0}};
        int wait = left_ms(running);
        if (wait == 0)
            return false;
        int ready = poll(fds, running->input >= 0 ? 2 : 1, wait);
        if (ready < 0 && errno != EINTR)
            return false;
        if (ready <= 0)
            continue;
        if (running->input >= 0 && fds[1].revents) {
            ssize_t sent = send(running->input, note.ptr, note.len,
                MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0)
                note = str_make(note.ptr + sent, note.len - (size_t)sent);
            /* A command may well not care to read. */
            if (note.len == 0 || (sent < 0 && errno != EAGAIN)) {
                close(running->input);
                running->input = -1;
            }
        }
        if (fds[0].revents) {
            ssize_t got = read(running->output, bytes, sizeof(bytes));
            if (got <= 0)
                return true;
            keep_words(running, bytes, (size_t)got);
        }
    }
}

static bool reap(struct running *running, int *status)
{
    for (;;) {
        pid_t done = waitpid(running->pid, status, WNOHANG);
        if (done == running->pid)
            return true;
        if (done < 0 && errno != EINTR)
            return false;
        if (left_ms(running) == 0)
            return false;
        (void)poll(NULL, 0, 5);
    }
}

static enum err hand_to_command(
    const char *command, struct str note, uint64_t size, struct errinfo *info)
{
    struct running running = {.input = -1,
        .output = -1,
        .deadline_us = clock_monotonic() + COMMAND_TIMEOUT_US};
    int status = 0;
    enum err err = spawn(command, size, &running, info);
    if (err != ERR_OK)
        return err;
    bool ended = converse(&running, note) && reap(&running, &status);
    if (running.input >= 0)
        close(running.input);
    close(running.output);
    if (!ended) {
        kill(-running.pid, SIGKILL);
        waitpid(running.pid, &status, 0);
        return errinfo_set(info, ERR_TIMEOUT,
            "the command did not end within %d seconds and was killed",
            (int)(COMMAND_TIMEOUT_US / SECOND_US));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return ERR_OK;
    if (WIFEXITED(status))
        return errinfo_set(info, ERR_IO, "the command ended with status %d%s%s",
            WEXITSTATUS(status), running.word_count ? ": " : "", running.words);
    return errinfo_set(info, ERR_IO, "the command was ended by signal %d",
        WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

enum err anchor_hand(const struct anchor *anchor, struct str note,
    uint64_t size, struct errinfo *info)
{
    char target[ANCHOR_TARGET_MAX];
    if (anchor->target.len == 0 || anchor->target.len >= sizeof(target) ||
        memchr(anchor->target.ptr, '\0', anchor->target.len))
        return errinfo_set(info, ERR_INVALID,
            "anchor %.*s: its target is empty, too long or has a NUL",
            STR_ARG(anchor->name));
    memcpy(target, anchor->target.ptr, anchor->target.len);
    target[anchor->target.len] = '\0';
    enum err err = ERR_OK;
    switch (anchor->kind) {
    case ANCHOR_FILE:
        err = hand_to_file(target, note, size, info);
        break;
    case ANCHOR_COMMAND:
        err = hand_to_command(target, note, size, info);
        break;
    }
    if (err != ERR_OK)
        return errinfo_prefix(info, err, "anchor %.*s", STR_ARG(anchor->name));
    return ERR_OK;
}
