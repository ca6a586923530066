#include "holder.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

bool path_set(struct path *path, const char *text) {
    path_cut(path, 0);
    return path_append(path, text);
}

bool path_append(struct path *path, const char *text) {
    size_t more = strlen(text);
    if (more >= sizeof path->text - path->length) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(path->text + path->length, text, more + 1);
    path->length += more;
    return true;
}

bool path_append_number(struct path *path, unsigned long number) {
    char digits[24];
    char *first = digits + sizeof digits;
    *--first = '\0';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return path_append(path, first);
}

bool path_push(struct path *path, const char *name) {
    size_t before = path->length;
    if ((before == 0 || path_append(path, "/")) && path_append(path, name)) return true;
    path_cut(path, before);
    return false;
}

void path_cut(struct path *path, size_t length) {
    path->length = length;
    path->text[length] = '\0';
}

bool path_read_link(int folder, const char *name, struct path *target) {
    ssize_t length = readlinkat(folder, name, target->text, sizeof target->text);
    if (length < 0) return false;
    if ((size_t)length == sizeof target->text) {
        errno = ENAMETOOLONG;
        return false;
    }
    path_cut(target, (size_t)length);
    return true;
}
