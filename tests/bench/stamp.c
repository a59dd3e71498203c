/*
 * stamp LOG PATH: append "<nanoseconds since 1970> <name>" to LOG, first thing after the start.
 *
 * The line is one write to an O_APPEND file, so that commands running side by side do not mix theirs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (argc != 3)
        return 2;
    const char *slash = strrchr(argv[2], '/');
    char line[512];
    int length = snprintf(line, sizeof line, "%lld%09ld %s\n", (long long)now.tv_sec, now.tv_nsec,
                          slash ? slash + 1 : argv[2]);
    int log = open(argv[1], O_WRONLY | O_APPEND | O_CLOEXEC);
    if (log < 0 || length >= (int)sizeof line || write(log, line, length) != length)
        return 1;
    return 0;
}
