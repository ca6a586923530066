#include "holder.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: holder [hold] [--model DIR]\n"
    "       holder publish --to DIR [--model DIR] [--link farm|directory]\n"
    "       holder ready   --to DIR [--model DIR] [--link farm|directory]\n"
    "       holder version\n"
    "The model is /models unless --model says otherwise. Paths are absolute.\n";

static const char version[] =
    "modelcar-holder " CONTRACT "\n"
    "Apache-2.0; contains musl libc, Copyright (c) 2005-2020 Rich Felker, et al., MIT\n";

static void leave(int signal) {
    (void)signal;
    _exit(0);
}

/* As PID 1 a signal without a handler is ignored, and orphans become ours: SIGCHLD ignored, the kernel reaps them. */
static void take_signals(void) {
    struct sigaction on_stop = {.sa_handler = leave}, ignore = {.sa_handler = SIG_IGN};
    sigset_t none;
    sigaction(SIGTERM, &on_stop, NULL);
    sigaction(SIGINT, &on_stop, NULL);
    sigaction(SIGCHLD, &ignore, NULL);
    sigaction(SIGPIPE, &ignore, NULL); /* a log that nobody reads must not end us */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void hold(void) {
    for (;;) pause();
}

static int print(int fd, const char *text) {
    return write(fd, text, strlen(text)) < 0;
}

int main(int argc, char **argv) {
    static struct options options;
    struct usage_error error;
    take_signals();
    if (!parse_options(argc, argv, &options, &error)) {
        say(STDERR_FILENO, error.argument, error.why, NULL);
        print(STDERR_FILENO, usage);
        return 2;
    }
    switch (options.verb) {
    case VERSION:
        return print(STDOUT_FILENO, version);
    case HELP:
        return print(STDOUT_FILENO, usage);
    case READY:
        check_ready(&options);
        return 0;
    case PUBLISH:
        publish(&options);
        hold();
    default:
        close(open_model(&options.model));
        hold();
    }
}
