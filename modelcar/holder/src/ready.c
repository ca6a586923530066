/* `holder ready` runs beside the holder, as a probe or with the server's user. It trusts a link only when the process
 * that it names is a holder that publishes this very folder: not a dead one, nor one that got its PID later. */
#include "holder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define RESTARTING "wait for the holder to start again (readers in other containers need shareProcessNamespace)"
#define SAME_USER "run the holder and its readers with the same UID and GID, the holder without capabilities"

/* Splits /proc/PID/root<model> and keeps the PID; false when it is anything else. */
static bool parse_target(const struct path *target, const struct path *model, struct path *pid) {
    static const char before[] = "/proc/", after[] = "/root";
    if (strncmp(target->text, before, sizeof before - 1) != 0) return false;
    const char *digits = target->text + sizeof before - 1;
    size_t length = strspn(digits, "0123456789");
    const char *rest = digits + length;
    path_set(pid, digits);
    path_cut(pid, length);
    return length && strncmp(rest, after, sizeof after - 1) == 0 && strcmp(rest + sizeof after - 1, model->text) == 0;
}

/* The arguments of process `pid`, split; 0 when it is gone or has none. */
static int read_arguments(const char *pid, char **argv, int most) {
    static char bytes[4 * PATH_MAX];
    static struct path file;
    path_set(&file, "/proc/");
    path_append(&file, pid);
    path_append(&file, "/cmdline");
    int fd = open(file.text, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    for (ssize_t more; fd >= 0 && (more = read(fd, bytes + length, sizeof bytes - 1 - length)) > 0;)
        length += (size_t)more;
    if (fd >= 0) close(fd);
    int argc = 0;
    for (char *next = bytes; next < bytes + length && argc < most; next += strlen(next) + 1) argv[argc++] = next;
    return argc;
}

/* Does `pid` publish what we look for? Emulators put themselves before the command, so the verb is searched for. */
static bool is_our_holder(const char *pid, const struct options *wanted) {
    static struct options theirs;
    struct usage_error ignored;
    char *argv[32];
    int argc = read_arguments(pid, argv, 32);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "publish") != 0) continue;
        if (parse_options(argc - i + 1, argv + i - 1, &theirs, &ignored) && theirs.link == wanted->link &&
            strcmp(theirs.to.text, wanted->to.text) == 0 && strcmp(theirs.model.text, wanted->model.text) == 0)
            return true;
    }
    return false;
}

void check_ready(const struct options *options) {
    static struct path link, target, pid, first, file;
    const char *to = options->to.text;
    path_set(&link, to);
    if (options->link == FARM && !path_push(&link, INDIRECTION)) fail_errno(to, "shorten --to");
    if (!path_read_link(AT_FDCWD, link.text, &target)) {
        if (errno == ENOENT) fail(to, "nothing is published yet", "wait for the holder, or see its log");
        fail_errno(link.text, "this must be the link that the holder publishes");
    }
    if (!parse_target(&target, &options->model, &pid))
        fail(link.text, "does not name a holder and this model, but", target.text);
    if (!is_our_holder(pid.text, options))
        fail(target.text, "names no running holder of this folder", RESTARTING);
    int model = open(target.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (model < 0) fail_errno(target.text, errno == EACCES ? SAME_USER : RESTARTING);
    int found = find_first_file(model, &first);
    if (found < 0) fail_errno(target.text, READABLE);
    if (!found) fail(target.text, "holds no file", "build the image with the model in this folder");
    path_set(&file, to);
    if (!path_push(&file, first.text)) fail_errno(first.text, "shorten --to");
    int fd = open(file.text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail_errno(file.text, "every file of the model must be readable by this user");
    close(fd);
}
