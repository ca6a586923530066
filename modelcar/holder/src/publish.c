#include "holder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNT "mount an emptyDir there, writable in this container"

/* What others will follow: /proc/PID/root<model>, checked as far as a process can check that on itself. */
static void build_target(const struct path *model, struct path *target) {
    static struct path self, mine;
    struct stat there, here;
    path_append_number(&mine, (unsigned long)getpid());
    if (!path_read_link(AT_FDCWD, "/proc/self", &self)) fail_errno("/proc/self", "this container needs /proc");
    if (strcmp(self.text, mine.text) != 0)
        fail("/proc", "belongs to another PID namespace", "publish from a container with a /proc of its own");
    if (prctl(PR_GET_DUMPABLE) != 1)
        fail("/proc/self/root", "closed to other processes because this one is not dumpable",
             "the program must be readable (mode 0755), without setuid and file capabilities");
    bool fits = path_set(target, "/proc/") && path_append(target, mine.text) && path_append(target, "/root") &&
                path_append(target, model->text);
    if (!fits) fail_errno(model->text, "shorten --model");
    if (stat(target->text, &there)) fail_errno(target->text, "this process cannot read its own /proc/PID/root");
    if (stat(model->text, &here) || there.st_ino != here.st_ino || there.st_dev != here.st_dev)
        fail(target->text, "is not this container's model", "this container needs a /proc of its own");
}

/* As Kubernetes' AtomicWriter: a link under another name, then one rename(2). Readers see the old or the new one. */
void replace_link(int folder, const char *name, const char *temporary, const struct path *target,
                  const struct path *shown_as) {
    static struct path left;
    struct stat present;
    if (fstatat(folder, name, &present, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(present.st_mode))
        fail(shown_as->text, "exists and is no link", "mount the emptyDir one folder up, or publish with --link farm");
    if (path_read_link(folder, temporary, &left)) unlinkat(folder, temporary, 0); /* a crash left it */
    if (symlinkat(target->text, folder, temporary)) fail_errno(shown_as->text, MOUNT);
    if (renameat(folder, temporary, folder, name)) fail_errno(shown_as->text, MOUNT);
}

/* A container that always has the same PID would make a half-published farm valid: take the old link down first. */
static void take_down_own(int folder, const char *name, const struct path *target) {
    static struct path present;
    if (path_read_link(folder, name, &present) && strcmp(present.text, target->text) == 0) unlinkat(folder, name, 0);
}

static void publish_farm(const struct options *options, int model, const struct path *target) {
    static struct path shown_as;
    int farm = open(options->to.text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (farm < 0) fail_errno(options->to.text, MOUNT);
    take_down_own(farm, INDIRECTION, target);
    farm_fill(farm, model, options);
    path_set(&shown_as, options->to.text);
    path_push(&shown_as, INDIRECTION);
    replace_link(farm, INDIRECTION, INDIRECTION_NEW, target, &shown_as);
    farm_sweep(farm, model, options);
    close(farm);
}

static void publish_directory(const struct options *options, const struct path *target) {
    static struct path parent, temporary;
    size_t cut = (size_t)(strrchr(options->to.text, '/') - options->to.text);
    const char *name = options->to.text + cut + 1;
    path_set(&parent, options->to.text);
    path_cut(&parent, cut);
    if (cut == 0) path_set(&parent, "/");
    int folder = open(parent.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) fail_errno(parent.text, MOUNT);
    path_set(&temporary, ".");
    if (!path_append(&temporary, name) || !path_append(&temporary, ".new"))
        fail_errno(options->to.text, "shorten --to");
    replace_link(folder, name, temporary.text, target, &options->to);
    close(folder);
}

void publish(const struct options *options) {
    static struct path target;
    umask(022);
    int model = open_model(&options->model);
    build_target(&options->model, &target);
    if (options->link == FARM) publish_farm(options, model, &target);
    else publish_directory(options, &target);
    close(model);
    say(STDOUT_FILENO, options->to.text, "published", target.text);
}
