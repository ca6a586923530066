#include "holder.h"

#include <string.h>

static bool parse_verb(const char *word, enum verb *verb) {
    static const struct {
        const char *word;
        enum verb verb;
    } verbs[] = {{"hold", HOLD},       {"publish", PUBLISH}, {"ready", READY},
                 {"version", VERSION}, {"--version", VERSION}, {"help", HELP}, {"--help", HELP}, {"-h", HELP}};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(word, verbs[i].word) == 0) {
            *verb = verbs[i].verb;
            return true;
        }
    }
    return false;
}

/* Absolute, single slashes, no trailing one: what `ready` compares and what a link target is made of. */
static const char *parse_path(const char *text, struct path *path) {
    if (*text != '/') return "not an absolute path";
    path_cut(path, 0);
    while (*text) {
        char name[NAME_MAX + 1];
        text += strspn(text, "/");
        size_t length = strcspn(text, "/");
        if (length == 0) break;
        if (length > NAME_MAX) return "a name in this path is too long";
        memcpy(name, text, length);
        name[length] = '\0';
        text += length;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return "a path with . or .. in it";
        if (!path_append(path, "/") || !path_append(path, name)) return "this path is too long";
    }
    return path->length ? NULL : "the root folder cannot be used here";
}

static const char *parse_link(const char *text, enum link_kind *link) {
    *link = strcmp(text, "directory") == 0 ? DIRECTORY : FARM;
    return *link == DIRECTORY || strcmp(text, "farm") == 0 ? NULL : "neither farm nor directory";
}

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool contains(const struct path *outer, const struct path *inner) {
    char next = inner->text[outer->length];
    return starts_with(inner->text, outer->text) && (next == '\0' || next == '/');
}

static const char *check_combination(const struct options *options) {
    bool needs_to = options->verb == PUBLISH || options->verb == READY;
    if (needs_to && !options->to.length) return "needs --to DIR";
    if (!needs_to && options->to.length) return "takes no --to";
    if (needs_to && (contains(&options->model, &options->to) || contains(&options->to, &options->model)))
        return "--to and --model lie in each other; publish to another path";
    return NULL;
}

/* Sets one option from its name and value; the answer says what is wrong, if anything. */
static const char *set_option(struct options *options, const char *name, const char *value) {
    if (strcmp(name, "--model") == 0) return parse_path(value, &options->model);
    if (strcmp(name, "--to") == 0) return parse_path(value, &options->to);
    return parse_link(value, &options->link);
}

static const char *option_name(const char *argument) {
    static const char *const names[] = {"--model", "--to", "--link"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        if (starts_with(argument, names[i]) && (argument[length] == '\0' || argument[length] == '='))
            return names[i];
    }
    return NULL;
}

bool parse_options(int argc, char **argv, struct options *options, struct usage_error *error) {
    int at = 1;
    *options = (struct options){.verb = HOLD, .link = FARM};
    path_set(&options->model, "/models");
    error->argument = argc > 1 ? argv[1] : "";
    if (argc > 1 && parse_verb(argv[1], &options->verb)) at++;
    while (at < argc) {
        const char *argument = error->argument = argv[at++];
        const char *name = option_name(argument);
        if (!name || options->verb >= VERSION || (options->verb == HOLD && strcmp(name, "--link") == 0)) {
            error->why = "unknown argument";
            return false;
        }
        const char *equals = strchr(argument, '=');
        if (!equals && at == argc) {
            error->why = "needs a value";
            return false;
        }
        error->why = set_option(options, name, equals ? equals + 1 : argv[at++]);
        if (error->why) return false;
    }
    if (argc > 1) error->argument = argv[1];
    error->why = check_combination(options);
    return !error->why;
}
