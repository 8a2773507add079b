/* LD_PRELOAD: counts the calls that change the file system below a folder, and large allocations;
   at one of them it kills or stops the process, or makes the call fail. Told what to do by a file that is
   mapped (CWRNN_SOAK names it; `struct control` is tests/soak/shim.py's Control), so that the
   processes of a command count together. Unarmed it passes everything on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, COUNT, KILL, TORN, FAIL, FAIL_ON, STOP };

struct control {
    int action;       /* on file-system calls */
    int error;        /* errno of FAIL and FAIL_ON */
    long at;          /* the call, counted from 1 */
    long calls;       /* so far */
    int memory;       /* action on allocations: OFF, COUNT, FAIL or FAIL_ON */
    int pad;
    long memory_at;
    long allocations; /* of `least` bytes or more, so far */
    long least;
    char fired[64];   /* the call at which something was done */
    char root[PATH_MAX];
    char trace[PATH_MAX]; /* a file to which each call is appended, or nothing */
};

static struct control nothing, *control = &nothing;
static int loading; /* begun amid a case: memory is refused from its first call below the folder on */

/* For a process beside the cases: nothing is counted in it, and nothing fails, from now on. */
void cwrnn_soak_detach(void) { control = &nothing; }

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv("CWRNN_SOAK");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *place = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (place != MAP_FAILED) control = place;
    close(fd);
    loading = control->memory != OFF;
}

/* ---- which calls are meant ---- */

static int inside(const char *path)
{
    size_t n = strlen(control->root);
    return n && !strncmp(path, control->root, n) && (path[n] == '/' || !path[n]);
}

static int of_fd(int fd, char *path)
{
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, PATH_MAX - 1);
    path[n < 0 ? 0 : n] = 0;
    return inside(path);
}

static int of_path(int folder, const char *name, char *path)
{
    if (!name) return 0;
    if (*name == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return inside(path);
    }
    char above[PATH_MAX];
    if (folder == AT_FDCWD) {
        if (!getcwd(above, sizeof above)) return 0;
    } else of_fd(folder, above);
    snprintf(path, PATH_MAX, "%.2000s/%.2000s", above, name);
    return inside(path);
}

static void note(const char *call, const char *path)
{
    if (!*control->trace) return;
    char line[PATH_MAX + 64];
    int n = snprintf(line, sizeof line, "%s %s\n", call, path);
    static __typeof__(&write) next;
    if (!next) next = (__typeof__(&write))dlsym(RTLD_NEXT, "write");
    int fd = open(control->trace, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0) { next(fd, line, n); close(fd); }
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* One more call. Returns 1: it is to fail (errno is set), 2: to be torn, 0: go on. */
static int meet(const char *call, const char *path)
{
    int action = control->action;
    loading = 0;
    if (action == OFF) return 0;
    long number = __atomic_add_fetch(&control->calls, 1, __ATOMIC_SEQ_CST);
    note(call, path);
    if (action == COUNT || number < control->at || (number > control->at && action != FAIL_ON))
        return 0;
    if (number == control->at)
        snprintf(control->fired, sizeof control->fired, "%s", call);
    if (action == KILL) die();
    if (action == TORN) return 2;
    if (action == STOP) { /* what others do meanwhile is not counted */
        control->action = OFF;
        kill(getpid(), SIGSTOP);
        return 0;
    }
    errno = control->error;
    return 1;
}

#define AT_FD(call, fd, fails) \
    char path[PATH_MAX]; \
    int torn = 0; \
    if (control->action && of_fd(fd, path) && (torn = meet(call, path)) == 1) return fails
#define AT_PATH(call, folder, name, fails) \
    char path[PATH_MAX]; \
    int torn = 0; \
    if (control->action && of_path(folder, name, path) && (torn = meet(call, path)) == 1) \
        return fails
/* what is torn is done in part, where there are parts, and then the process ends */
#define DONE(result) \
    do { \
        __typeof__(result) done = result; \
        if (torn == 2) die(); \
        return done; \
    } while (0)

/* ---- opening ---- */

static int changes(int flags)
{
    return (flags & (O_CREAT | O_TRUNC | __O_TMPFILE)) || (flags & O_ACCMODE) != O_RDONLY;
}

#define MODE mode_t mode = 0; va_list more; va_start(more, flags); \
    if (flags & (O_CREAT | __O_TMPFILE)) mode = va_arg(more, mode_t); va_end(more)
#define OPEN(name) \
    int name(const char *file, int flags, ...) \
    { \
        MODE; NEXT(name); \
        if (!changes(flags)) return next(file, flags, mode); \
        AT_PATH("open", AT_FDCWD, file, -1); \
        DONE(next(file, flags, mode)); \
    }
#define OPENAT(name) \
    int name(int folder, const char *file, int flags, ...) \
    { \
        MODE; NEXT(name); \
        if (!changes(flags)) return next(folder, file, flags, mode); \
        AT_PATH("open", folder, file, -1); \
        DONE(next(folder, file, flags, mode)); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *file, const char *mode) \
    { \
        NEXT(name); \
        if (!strpbrk(mode, "wa+")) return next(file, mode); \
        AT_PATH("fopen", AT_FDCWD, file, NULL); \
        DONE(next(file, mode)); \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* ---- writing ---- */

ssize_t write(int fd, const void *bytes, size_t count)
{
    NEXT(write);
    AT_FD("write", fd, -1);
    DONE(next(fd, bytes, torn == 2 ? count / 2 : count));
}

#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *bytes, size_t count, offset_type offset) \
    { \
        NEXT(name); \
        AT_FD("pwrite", fd, -1); \
        DONE(next(fd, bytes, torn == 2 ? count / 2 : count, offset)); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    NEXT(writev);
    AT_FD("writev", fd, -1);
    DONE(next(fd, parts, torn == 2 ? 1 : count));
}

int fclose(FILE *file)
{
    NEXT(fclose);
    AT_FD("fclose", fileno(file), EOF);
    DONE(next(file));
}

int close(int fd)
{
    NEXT(close);
    int flags = control->action ? fcntl(fd, F_GETFL) : -1, kept = errno;
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) { errno = kept; return next(fd); }
    char path[PATH_MAX];
    int torn = of_fd(fd, path) ? meet("close", path) : 0;
    if (torn == 1) { next(fd); errno = control->error; return -1; } /* closed all the same */
    DONE(next(fd));
}

#define ON_FD(name, parameters, arguments) \
    int name parameters \
    { \
        NEXT(name); \
        AT_FD(#name, fd, -1); \
        DONE(next arguments); \
    }
ON_FD(fsync, (int fd), (fd))
ON_FD(fdatasync, (int fd), (fd))
ON_FD(ftruncate, (int fd, off_t size), (fd, size))
ON_FD(ftruncate64, (int fd, off64_t size), (fd, size))
ON_FD(fchmod, (int fd, mode_t mode), (fd, mode))
ON_FD(flock, (int fd, int how), (fd, how))

/* ---- names ---- */

#define ON_PATH(name, folder, file, parameters, arguments) \
    int name parameters \
    { \
        NEXT(name); \
        AT_PATH(#name, folder, file, -1); \
        DONE(next arguments); \
    }
int flock(int, int);
int renameat2(int, const char *, int, const char *, unsigned);
ON_PATH(rename, AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_PATH(renameat, there, to, (int here, const char *from, int there, const char *to),
        (here, from, there, to))
ON_PATH(renameat2, there, to,
        (int here, const char *from, int there, const char *to, unsigned flags),
        (here, from, there, to, flags))
ON_PATH(link, AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_PATH(linkat, there, to, (int here, const char *from, int there, const char *to, int flags),
        (here, from, there, to, flags))
ON_PATH(symlink, AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_PATH(unlink, AT_FDCWD, file, (const char *file), (file))
ON_PATH(unlinkat, folder, file, (int folder, const char *file, int flags), (folder, file, flags))
ON_PATH(remove, AT_FDCWD, file, (const char *file), (file))
ON_PATH(mkdir, AT_FDCWD, file, (const char *file, mode_t mode), (file, mode))
ON_PATH(mkdirat, folder, file, (int folder, const char *file, mode_t mode), (folder, file, mode))
ON_PATH(rmdir, AT_FDCWD, file, (const char *file), (file))
ON_PATH(truncate, AT_FDCWD, file, (const char *file, off_t size), (file, size))
ON_PATH(truncate64, AT_FDCWD, file, (const char *file, off64_t size), (file, size))
ON_PATH(chmod, AT_FDCWD, file, (const char *file, mode_t mode), (file, mode))
ON_PATH(fchmodat, folder, file, (int folder, const char *file, mode_t mode, int flags),
        (folder, file, mode, flags))
ON_PATH(utimensat, folder, file,
        (int folder, const char *file, const struct timespec times[2], int flags),
        (folder, file, times, flags))

/* ---- memory ---- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

/* What HDF5's library takes in one piece for a file that it opens (half a MiB) or to write texts (a
   MiB and a header); it crashes without it, and cwrnn asks for twice as much just before. */
static int excepted(size_t size, void *caller)
{
    Dl_info found;
    return size > 1 << 19 && size <= (1 << 20) + 64 && dladdr(caller, &found) && found.dli_fname &&
        strstr(found.dli_fname, "libhdf5");
}

static int refused(size_t size, void *caller)
{
    int action = control->memory;
    if (action == OFF || loading || (long)size < control->least || excepted(size, caller))
        return 0;
    long number = __atomic_add_fetch(&control->allocations, 1, __ATOMIC_SEQ_CST);
    if (action == COUNT || number < control->memory_at) return 0;
    if (number > control->memory_at && action != FAIL_ON) return 0;
    if (number == control->memory_at)
        snprintf(control->fired, sizeof control->fired, "%zu bytes", size);
    errno = ENOMEM;
    return 1;
}

#define HERE __builtin_return_address(0)
void *malloc(size_t size) { return refused(size, HERE) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow(count, size, &all)) all = SIZE_MAX;
    return refused(all, HERE) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return refused(size, HERE) ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return refused(size, HERE) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **place, size_t alignment, size_t size)
{
    void *found = refused(size, HERE) ? NULL : __libc_memalign(alignment, size);
    if (!found) return ENOMEM;
    *place = found;
    return 0;
}

#define MMAP(name, offset_type) \
    void *name(void *at, size_t size, int access, int flags, int fd, offset_type offset) \
    { \
        NEXT(name); \
        if (fd < 0 && refused(size, HERE)) return MAP_FAILED; \
        return next(at, size, access, flags, fd, offset); \
    }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)
