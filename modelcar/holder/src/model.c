#include "holder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int first_file_in(DIR *entries, struct path *at) {
    struct dirent *entry;
    while ((errno = 0, entry = readdir(entries))) {
        struct stat stat;
        size_t before = at->length;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (fstatat(dirfd(entries), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW)) return -1;
        if (!S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode)) continue;
        if (!path_push(at, entry->d_name)) return -1;
        if (S_ISREG(stat.st_mode)) return 1;
        int inner = openat(dirfd(entries), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int found = inner < 0 ? -1 : find_first_file(inner, at);
        if (found) return found;
        path_cut(at, before);
    }
    return errno ? -1 : 0;
}

int find_first_file(int folder, struct path *at) {
    DIR *entries = fdopendir(folder);
    if (!entries) return -1;
    int found = first_file_in(entries, at);
    int reason = errno;
    closedir(entries);
    errno = reason;
    return found;
}

/* Readers come through /proc/PID/root, where an absolute link leads into *their* root: only a real path will do. */
int open_model(const struct path *model) {
    static char real[PATH_MAX];
    static struct path first;
    if (!realpath(model->text, real))
        fail_errno(model->text, "build the image with the model in this folder (or --model DIR)");
    if (strcmp(real, model->text) != 0)
        fail(model->text, "reached through a link: the real folder for --model is", real);
    int folder = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) fail_errno(real, "the model must be a folder that this user may read");
    int found = find_first_file(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), &first);
    if (found < 0) fail_errno(real, READABLE);
    if (!found) fail(real, "holds no file", "build the image with the model in this folder (or --model DIR)");
    return folder;
}
