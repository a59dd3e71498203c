/*
 * limit DIR [COMMAND]: what this machine can do at most.
 *
 * Does with every file in DIR/handoff the same file operations as the agent, one thread, no database:
 * claim (rename into a slot), open, read, close, run COMMAND on it (IN_FLIGHT at a time; left out without
 * COMMAND), status file (temporary + rename), filing (rename into processed). Prints one line:
 * "<files> <seconds>".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { IN_FLIGHT = 4, SLOTS = 64, PATH_BYTES = 512, BODY_BYTES = 65536 };

extern char **environ;

struct running {
    pid_t pid;
    const char *name;
    int slot;
};

static struct running running[IN_FLIGHT];
static int in_flight;
static posix_spawn_file_actions_t actions;
static posix_spawnattr_t attributes;

static void die(const char *doing, const char *what) {
    fprintf(stderr, "limit: %s %s: %s\n", doing, what, strerror(errno));
    exit(1);
}

static void move(const char *from, const char *to) {
    if (rename(from, to) != 0)
        die("rename", from);
}

static int by_name(const void *left, const void *right) {
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Names in the order in which they were made: the agent goes by ctime, and so touches inodes in the same order. */
static char **list_names(const char *directory, size_t *count) {
    DIR *stream = opendir(directory);
    if (!stream)
        die("open", directory);
    char **names = NULL;
    size_t room = 0;
    *count = 0;
    for (struct dirent *entry; (entry = readdir(stream));) {
        if (entry->d_name[0] == '.')
            continue;
        if (*count == room) {
            room = room ? room * 2 : 1024;
            names = realloc(names, room * sizeof *names);
        }
        names[(*count)++] = strdup(entry->d_name);
    }
    closedir(stream);
    qsort(names, *count, sizeof *names, by_name);
    return names;
}

static void make_directories(void) {
    char path[PATH_BYTES];
    mkdir("work", 0777);
    mkdir("processed", 0777);
    mkdir("status", 0777);
    for (int slot = 0; slot < SLOTS; slot++) {
        snprintf(path, sizeof path, "work/%d", slot);
        if (mkdir(path, 0777) != 0)
            die("mkdir", path);
    }
}

static void prepare_spawning(void) {
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
}

static void claim_and_read(const char *name, int slot) {
    static char body[BODY_BYTES];
    char from[PATH_BYTES], to[PATH_BYTES];
    snprintf(from, sizeof from, "handoff/%s", name);
    snprintf(to, sizeof to, "work/%d/%s", slot, name);
    move(from, to);
    int file = open(to, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        die("open", to);
    while (read(file, body, sizeof body) > 0) {
    }
    close(file);
}

static void write_status(const char *name) {
    static const char *format =
        "{\"intent_file\": \"%s\", \"status\": \"success\", \"message\": \"processed in 2ms\",\n"
        " \"timestamp\": \"2026-11-23T07:43:18Z\", \"processed_by\": \"agent\", \"mode\": \"direct\",\n"
        " \"porch_path\": \"noop\", \"id\": \"0123456789-000001\", \"outcome\": \"processed\", \"kind\": null,\n"
        " \"attempts\": 1, \"exit_code\": 0, \"duration_seconds\": 0.002,\n"
        " \"sha256\": \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\n"
        " \"filed_as\": \"%s\"}\n";
    char temporary[PATH_BYTES], final[PATH_BYTES], text[2 * PATH_BYTES];
    snprintf(temporary, sizeof temporary, "status/.%s.tmp", name);
    snprintf(final, sizeof final, "status/%s-20261123-074318.status", name);
    int length = snprintf(text, sizeof text, format, name, name);
    int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 || write(file, text, length) != length)
        die("write", temporary);
    close(file);
    move(temporary, final);
}

static void file_away(const char *name, int slot) {
    char from[PATH_BYTES], to[PATH_BYTES];
    write_status(name);
    snprintf(from, sizeof from, "work/%d/%s", slot, name);
    snprintf(to, sizeof to, "processed/%s", name);
    move(from, to);
}

static void start(const char *command, const char *name, int slot) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "work/%d/%s", slot, name);
    char *const arguments[] = {(char *)command, path, NULL};
    struct running *entry = &running[in_flight++];
    entry->name = name;
    entry->slot = slot;
    errno = posix_spawn(&entry->pid, command, &actions, &attributes, arguments, environ);
    if (errno)
        die("start", command);
}

static void reap_one(const char *command) {
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    if (pid < 0 || status != 0)
        die("run", command);
    for (int i = 0; i < in_flight; i++) {
        if (running[i].pid != pid)
            continue;
        file_away(running[i].name, running[i].slot);
        running[i] = running[--in_flight];
        return;
    }
}

static double now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return moment.tv_sec + moment.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: limit DIR [COMMAND]\n");
        return 2;
    }
    const char *command = argc == 3 ? argv[2] : NULL;
    if (chdir(argv[1]) != 0)
        die("enter", argv[1]);
    make_directories();
    prepare_spawning();
    size_t count;
    char **names = list_names("handoff", &count);
    double begun = now();
    for (size_t i = 0; i < count; i++) {
        int slot = i % SLOTS;
        claim_and_read(names[i], slot);
        if (!command) {
            file_away(names[i], slot);
            continue;
        }
        if (in_flight == IN_FLIGHT)
            reap_one(command);
        start(command, names[i], slot);
    }
    while (in_flight)
        reap_one(command);
    printf("%zu %.6f\n", count, now() - begun);
    return 0;
}
