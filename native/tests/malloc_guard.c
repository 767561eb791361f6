// Counts what threads named sluice-w* ask of the allocator and of mmap, and who asks. Preloaded (LD_PRELOAD) into a real gateway by
// tests/cost_test.ts, which reads the file named by SLUICE_MALLOC_GUARD: a struct guard, mapped shared, so counts are there while it runs.
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACKS 1024
#define DEPTH 12
#define SKIP 2 // frames of ours: count, and the function that was called
#define LIBRARY "libsluice_ffi.so"

enum call { CALL_MALLOC, CALL_CALLOC, CALL_REALLOC, CALL_ALIGNED, CALL_MMAP, CALL_FREE, CALLS = 8 };

struct stack {
    _Atomic uint64_t count;
    uint64_t call;
    uint64_t offsets[DEPTH]; // in the library, innermost first; 0: elsewhere
};

struct guard {
    _Atomic uint64_t calls[CALLS];
    struct stack stacks[STACKS];
};

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

static struct guard *guard;
// initial-exec: a lookup must not allocate.
static __thread __attribute__((tls_model("initial-exec"))) int is_worker, is_counting;

__attribute__((constructor)) static void open_guard(void) {
    const char *path = getenv("SLUICE_MALLOC_GUARD");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *frames[1];
    if (fd >= 0 && ftruncate(fd, sizeof(*guard)) == 0) {
        void *memory = (void *)syscall(SYS_mmap, NULL, sizeof(*guard), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        guard = memory == MAP_FAILED ? NULL : memory;
    }
    if (fd >= 0) {
        close(fd);
    }
    backtrace(frames, 1); // loads the unwinder now, not on a worker
}

// One worker is counted: nothing here is shared with another thread but the reader of the file.
static void note_stack(enum call call) {
    void *frames[SKIP + DEPTH];
    uint64_t offsets[DEPTH] = {0};
    int depth = backtrace(frames, SKIP + DEPTH);
    for (int i = SKIP; i < depth; i++) {
        Dl_info info;
        bool ours = dladdr(frames[i], &info) && info.dli_fname && strstr(info.dli_fname, LIBRARY);
        offsets[i - SKIP] = ours ? (uint64_t)((uint8_t *)frames[i] - (uint8_t *)info.dli_fbase) : 0;
    }
    for (int i = 0; i < STACKS; i++) {
        struct stack *stack = &guard->stacks[i];
        if (stack->count == 0) {
            stack->call = call;
            memcpy(stack->offsets, offsets, sizeof(offsets));
        }
        if (stack->call == call && memcmp(stack->offsets, offsets, sizeof(offsets)) == 0) {
            stack->count++;
            return;
        }
    }
}

static __attribute__((noinline)) void count(enum call call) {
    if (!is_worker || !guard || is_counting) {
        return;
    }
    is_counting = 1;
    guard->calls[call]++;
    note_stack(call);
    is_counting = 0;
}

int prctl(int option, ...) {
    __builtin_va_list list;
    __builtin_va_start(list, option);
    unsigned long a = __builtin_va_arg(list, unsigned long), b = __builtin_va_arg(list, unsigned long);
    unsigned long c = __builtin_va_arg(list, unsigned long), d = __builtin_va_arg(list, unsigned long);
    __builtin_va_end(list);
    if (option == PR_SET_NAME && strncmp((const char *)a, "sluice-w", 8) == 0) {
        is_worker = 1;
    }
    return (int)syscall(SYS_prctl, option, a, b, c, d);
}

void *malloc(size_t size) {
    count(CALL_MALLOC);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count(CALL_CALLOC);
    return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
    count(CALL_REALLOC);
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count(CALL_ALIGNED);
    return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
    count(CALL_ALIGNED);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    count(CALL_ALIGNED);
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

void free(void *memory) {
    if (memory) {
        count(CALL_FREE);
    }
    __libc_free(memory);
}

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    count(CALL_MMAP);
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    count(CALL_MMAP);
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}
