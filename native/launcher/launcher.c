// The first bytes of dist/sluice. Behind them lie Deno's executable, a small script (boot) and an archive, written by tools/pack.ts.
//
// Deno runs from where it lies: its segments are mapped from this file as the kernel would map them, so nothing of its 100 MB is copied, and all
// processes share one page cache. It runs twice, under this one process id at the end:
//
//   1. in a child, with the boot script on its stdin: unpacks the archive into a private folder, and answers with arguments and environment
//   2. in this process, with those: the gateway
//
// With SLUICE_AS_DENO set, this file is Deno with the arguments as typed.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

extern char **environ;

#define MAGIC "sluice pack 1\n\0"    // 16 bytes with the literal's own zero
#define NO_DENO_DIR "/dev/null/none" // as tools/boot.ts has it
#define PHDRS_MAX 32
#define PAGE 4096u
#define ANSWER_BYTES_MAX (1u << 20)
#define ANSWER_WORDS_MAX 4096

// The last bytes of the file; tools/pack.ts writes the same, little-endian.
struct trailer {
    char magic[16];
    uint64_t deno_off, deno_len;
    uint64_t boot_off, boot_len;
    uint64_t libgcc_off, libgcc_len;
    uint64_t archive_off, archive_len;
    uint64_t file_len;
};

_Static_assert(sizeof(MAGIC) == 16, "the magic fills its field");
_Static_assert(sizeof(struct trailer) == 88, "as tools/pack.ts has it");

static struct {
    int fd;
    const char *path;
    struct trailer at;
} self;

static _Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

static _Noreturn void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("sluice: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void *need(size_t count, size_t size) {
    void *bytes = calloc(count, size);
    if (!bytes) {
        die("no memory");
    }
    return bytes;
}

static void read_all(int fd, void *to, size_t len, uint64_t off, const char *name) {
    for (size_t done = 0; done < len;) {
        ssize_t got = pread(fd, (char *)to + done, len - done, (off_t)(off + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            die("cannot read %s: %s", name, got < 0 ? strerror(errno) : "it ends too early");
        }
        done += (size_t)got;
    }
}

static void write_all(int fd, const char *bytes, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t put = write(fd, bytes + done, len - done);
        if (put < 0 && errno != EINTR) {
            die("cannot hand over to Deno: %s", strerror(errno));
        }
        done += put > 0 ? (size_t)put : 0;
    }
}

static int is_inside(uint64_t off, uint64_t len, uint64_t end) {
    return off <= end && len <= end - off;
}

static void open_self(void) {
    static char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    self.path = len > 0 ? path : (const char *)getauxval(AT_EXECFN);
    self.fd = open(len > 0 ? "/proc/self/exe" : self.path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (self.fd < 0 || fstat(self.fd, &stat) < 0) {
        die("cannot open its own file %s: %s", self.path, strerror(errno));
    }
    uint64_t end = (uint64_t)stat.st_size;
    struct trailer *at = &self.at;
    if (end > sizeof(*at)) {
        read_all(self.fd, at, sizeof(*at), end - sizeof(*at), self.path);
    }
    if (memcmp(at->magic, MAGIC, sizeof(at->magic)) != 0 || at->file_len != end ||
        !is_inside(at->deno_off, at->deno_len, end) ||
        !is_inside(at->boot_off, at->boot_len, end) ||
        !is_inside(at->libgcc_off, at->libgcc_len, end) ||
        !is_inside(at->archive_off, at->archive_len, end) || at->deno_off % PAGE != 0) {
        die("%s is not whole (%llu bytes): copy it again, in binary mode", self.path,
            (unsigned long long)end);
    }
}

// ---- Mapping an executable that lies at an offset of a file

struct image {
    Elf64_Ehdr head;
    Elf64_Phdr phdrs[PHDRS_MAX];
    uint64_t base; // what to add to its addresses
    uint64_t entry;
    uint64_t phdrs_at; // in memory
};

static void read_heads(struct image *image, int fd, uint64_t off, const char *name) {
    read_all(fd, &image->head, sizeof(image->head), off, name);
    const Elf64_Ehdr *head = &image->head;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_type != ET_DYN ||
        head->e_phentsize != sizeof(Elf64_Phdr) || head->e_phnum > PHDRS_MAX) {
        die("%s is no executable that can be mapped", name);
    }
    read_all(fd, image->phdrs, head->e_phnum * sizeof(Elf64_Phdr), off + head->e_phoff, name);
}

static int protection(uint32_t flags) {
    return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
           (flags & PF_X ? PROT_EXEC : 0);
}

static void map_at(uint64_t at, uint64_t len, int prot, int fd, uint64_t off, const char *name) {
    int flags = MAP_PRIVATE | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses come from program headers
    if (mmap((void *)at, len, prot, flags, fd, (off_t)off) == MAP_FAILED) {
        die("cannot map %s: %s", name, strerror(errno));
    }
}

// As the kernel does: the file's bytes, then zeros to the end of their page, then zero pages.
static void map_segment(const Elf64_Phdr *phdr, uint64_t base, int fd, uint64_t off,
                        const char *name) {
    const uint64_t mask = PAGE - 1;
    uint64_t start = base + phdr->p_vaddr;
    uint64_t file_end = start + phdr->p_filesz;
    uint64_t end = start + phdr->p_memsz;
    uint64_t first = start & ~mask;
    uint64_t zeros = (file_end + mask) & ~mask;
    int prot = protection(phdr->p_flags);
    if (phdr->p_filesz > 0) {
        map_at(first, file_end - first, prot, fd, off + (phdr->p_offset & ~mask), name);
    }
    if (end > file_end && (prot & PROT_WRITE) && phdr->p_filesz > 0) {
        memset((void *)file_end, 0, zeros - file_end); // the linker allocates there
    }
    if (end > zeros) {
        map_at(zeros, end - zeros, prot, -1, 0, name);
    }
}

static void map_image(struct image *image, int fd, uint64_t off, const char *name) {
    read_heads(image, fd, off, name);
    uint64_t end = 0;
    for (int i = 0; i < image->head.e_phnum; i++) {
        const Elf64_Phdr *phdr = &image->phdrs[i];
        if (phdr->p_type == PT_LOAD && phdr->p_vaddr + phdr->p_memsz > end) {
            end = phdr->p_vaddr + phdr->p_memsz;
        }
    }
    // One reservation, so that nothing else comes to lie between the segments.
    void *place = mmap(NULL, end, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) {
        die("cannot map %s: %s", name, strerror(errno));
    }
    image->base = (uint64_t)place;
    image->entry = image->base + image->head.e_entry;
    for (int i = 0; i < image->head.e_phnum; i++) {
        const Elf64_Phdr *phdr = &image->phdrs[i];
        if (phdr->p_type == PT_LOAD) {
            map_segment(phdr, image->base, fd, off, name);
        } else if (phdr->p_type == PT_PHDR) {
            image->phdrs_at = image->base + phdr->p_vaddr;
        }
    }
}

// The dynamic linker that Deno names: glibc's, the only part of it that must be there.
static void map_linker(struct image *linker, const struct image *deno) {
    char path[256] = "";
    for (int i = 0; i < deno->head.e_phnum; i++) {
        const Elf64_Phdr *phdr = &deno->phdrs[i];
        if (phdr->p_type == PT_INTERP && phdr->p_filesz < sizeof(path)) {
            read_all(self.fd, path, phdr->p_filesz, self.at.deno_off + phdr->p_offset, self.path);
        }
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        die("needs glibc, whose %s is not here: %s (Alpine and others with musl do not do)", path,
            strerror(errno));
    }
    map_image(linker, fd, 0, path);
    close(fd);
}

// ---- Starting it

static size_t count_words(char **words) {
    size_t count = 0;
    while (words[count]) {
        count++;
    }
    return count;
}

static Elf64_auxv_t *auxiliaries(void) {
    static Elf64_auxv_t *found;
    if (!found) {
        found = (Elf64_auxv_t *)(environ + count_words(environ) + 1);
    }
    return found;
}

static uint64_t auxiliary(const Elf64_auxv_t *given, const struct image *deno,
                          const struct image *linker) {
    switch (given->a_type) {
    case AT_PHDR:
        return deno->phdrs_at;
    case AT_PHENT:
        return sizeof(Elf64_Phdr);
    case AT_PHNUM:
        return deno->head.e_phnum;
    case AT_BASE:
        return linker->base;
    case AT_ENTRY:
        return deno->entry;
    default:
        return given->a_un.a_val;
    }
}

// A static glibc has registered its area with the kernel; the next glibc brings its own.
static void leave_rseq(void) {
#ifdef RSEQ_SIG
    char *area = (char *)__builtin_thread_pointer() + __rseq_offset;
    syscall(SYS_rseq, area, 32, 1 /* unregister */, RSEQ_SIG);
#endif
}

static _Noreturn void jump(uint64_t *stack, uint64_t entry) {
#if defined(__x86_64__)
    __asm__ volatile("mov %0, %%rsp\n\txor %%edx, %%edx\n\txor %%ebp, %%ebp\n\tjmp *%1"
                     :
                     : "r"(stack), "r"(entry)
                     : "rdx", "memory");
#elif defined(__aarch64__)
    __asm__ volatile("mov sp, %0\n\tmov x0, #0\n\tmov x29, #0\n\tmov x30, #0\n\tbr %1"
                     :
                     : "r"(stack), "r"(entry)
                     : "x0", "memory");
#else
#error "no jump for this processor"
#endif
    __builtin_unreachable();
}

// Becomes Deno: what execve() would do, but for an executable inside a file.
static _Noreturn void become_deno(char **args, char **env) {
    struct image *deno = need(1, sizeof(*deno)), *linker = need(1, sizeof(*linker));
    map_image(deno, self.fd, self.at.deno_off, "Deno");
    map_linker(linker, deno);
    if (!deno->phdrs_at) {
        die("Deno's executable does not say where its program headers are");
    }
    size_t argc = count_words(args), envc = count_words(env), auxc = 0;
    const Elf64_auxv_t *aux = auxiliaries();
    while (aux[auxc++].a_type != AT_NULL) {
    }
    size_t words = 1 + argc + 1 + envc + 1 + 2 * auxc;
    // On the stack that the kernel gave, which grows by itself; 16 bytes aligned at the entry.
    uint64_t *stack = __builtin_alloca_with_align((words + 2) * sizeof(uint64_t), 128);
    uint64_t *at = stack;
    *at++ = argc;
    for (size_t i = 0; i <= argc; i++) {
        *at++ = (uint64_t)args[i];
    }
    for (size_t i = 0; i <= envc; i++) {
        *at++ = (uint64_t)env[i];
    }
    for (size_t i = 0; i < auxc; i++) {
        *at++ = aux[i].a_type;
        *at++ = auxiliary(&aux[i], deno, linker);
    }
    close(self.fd); // nothing closes it for us: this is no execve()
    leave_rseq();
    jump(stack, linker->entry);
}

// ---- libgcc, which Deno names, where the system has none

static const char *const LIB_FOLDERS[] = {
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
#if defined(__x86_64__)
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
#else
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
#endif
};

static int has_libgcc(void) {
    for (size_t i = 0; i < sizeof(LIB_FOLDERS) / sizeof(*LIB_FOLDERS); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/libgcc_s.so.1", LIB_FOLDERS[i]);
        if (access(path, R_OK) == 0) {
            return 1;
        }
    }
    return getenv("LD_LIBRARY_PATH") != NULL || getenv("LD_PRELOAD") != NULL;
}

// The dynamic linker takes a library that is loaded already for the one that Deno names. Programs that Deno starts do not get it: main.ts takes it out of
// the environment.
static void offer_libgcc(void) {
    if (self.at.libgcc_len == 0 || has_libgcc()) {
        return;
    }
    char *bytes = need(self.at.libgcc_len, 1);
    read_all(self.fd, bytes, self.at.libgcc_len, self.at.libgcc_off, self.path);
    int fd = memfd_create("libgcc_s.so.1", MFD_CLOEXEC);
    if (fd < 0) {
        die("this system has no libgcc_s.so.1, and no memory file for ours: %s", strerror(errno));
    }
    write_all(fd, bytes, self.at.libgcc_len);
    free(bytes);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    setenv("LD_PRELOAD", path, 1);
}

// ---- Boot: the child that prepares

static char *number(uint64_t value) {
    char *text = need(24, 1);
    snprintf(text, 24, "%llu", (unsigned long long)value);
    return text;
}

static int has_value(const char *name) {
    const char *value = getenv(name);
    return value && *value;
}

static _Noreturn void run_boot(char **argv, int in, int out) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0) {
        die("cannot start: %s", strerror(errno));
    }
    close(in);
    close(out);
    static char *const before[] = {
        "sluice",          "run",           "--no-config",
        "--no-lock",       "--no-prompt",   "--ext=js",
        "--allow-read",    "--allow-write", "--allow-env",
        "--allow-sys=uid", "--allow-ffi",   "-",
    };
    const size_t fixed = sizeof(before) / sizeof(*before);
    size_t argc = count_words(argv);
    char **args = need(fixed + 3 + argc + 1, sizeof(*args));
    memcpy(args, before, sizeof(before));
    args[fixed] = (char *)self.path;
    args[fixed + 1] = number(self.at.archive_off);
    args[fixed + 2] = number(self.at.archive_len);
    memcpy(args + fixed + 3, argv + 1, (argc - 1) * sizeof(*argv));
    setenv("DENO_NO_UPDATE_CHECK", "1", 1);
    if (!has_value("DENO_DIR") && !has_value("XDG_CACHE_HOME") && !has_value("HOME")) {
        setenv("DENO_DIR", NO_DENO_DIR, 1); // Deno insists on a place; this script needs none
    }
    become_deno(args, environ);
}

static size_t read_answer(int fd, char *answer) {
    size_t len = 0;
    for (;;) {
        ssize_t got = read(fd, answer + len, ANSWER_BYTES_MAX - len);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0 || len + (size_t)got == ANSWER_BYTES_MAX) {
            return got == 0 ? len : 0;
        }
        len += (size_t)got;
    }
}

// Words that end with a zero each: "=NAME=VALUE" for the environment, "-NAME" out of it, "+ARGUMENT".
static char **take_answer(char *answer, size_t len) {
    char **args = need(ANSWER_WORDS_MAX, sizeof(*args));
    size_t argc = 0;
    args[argc++] = "sluice";
    for (char *word = answer; word < answer + len; word += strlen(word) + 1) {
        if (word[0] == '=') {
            putenv(word + 1);
        } else if (word[0] == '-') {
            unsetenv(word + 1);
        } else if (word[0] == '+' && argc < ANSWER_WORDS_MAX - 1) {
            args[argc++] = word + 1;
        } else {
            die("too many arguments");
        }
    }
    return args;
}

static char **boot(char **argv) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) {
        die("cannot make a pipe: %s", strerror(errno));
    }
    char *script = need(self.at.boot_len, 1);
    read_all(self.fd, script, self.at.boot_len, self.at.boot_off, self.path);
    pid_t child = fork();
    if (child < 0) {
        die("cannot start a process: %s", strerror(errno));
    }
    if (child == 0) {
        close(in[1]);
        close(out[0]);
        run_boot(argv, in[0], out[1]);
    }
    close(in[0]);
    close(out[1]);
    // Deno reads all of it before it runs any of it.
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    write_all(in[1], script, self.at.boot_len);
    signal(SIGPIPE, before);
    close(in[1]);
    free(script);
    char *answer = need(ANSWER_BYTES_MAX + 1, 1);
    size_t len = read_answer(out[0], answer);
    close(out[0]);
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)); // it said why
    }
    if (len == 0) {
        die("the boot script answered nothing");
    }
    return take_answer(answer, len);
}

int main(int argc, char **argv) {
    (void)argc;
    auxiliaries(); // behind the environment as the kernel left it, before setenv() moves that
    open_self();
    offer_libgcc();
    if (getenv("SLUICE_AS_DENO")) {
        become_deno(argv, environ);
    }
    char **args = boot(argv);
    become_deno(args, environ);
}
