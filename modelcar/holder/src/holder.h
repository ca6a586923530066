/* The holder: a model image's only program. It makes the image's model folder visible to other containers of the pod
 * through /proc/PID/root, and stays. The contract that others rely on is docs/formats/holder.md.
 *
 * It allocates nothing that it would have to give back: every failure ends the process through `fail`. */
#ifndef HOLDER_H
#define HOLDER_H

#define _GNU_SOURCE
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define CONTRACT "1"            /* of `holder version`; raised when the contract changes */
#define INDIRECTION ".modelcar" /* the one link of a farm that a restart moves */
#define INDIRECTION_NEW ".modelcar.new"

#define READABLE "the model's folders must be readable by this user, their paths shorter than 4096 bytes"

/* path.c: paths that know when they get too long (errno is ENAMETOOLONG then) */
struct path {
    size_t length;
    char text[PATH_MAX];
};
bool path_set(struct path *path, const char *text);
bool path_append(struct path *path, const char *text);
bool path_append_number(struct path *path, unsigned long number);
bool path_push(struct path *path, const char *name); /* with a slash between, unless empty */
void path_cut(struct path *path, size_t length);
bool path_read_link(int folder, const char *name, struct path *target);

/* say.c */
void say(int fd, const char *what, const char *why, const char *advice);
_Noreturn void fail(const char *what, const char *why, const char *advice);
_Noreturn void fail_errno(const char *what, const char *advice);

/* options.c */
enum verb { HOLD, PUBLISH, READY, VERSION, HELP };
enum link_kind { FARM, DIRECTORY };
struct options {
    enum verb verb;
    enum link_kind link;
    struct path model;
    struct path to; /* empty unless given */
};
struct usage_error {
    const char *argument;
    const char *why;
};
bool parse_options(int argc, char **argv, struct options *options, struct usage_error *error);

/* model.c */
int open_model(const struct path *model); /* of a folder that holds at least one file, or it fails */
int find_first_file(int folder, struct path *at); /* 1 found, 0 none, -1 errno; takes over `folder` */

/* publish.c */
void publish(const struct options *options);
void replace_link(int folder, const char *name, const char *temporary, const struct path *target,
                  const struct path *shown_as);

/* farm.c: real folders and file links, all of them through INDIRECTION */
void farm_fill(int farm, int model, const struct options *options);
void farm_sweep(int farm, int model, const struct options *options);

/* ready.c */
void check_ready(const struct options *options);

#endif
