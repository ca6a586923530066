#include "holder.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* One line is one write: container logs interleave otherwise. */
struct line {
    size_t length;
    char text[2 * PATH_MAX];
};

static void add(struct line *line, const char *text) {
    while (*text && line->length < sizeof line->text - 1) { /* room for the newline stays */
        unsigned char c = (unsigned char)*text++;
        line->text[line->length++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
}

void say(int fd, const char *what, const char *why, const char *advice) {
    struct line line = {0};
    add(&line, "holder: ");
    add(&line, what);
    add(&line, ": ");
    add(&line, why);
    if (advice) {
        add(&line, ": ");
        add(&line, advice);
    }
    line.text[line.length++] = '\n';
    if (write(fd, line.text, line.length) < 0) return; /* nobody listens: nothing to be done about it */
}

void fail(const char *what, const char *why, const char *advice) {
    say(STDERR_FILENO, what, why, advice);
    _exit(1);
}

void fail_errno(const char *what, const char *advice) {
    fail(what, strerror(errno), advice);
}
