/* A farm looks like the model: real folders, and for every file a link through INDIRECTION (`sub/x` ->
 * `../.modelcar/sub/x`). A link that goes through it is the holder's; all else in the farm is somebody's and stays. */
#include "holder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define SHORTEN "shorten the names of the model's folders"
#define WRITABLE "mount an emptyDir, writable in this container, at the folder of --to"

static const struct options *options;
static struct path at; /* where we are, below both the model and the farm */
static unsigned depth; /* of the folder we are in */

static _Noreturn void fail_here(const struct path *root, const char *why, const char *advice) {
    static struct path whole;
    path_set(&whole, root->text);
    fail(path_push(&whole, at.text) ? whole.text : at.text, why, advice);
}

static DIR *entries_of(int folder, const struct path *root) {
    int again = openat(folder, ".", FOLDER);
    DIR *entries = again < 0 ? NULL : fdopendir(again);
    if (!entries) fail_here(root, strerror(errno), "this folder must be readable by this user");
    return entries;
}

static struct dirent *next_entry(DIR *entries, const struct path *root) {
    struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(entries);
        if (!entry && errno) fail_here(root, strerror(errno), NULL);
    } while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    return entry;
}

/* Is it the holder's own link? `sub/x` is when it starts with `../.modelcar/`. */
static bool is_ours(int folder, const char *name) {
    static struct path target;
    if (!path_read_link(folder, name, &target)) return false;
    const char *rest = target.text;
    for (unsigned i = 0; i < depth; i++) {
        if (strncmp(rest, "../", 3) != 0) return false;
        rest += 3;
    }
    return strncmp(rest, INDIRECTION "/", sizeof INDIRECTION) == 0;
}

/* Removes the holder's links that `model` (-1: nothing) has no file for, and the folders that this empties. */
static unsigned sweep(int farm, int model) {
    unsigned removed = 0;
    DIR *entries = entries_of(farm, &options->to);
    for (struct dirent *entry; (entry = next_entry(entries, &options->to));) {
        const char *name = entry->d_name;
        struct stat here, there;
        if (fstatat(farm, name, &here, AT_SYMLINK_NOFOLLOW)) continue;
        if (S_ISLNK(here.st_mode) && is_ours(farm, name)) {
            bool wanted =
                model >= 0 && fstatat(model, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(there.st_mode);
            if (!wanted && unlinkat(farm, name, 0) == 0) removed++;
        } else if (S_ISDIR(here.st_mode)) {
            int inner = openat(farm, name, FOLDER);
            if (inner < 0) continue; /* somebody else's */
            int inner_model = model < 0 ? -1 : openat(model, name, FOLDER);
            depth++;
            unsigned inside = sweep(inner, inner_model);
            depth--;
            close(inner);
            if (inner_model >= 0) close(inner_model);
            else if (inside && unlinkat(farm, name, AT_REMOVEDIR) == 0) removed++;
        }
    }
    closedir(entries);
    return removed;
}

/* Makes room where an older model had a file for a folder or the reverse; what is not the holder's is in the way. */
static void clear(int farm, const char *name) {
    int inner = openat(farm, name, FOLDER);
    if (inner >= 0) {
        depth++;
        sweep(inner, -1);
        depth--;
        close(inner);
        if (unlinkat(farm, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return;
    } else if (is_ours(farm, name)) {
        if (unlinkat(farm, name, 0) == 0) return;
        fail_here(&options->to, strerror(errno), WRITABLE);
    }
    fail_here(&options->to, "is in the way and not the holder's", "publish to an empty folder");
}

static int make_folder(int farm, const char *name) {
    for (int attempt = 0; attempt < 2; attempt++) {
        if (mkdirat(farm, name, 0755) && errno != EEXIST) break;
        int inner = openat(farm, name, FOLDER);
        if (inner >= 0) return inner;
        clear(farm, name);
    }
    fail_here(&options->to, strerror(errno), WRITABLE);
}

static void make_link(int farm, const char *name, const char *file) {
    static struct path target, present;
    bool fits = path_set(&target, "");
    for (unsigned i = 0; i < depth; i++) fits = fits && path_append(&target, "../");
    if (!(fits && path_append(&target, INDIRECTION "/") && path_append(&target, file)))
        fail_here(&options->model, strerror(errno), SHORTEN);
    if (path_read_link(farm, name, &present) && strcmp(present.text, target.text) == 0) return;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (symlinkat(target.text, farm, name) == 0) return;
        if (errno != EEXIST) break;
        clear(farm, name);
    }
    fail_here(&options->to, strerror(errno), WRITABLE);
}

/* The path, below the model, of the file that a link of the model means. */
static const char *resolve(void) {
    static struct path link;
    static char real[PATH_MAX];
    struct stat stat;
    size_t root = options->model.length;
    bool inside = path_set(&link, options->model.text) && path_push(&link, at.text) && realpath(link.text, real) &&
                  strncmp(real, options->model.text, root) == 0 && real[root] == '/' && lstat(real, &stat) == 0 &&
                  S_ISREG(stat.st_mode);
    if (!inside) fail_here(&options->model, "a link to no file of the model", "package the model with modelcar build");
    return real + root + 1;
}

static void fill(int farm, int model) {
    DIR *entries = entries_of(model, &options->model);
    for (struct dirent *entry; (entry = next_entry(entries, &options->model));) {
        const char *name = entry->d_name;
        struct stat stat;
        size_t before = at.length;
        if (!path_push(&at, name)) fail_here(&options->model, strerror(errno), SHORTEN);
        if (strcmp(at.text, INDIRECTION) == 0 || strcmp(at.text, INDIRECTION_NEW) == 0)
            fail_here(&options->model, "a name that the holder uses itself", "publish with --link directory");
        if (fstatat(model, name, &stat, AT_SYMLINK_NOFOLLOW)) fail_here(&options->model, strerror(errno), NULL);
        if (S_ISDIR(stat.st_mode)) {
            int inner = openat(model, name, FOLDER);
            if (inner < 0) fail_here(&options->model, strerror(errno), "this folder must be readable by this user");
            int inner_farm = make_folder(farm, name);
            depth++;
            fill(inner_farm, inner);
            depth--;
            close(inner);
            close(inner_farm);
        } else if (S_ISREG(stat.st_mode)) {
            make_link(farm, name, at.text);
        } else if (S_ISLNK(stat.st_mode)) {
            make_link(farm, name, resolve());
        } else {
            fail_here(&options->model, "neither a file nor a folder", "package the model with modelcar build");
        }
        path_cut(&at, before);
    }
    closedir(entries);
}

void farm_fill(int farm, int model, const struct options *given) {
    options = given;
    fill(farm, model);
}

void farm_sweep(int farm, int model, const struct options *given) {
    options = given;
    sweep(farm, model);
}
