// Starts a program in a narrower world: confined [RULE]... -- PROGRAM [ARGUMENT]...
//
//   deny=SYSCALL:ERRNO       a filter answers ERRNO to a system call (setup, enter or register, of io_uring)
//   deny=register.OP:ERRNO   the same to one operation of io_uring_register, by its number
//   memlock=BYTES nofile=N   limits, soft and hard
//   uid=N                    that user and group, and no other groups (as root)
//   no=stdin no=stdout       closed; no=reader: standard output is a pipe that nobody reads
//   hide=FOLDER              an empty, read-only folder in its place (as root)
//
// Exit code 125: the rules cannot be applied here.
#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static _Noreturn void give_up(const char *rule) {
    fprintf(stderr, "confined: %s: %s\n", rule, strerror(errno));
    exit(125);
}

static int number_of(const char *name) {
    static const struct {
        const char *name;
        int number;
    } names[] = {{"setup", 425},     {"enter", 426},     {"register", 427},       {"EPERM", EPERM},
                 {"ENOSYS", ENOSYS}, {"EINVAL", EINVAL}, {"EOPNOTSUPP", EOPNOTSUPP}, {"ENOMEM", ENOMEM}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, name) == 0) {
            return names[i].number;
        }
    }
    errno = EINVAL;
    give_up(name);
}

static void install(struct sock_filter *code, unsigned short len) {
    struct sock_fprog program = {len, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        give_up("deny");
    }
}

static void deny(char *rule) {
    char *error = strchr(rule, ':');
    if (!error) {
        errno = EINVAL;
        give_up(rule);
    }
    *error++ = 0;
    char *op = strchr(rule, '.');
    if (op) {
        *op++ = 0;
    }
    uint32_t answer = SECCOMP_RET_ERRNO | (uint32_t)number_of(error);
    uint32_t wanted = op ? (uint32_t)atoi(op) : 0;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number_of(rule), 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])), // the low half
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wanted, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    if (!op) {
        code[3] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, 0); // whatever the argument
    }
    install(code, sizeof(code) / sizeof(code[0]));
}

static void limit(const char *rule, __rlimit_resource_t resource, const char *value) {
    struct rlimit both = {strtoull(value, NULL, 10), strtoull(value, NULL, 10)};
    if (setrlimit(resource, &both) != 0) {
        give_up(rule);
    }
}

static void become(const char *rule, const char *value) {
    unsigned id = (unsigned)atoi(value);
    if (setgroups(0, NULL) != 0 || setgid(id) != 0 || setuid(id) != 0) {
        give_up(rule);
    }
}

static void without(const char *what) {
    int pair[2];
    if (strcmp(what, "stdin") == 0) {
        close(STDIN_FILENO);
    } else if (strcmp(what, "stdout") == 0) {
        close(STDOUT_FILENO);
    } else if (strcmp(what, "reader") == 0 && pipe(pair) == 0) {
        dup2(pair[1], STDOUT_FILENO);
        close(pair[0]);
        close(pair[1]);
    } else {
        errno = EINVAL;
        give_up(what);
    }
}

static void hide(const char *rule, const char *folder) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", folder, "tmpfs", MS_RDONLY, NULL) != 0) {
        give_up(rule);
    }
}

static void apply(char *rule) {
    char *value = strchr(rule, '=');
    if (!value) {
        errno = EINVAL;
        give_up(rule);
    }
    *value++ = 0;
    if (strcmp(rule, "deny") == 0) {
        deny(value);
    } else if (strcmp(rule, "memlock") == 0) {
        limit(rule, RLIMIT_MEMLOCK, value);
    } else if (strcmp(rule, "nofile") == 0) {
        limit(rule, RLIMIT_NOFILE, value);
    } else if (strcmp(rule, "uid") == 0) {
        become(rule, value);
    } else if (strcmp(rule, "no") == 0) {
        without(value);
    } else if (strcmp(rule, "hide") == 0) {
        hide(rule, value);
    } else {
        errno = EINVAL;
        give_up(rule);
    }
}

int main(int argc, char **argv) {
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        apply(argv[i]);
    }
    if (i + 1 < argc) {
        execvp(argv[i + 1], argv + i + 1);
    }
    give_up("exec");
}
