/* THE REFERENCE IN C: what supervision costs at least. Starts what `argv[1]` lists (a name and a script a line), restarts
 * at once what dies, passes lines on with a prefix, stops all on SIGTERM. No order, no probes, no limits, no survivors.
 * cc -O2 -o reference reference.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 1024, CHUNK = 65536, LINE_MAX_BYTES = 65536 };

struct child {
    char name[64], script[512];
    pid_t pid;
    int pipe;
    size_t held;
    char *line;
};

static struct child children[CHILDREN_MAX];
static int count, stopping, wake[2];

static void on_signal(int number) {
    char byte = (char)number;
    if (write(wake[1], &byte, 1) < 0) return;
}

static void start(struct child *child) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) exit(1);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    child->pid = vfork();
    if (child->pid == 0) {
        setsid();
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execl("/bin/sh", "sh", child->script, (char *)0);
        _exit(127);
    }
    close(ends[1]);
    if (child->pipe >= 0) close(child->pipe);
    child->pipe = ends[0];
}

static void put(const char *bytes, size_t size) {
    while (size) {
        ssize_t written = write(1, bytes, size);
        if (written < 0 && errno != EINTR) exit(1);
        if (written > 0) bytes += written, size -= (size_t)written;
    }
}

/* Whole lines with a prefix, in one write; what is unfinished waits in `line`. */
static void pass_on(struct child *child) {
    static char chunk[CHUNK], out[(CHUNK + LINE_MAX_BYTES) * 2];
    size_t used = 0, prefix = strlen(child->name);
    ssize_t got = read(child->pipe, chunk, sizeof chunk);
    if (got == 0) {
        close(child->pipe);
        child->pipe = -1;
    }
    for (char *at = chunk, *end = chunk + (got > 0 ? got : 0); at < end;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((newline ? newline + 1 : end) - at);
        if (!newline) {
            if (child->held + size > LINE_MAX_BYTES) child->held = 0;
            memcpy(child->line + child->held, at, size);
            child->held += size;
            break;
        }
        if (used + prefix + 3 + child->held + size > sizeof out) put(out, used), used = 0;
        memcpy(out + used, child->name, prefix), used += prefix;
        memcpy(out + used, " | ", 3), used += 3;
        memcpy(out + used, child->line, child->held), used += child->held;
        child->held = 0;
        memcpy(out + used, at, size), used += size;
        at += size;
    }
    put(out, used);
}

static int reap(void) {
    int alive = 0;
    for (pid_t pid; (pid = waitpid(-1, 0, WNOHANG)) > 0;)
        for (int i = 0; i < count; i++)
            if (children[i].pid == pid) {
                children[i].pid = 0;
                if (!stopping) start(&children[i]);
            }
    for (int i = 0; i < count; i++) alive += children[i].pid > 0;
    return alive;
}

int main(int argc, char **argv) {
    FILE *list = argc == 2 ? fopen(argv[1], "r") : 0;
    if (!list || pipe2(wake, O_CLOEXEC | O_NONBLOCK)) return 2;
    while (count < CHILDREN_MAX && fscanf(list, "%63s %511s", children[count].name, children[count].script) == 2) {
        children[count].pipe = -1;
        children[count++].line = malloc(LINE_MAX_BYTES);
    }
    fclose(list);
    signal(SIGTERM, on_signal);
    signal(SIGCHLD, on_signal);
    for (int i = 0; i < count; i++) start(&children[i]);
    for (;;) {
        static struct pollfd polled[CHILDREN_MAX + 1];
        polled[0] = (struct pollfd){.fd = wake[0], .events = POLLIN};
        for (int i = 0; i < count; i++) polled[i + 1] = (struct pollfd){.fd = children[i].pipe, .events = POLLIN};
        if (poll(polled, (nfds_t)count + 1, -1) < 0) continue;
        for (int i = 0; i < count; i++)
            if (polled[i + 1].revents) pass_on(&children[i]);
        if (!polled[0].revents) continue;
        char numbers[256];
        ssize_t got = read(wake[0], numbers, sizeof numbers);
        for (ssize_t i = 0; i < got; i++)
            if (numbers[i] == SIGTERM) {
                stopping = 1;
                for (int at = 0; at < count; at++)
                    if (children[at].pid > 0) kill(children[at].pid, SIGTERM);
            }
        if (!reap() && stopping) return 0;
    }
}
