/* Preloaded into a process: counts the operations that change files below a directory, and makes one of them a fault.
 *
 * Every system call of libc that changes a file or takes a lock is wrapped, so that Python, its C extensions and C++
 * libraries such as Arrow are all seen. The state is a file in shared memory: processes that are forked or started
 * meanwhile count together.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { COUNT, KILL, ONCE, FULL, READ_ONLY };
enum kind { TAKES_SPACE, CHANGES, LOCKS };

static struct state { /* `State` in interception.py */
    int armed;
    int count; /* operations seen so far */
    int at;    /* the number of the one that becomes a fault */
    int mode;
    int error; /* what the fault says, as an errno */
    char below[512];
    char fired[1024]; /* the operation that became a fault */
} *state;
static int trace = -1; /* where operations are written down while they are only counted */

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("KARTNB_FAULTS");
    int fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found != MAP_FAILED) state = found;
    syscall(SYS_close, fd);
    char name[1024];
    snprintf(name, sizeof name, "%s.trace", path);
    trace = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static void die(void) { syscall(SYS_exit_group, 9); }

static void path_of_descriptor(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    path[length > 0 ? length : 0] = 0;
}

static void full_path(int directory, const char *name, char *path, size_t size) {
    path[0] = 0;
    if (name == NULL) {
        path_of_descriptor(directory, path, size);
    } else if (name[0] == '/') {
        snprintf(path, size, "%s", name);
    } else {
        char above[768];
        if (directory != AT_FDCWD) path_of_descriptor(directory, above, sizeof above);
        else if (!getcwd(above, sizeof above)) above[0] = 0;
        snprintf(path, size, "%s/%s", above, name);
    }
}

/* Count an operation; give the errno that it fails with, 0 when it goes on, or -1 when it is the one to die at. */
static int trip(const char *what, enum kind kind, int directory, const char *name) {
    if (!state || !state->armed) return 0;
    char path[1024];
    full_path(directory, name, path, sizeof path);
    size_t length = strlen(state->below);
    if (strncmp(path, state->below, length) || (path[length] && path[length] != '/')) return 0;
    if (state->mode == COUNT) {
        char line[1200];
        int size = snprintf(line, sizeof line, "%s %s\n", what, path + length);
        if (trace >= 0) syscall(SYS_write, trace, line, size);
    }
    int number = __atomic_add_fetch(&state->count, 1, __ATOMIC_SEQ_CST);
    int wanted = state->mode == FULL || state->mode == READ_ONLY ? number >= state->at : number == state->at;
    if (!wanted || state->mode == COUNT) return 0;
    if (number == state->at) snprintf(state->fired, sizeof state->fired, "%s %s", what, path + length);
    if (state->mode == KILL) return -1;
    if (state->mode == FULL && kind != TAKES_SPACE) return 0;
    if (state->mode == READ_ONLY && kind == LOCKS) return 0;
    return state->error;
}

#define FAULT(what, kind, directory, name)                 \
    do {                                                   \
        int fault_ = trip(what, kind, directory, name);    \
        if (fault_ < 0) die();                             \
        if (fault_ > 0) { errno = fault_; return -1; }     \
    } while (0)

static int opened(int directory, const char *name, int flags, mode_t mode) {
    if (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))
        FAULT("open", flags & O_CREAT ? TAKES_SPACE : CHANGES, directory, name);
    return syscall(SYS_openat, directory, name, flags, mode);
}

#define MODE(flags, mode)                                  \
    mode_t mode = 0;                                       \
    if (flags & (O_CREAT | __O_TMPFILE)) {                 \
        va_list rest_;                                     \
        va_start(rest_, flags);                            \
        mode = va_arg(rest_, mode_t);                      \
        va_end(rest_);                                     \
    }

int open(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int openat(int at, const char *name, int flags, ...) { MODE(flags, mode) return opened(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE(flags, mode) return opened(at, name, flags, mode); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, mode); }

/* A write that becomes a fault has written half of its bytes: a torn file. */
#define WRITING(what, fd, count, act)                      \
    int fault_ = trip(what, TAKES_SPACE, fd, NULL);        \
    if (fault_ && count > 1) { size_t half = count / 2; (void)half; act; } \
    if (fault_ < 0) die();                                 \
    if (fault_ > 0) { errno = fault_; return -1; }

ssize_t write(int fd, const void *data, size_t count) {
    WRITING("write", fd, count, syscall(SYS_write, fd, data, half))
    return syscall(SYS_write, fd, data, count);
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) {
    WRITING("pwrite", fd, count, syscall(SYS_pwrite64, fd, data, half, offset))
    return syscall(SYS_pwrite64, fd, data, count, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset) { return pwrite(fd, data, count, offset); }
ssize_t writev(int fd, const struct iovec *pieces, int count) {
    WRITING("writev", fd, count, syscall(SYS_writev, fd, pieces, half))
    return syscall(SYS_writev, fd, pieces, count);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    WRITING("sendfile", out, count, syscall(SYS_sendfile, out, in, offset, half))
    return syscall(SYS_sendfile, out, in, offset, count);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) { return sendfile(out, in, offset, count); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags) {
    WRITING("copy_file_range", out, count, syscall(SYS_copy_file_range, in, from, out, to, half, flags))
    return syscall(SYS_copy_file_range, in, from, out, to, count, flags);
}

static int renamed(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    if (state && state->armed && state->mode == COUNT) trip("renaming", TAKES_SPACE, from_at, from);
    FAULT("rename", TAKES_SPACE, to_at, to);
    return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to) { return renamed(from_at, from, to_at, to, 0); }
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    return renamed(from_at, from, to_at, to, flags);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    FAULT("link", TAKES_SPACE, to_at, to);
    return syscall(SYS_linkat, from_at, from, to_at, to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
int symlinkat(const char *text, int at, const char *name) {
    FAULT("symlink", TAKES_SPACE, at, name);
    return syscall(SYS_symlinkat, text, at, name);
}
int symlink(const char *text, const char *name) { return symlinkat(text, AT_FDCWD, name); }

int unlinkat(int at, const char *name, int flags) {
    FAULT(flags & AT_REMOVEDIR ? "rmdir" : "unlink", CHANGES, at, name);
    return syscall(SYS_unlinkat, at, name, flags);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int mkdirat(int at, const char *name, mode_t mode) {
    FAULT("mkdir", TAKES_SPACE, at, name);
    return syscall(SYS_mkdirat, at, name, mode);
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int truncate(const char *name, off_t size) {
    FAULT("truncate", CHANGES, AT_FDCWD, name);
    return syscall(SYS_truncate, name, size);
}
int truncate64(const char *name, off64_t size) { return truncate(name, size); }
int ftruncate(int fd, off_t size) {
    FAULT("ftruncate", CHANGES, fd, NULL);
    return syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
int fallocate(int fd, int mode, off_t offset, off_t size) {
    FAULT("fallocate", TAKES_SPACE, fd, NULL);
    return syscall(SYS_fallocate, fd, mode, offset, size);
}

int utimensat(int at, const char *name, const struct timespec times[2], int flags) {
    FAULT("utime", CHANGES, at, name);
    return syscall(SYS_utimensat, at, name, times, flags);
}
int futimens(int fd, const struct timespec times[2]) {
    FAULT("utime", CHANGES, fd, NULL);
    return syscall(SYS_utimensat, fd, NULL, times, 0);
}

int fsync(int fd) {
    FAULT("fsync", TAKES_SPACE, fd, NULL);
    return syscall(SYS_fsync, fd);
}
int fdatasync(int fd) {
    FAULT("fsync", TAKES_SPACE, fd, NULL);
    return syscall(SYS_fdatasync, fd);
}

int flock(int fd, int operation) {
    FAULT("flock", LOCKS, fd, NULL);
    return syscall(SYS_flock, fd, operation);
}
static int controlled(int fd, int command, void *argument) {
    if (command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW)
        FAULT("lock", LOCKS, fd, NULL);
    return syscall(SYS_fcntl, fd, command, argument);
}
#define ARGUMENT(command, argument)                        \
    va_list rest_;                                         \
    va_start(rest_, command);                              \
    void *argument = va_arg(rest_, void *);                \
    va_end(rest_);
int fcntl(int fd, int command, ...) { ARGUMENT(command, argument) return controlled(fd, command, argument); }
int fcntl64(int fd, int command, ...) { ARGUMENT(command, argument) return controlled(fd, command, argument); }
