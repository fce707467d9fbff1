/* Stands between the program and the disk: counts what it writes below a folder, and at the chosen
 * count ends the process, does half, or fails. Built by tests/crash/shim.rs, loaded by LD_PRELOAD.
 *
 * SHIM_FOLDER  only files below it count
 * SHIM_AT      the count at which it acts; 0: never
 * SHIM_HOW     end, half, enospc, eio: once, at that count
 * SHIM_REACHED the file that is made when that count is reached
 * SHIM_WHILE   while this file exists every write fails with SHIM_HOW (enospc, erofs), or every
 *              sync takes two seconds (slow) or thirty (stuck)
 * SHIM_TOLD    where the name of a file is told whose sync has failed and is tried again
 * SHIM_HANGS   while the file of this name, a dot and the process's number exists, the worker
 *              threads of that process stand still for good at their next look at the clock
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long count;
static _Atomic ino_t failed_inode;

static int below(const char *path) {
    const char *folder = getenv("SHIM_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int counts(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return below(path);
}

static int is(const char *how) {
    const char *chosen = getenv("SHIM_HOW");
    return chosen && strcmp(chosen, how) == 0;
}

static int lasting(void) {
    const char *flag = getenv("SHIM_WHILE");
    return flag && syscall(SYS_access, flag, F_OK) == 0;
}

/* Whether this call is the one. */
static int now(void) {
    const char *at = getenv("SHIM_AT");
    long chosen = at ? atol(at) : 0;
    if (chosen <= 0 || atomic_fetch_add(&count, 1) + 1 != chosen) return 0;
    const char *reached = getenv("SHIM_REACHED");
    if (reached) syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, reached, O_WRONLY | O_CREAT, 0600));
    return 1;
}

static void end(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* 0: go on; else the error. */
static int verdict(int write) {
    if (lasting()) {
        if (is("erofs")) return EROFS;
        if (is("enospc") && write) return ENOSPC;
        return 0;
    }
    if (!now()) return 0;
    if (is("end") || (is("half") && !write)) end();
    if (is("half")) return -1;
    if (is("enospc")) return write ? ENOSPC : 0;
    if (is("eio")) return EIO;
    return 0;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *bytes, size_t n) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int why = counts(fd) ? verdict(1) : 0;
    if (why < 0) { real(fd, bytes, n / 2); end(); }
    if (why > 0) { errno = why; return -1; }
    return real(fd, bytes, n);
}

ssize_t writev(int fd, const struct iovec *all, int n) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    int why = counts(fd) ? verdict(1) : 0;
    if (why < 0) { real(fd, all, n / 2); end(); }
    if (why > 0) { errno = why; return -1; }
    return real(fd, all, n);
}

static ssize_t at_offset(ssize_t (*real)(int, const void *, size_t, off_t), int fd,
                         const void *bytes, size_t n, off_t offset) {
    int why = counts(fd) ? verdict(1) : 0;
    if (why < 0) { real(fd, bytes, n / 2, offset); end(); }
    if (why > 0) { errno = why; return -1; }
    return real(fd, bytes, n, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    return at_offset(real, fd, bytes, n, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return at_offset(real, fd, bytes, n, offset);
}

static int synced(int (*real)(int), int fd) {
    struct stat it;
    if (!counts(fd)) return real(fd);
    if (lasting() && (is("slow") || is("stuck"))) {
        struct timespec wait = {is("slow") ? 2 : 30, 0};
        nanosleep(&wait, NULL);
        return real(fd);
    }
    int known = fstat(fd, &it) == 0 && S_ISREG(it.st_mode);
    if (known && failed_inode == it.st_ino && getenv("SHIM_TOLD")) {
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path);
        int told = syscall(SYS_openat, AT_FDCWD, getenv("SHIM_TOLD"), O_WRONLY | O_CREAT, 0600);
        syscall(SYS_write, told, path, n > 0 ? n : 0);
        syscall(SYS_close, told);
    }
    int why = verdict(0);
    if (why > 0) {
        if (known) failed_inode = it.st_ino;
        errno = why;
        return -1;
    }
    return real(fd);
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    return synced(real, fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return synced(real, fd);
}

int ftruncate64(int fd, off_t len) {
    REAL(int, "ftruncate64", int, off_t);
    int why = counts(fd) ? verdict(0) : 0;
    if (why > 0) { errno = why; return -1; }
    return real(fd, len);
}

/* A file that is removed or replaced: its number may be the next one's. */
static void forget(const char *path) {
    struct stat it;
    if (stat(path, &it) == 0 && it.st_ino == failed_inode) failed_inode = 0;
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    int why = below(to) ? verdict(0) : 0;
    if (why > 0) { errno = why; return -1; }
    forget(to);
    return real(from, to);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    int why = below(path) ? verdict(0) : 0;
    if (why > 0) { errno = why; return -1; }
    forget(path);
    return real(path);
}

/* Workers look at the clock in every round. */
int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    const char *flag = getenv("SHIM_HANGS");
    char name[16] = "", path[4096];
    if (flag && prctl(PR_GET_NAME, name) == 0 && strncmp(name, "timely:", 7) == 0) {
        snprintf(path, sizeof path, "%s.%d", flag, getpid());
        while (syscall(SYS_access, path, F_OK) == 0) pause();
    }
    return real(clock, time);
}
