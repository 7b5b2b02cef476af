/* Preloaded into a test's child process: records what reaches the disk below one folder, and breaks it.
 *
 * Each entry of the log is a fixed header, one or two paths and the data. SQLite's own library is not
 * touched: what is recorded is what the production library does. Writes through shared memory (-shm) do
 * not matter, since SQLite makes that file anew after a crash.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CREATE = 'C', WRITE = 'W', TRUNCATE = 'T', SYNC = 'S', SYNC_FAILED = 'F', UNLINK = 'U', RENAME = 'R',
       MKDIR = 'M', RMDIR = 'D', NOTE = 'N' };

struct __attribute__((packed)) header {
    uint8_t op;
    uint16_t path_bytes, other_bytes;
    uint64_t inode, offset, data_bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[4096];
static size_t folder_bytes;
static int log_file = -1;
static long fail_at, seen;
static int fail_error, fail_for_ever, fail_kinds, fired;

enum { BYTES = 1, NAMES = 2, READS = 4 };

/* --- what tests call ----------------------------------------------------------------------------- */

void disk_record(const char *below, const char *log_path) {
    pthread_mutex_lock(&lock);
    snprintf(folder, sizeof folder, "%s", below);
    folder_bytes = strlen(folder);
    if (log_file >= 0) syscall(SYS_close, log_file);
    log_file = log_path && *log_path
                   ? (int)syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
                   : -1;
    pthread_mutex_unlock(&lock);
}

/* The k-th operation of these kinds from now on fails with this error; 0: none. */
void disk_fail(long k, int error, int for_ever, int kinds) {
    pthread_mutex_lock(&lock);
    fail_at = k;
    seen = 0;
    fired = 0;
    fail_error = error;
    fail_for_ever = for_ever;
    fail_kinds = kinds;
    pthread_mutex_unlock(&lock);
}

int disk_fired(void) { return fired; }

/* --- the log ------------------------------------------------------------------------------------- */

static void put(uint8_t op, const char *path, const char *other, uint64_t inode, uint64_t offset,
                const void *data, uint64_t data_bytes) {
    if (log_file < 0) return;
    struct header head = {op, (uint16_t)strlen(path), (uint16_t)strlen(other), inode, offset,
                          data ? data_bytes : 0};
    size_t size = sizeof head + head.path_bytes + head.other_bytes + head.data_bytes;
    char *entry = malloc(size), *at = entry;
    memcpy(at, &head, sizeof head), at += sizeof head;
    memcpy(at, path, head.path_bytes), at += head.path_bytes;
    memcpy(at, other, head.other_bytes), at += head.other_bytes;
    if (head.data_bytes) memcpy(at, data, head.data_bytes);
    if (syscall(SYS_write, log_file, entry, size) != (long)size) abort();
    free(entry);
}

void disk_note(uint64_t value) {
    pthread_mutex_lock(&lock);
    put(NOTE, "", "", 0, value, NULL, 0);
    pthread_mutex_unlock(&lock);
}

static int ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* Whether the path lies below the folder and matters; makes it relative to the folder. */
static int below(const char *path, char *relative) {
    if (!folder_bytes || strncmp(path, folder, folder_bytes) || (path[folder_bytes] != '/' && path[folder_bytes]))
        return 0;
    const char *rest = path + folder_bytes + (path[folder_bytes] == '/');
    if (ends_with(rest, "-shm") || !strcmp(rest, "lock") || !strncmp(rest, "ballast", 7)) return 0;
    snprintf(relative, 4096, "%s", rest);
    return 1;
}

static int of_file(int file, char *relative, uint64_t *inode) {
    char link[64], path[4096];
    struct stat found;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    if (!below(path, relative) || fstat(file, &found)) return 0;
    *inode = found.st_ino;
    return 1;
}

static int of_name(int at, const char *name, char *relative) {
    char path[8192], link[64];
    if (name[0] == '/') return below(name, relative);
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t size = at == AT_FDCWD ? readlink("/proc/self/cwd", path, 4095) : readlink(link, path, 4095);
    if (size < 0) return 0;
    snprintf(path + size, sizeof path - size, "/%s", name);
    return below(path, relative);
}

/* Called with the lock held, for an operation that matters. */
static int breaks(int kind) {
    if (!fail_at || !(fail_kinds & kind)) return 0;
    seen++;
    if (seen != fail_at && !(fail_for_ever && seen > fail_at)) return 0;
    fired = 1;
    errno = fail_error;
    return 1;
}


/* --- bytes --------------------------------------------------------------------------------------- */

static ssize_t written(int file, const void *data, size_t size, off64_t offset, int positioned) {
    char path[4096];
    uint64_t inode;
    pthread_mutex_lock(&lock);
    int matters = of_file(file, path, &inode);
    ssize_t done = -1;
    if (!matters || !breaks(BYTES)) {
        off64_t at = offset;
        if (!positioned && matters) {
            struct stat found;
            int append = fcntl(file, F_GETFL) & O_APPEND;
            at = append && !fstat(file, &found) ? found.st_size : lseek(file, 0, SEEK_CUR);
        }
        done = positioned ? syscall(SYS_pwrite64, file, data, size, offset) : syscall(SYS_write, file, data, size);
        if (matters && done > 0) put(WRITE, path, "", inode, at, data, done);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t write(int file, const void *data, size_t size) { return written(file, data, size, 0, 0); }
ssize_t pwrite(int file, const void *data, size_t size, off_t offset) { return written(file, data, size, offset, 1); }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) { return written(file, data, size, offset, 1); }

static int truncated(int file, off64_t size) {
    char path[4096];
    uint64_t inode;
    pthread_mutex_lock(&lock);
    int matters = of_file(file, path, &inode), done = -1;
    if (!matters || !breaks(BYTES)) {
        done = (int)syscall(SYS_ftruncate, file, size);
        if (matters && !done) put(TRUNCATE, path, "", inode, size, NULL, 0);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int ftruncate(int file, off_t size) { return truncated(file, size); }
int ftruncate64(int file, off64_t size) { return truncated(file, size); }

static int synced(int file, long call) {
    char path[4096];
    uint64_t inode;
    pthread_mutex_lock(&lock);
    int matters = of_file(file, path, &inode), done = -1;
    int broken = matters && breaks(BYTES);
    if (!broken) done = (int)syscall(call, file);
    int error = errno;
    if (matters) put(done ? SYNC_FAILED : SYNC, path, "", inode, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int fsync(int file) { return synced(file, SYS_fsync); }
int fdatasync(int file) { return synced(file, SYS_fdatasync); }

/* Nothing is recorded of what is only read. */
static ssize_t got(int file, void *data, size_t size, off64_t offset, int positioned) {
    char path[4096];
    uint64_t inode;
    if (fail_at) {
        pthread_mutex_lock(&lock);
        int broken = of_file(file, path, &inode) && breaks(READS), error = errno;
        pthread_mutex_unlock(&lock);
        errno = error;
        if (broken) return -1;
    }
    return positioned ? syscall(SYS_pread64, file, data, size, offset) : syscall(SYS_read, file, data, size);
}

ssize_t read(int file, void *data, size_t size) { return got(file, data, size, 0, 0); }
ssize_t pread(int file, void *data, size_t size, off_t offset) { return got(file, data, size, offset, 1); }
ssize_t pread64(int file, void *data, size_t size, off_t offset) { return got(file, data, size, offset, 1); }

/* --- names --------------------------------------------------------------------------------------- */

static int opened(int at, const char *name, int flags, mode_t mode) {
    char path[4096];
    if (!(flags & (O_CREAT | O_TRUNC)) || !of_name(at, name, path))
        return (int)syscall(SYS_openat, at, name, flags, mode);
    pthread_mutex_lock(&lock);
    int existed = !syscall(SYS_faccessat, at, name, F_OK);
    int file = !existed && breaks(NAMES) ? -1 : (int)syscall(SYS_openat, at, name, flags, mode), error = errno;
    struct stat found;
    if (file >= 0 && !fstat(file, &found)) {
        if (!existed) put(CREATE, path, "", found.st_ino, 0, NULL, 0);
        else if (flags & O_TRUNC) put(TRUNCATE, path, "", found.st_ino, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return file;
}

#define OPEN(function, first, at)                                     \
    int function(first const char *name, int flags, ...) {            \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                  \
        return opened(at, name, flags, mode);                          \
    }
#define NOTHING
#define FOLDER int folder_file,
OPEN(open, NOTHING, AT_FDCWD)
OPEN(open64, NOTHING, AT_FDCWD)
OPEN(openat, FOLDER, folder_file)
OPEN(openat64, FOLDER, folder_file)

static int named(uint8_t op, int at, const char *name, int other_at, const char *other_name, long call, long mode) {
    char path[4096], other[4096] = "";
    int matters = of_name(at, name, path) && (!other_name || of_name(other_at, other_name, other));
    long result = matters && breaks(NAMES) ? -1
                  : other_name             ? syscall(call, at, name, other_at, other_name, mode)
                                           : syscall(call, at, name, mode);
    int error = errno;
    if (!result && matters) put(op, path, other, 0, 0, NULL, 0);
    errno = error;
    return (int)result;
}

#define LOCKED(expression)                    \
    pthread_mutex_lock(&lock);                \
    int done = expression;                    \
    pthread_mutex_unlock(&lock);              \
    return done

int unlinkat(int at, const char *name, int flags) {
    LOCKED(named(flags & AT_REMOVEDIR ? RMDIR : UNLINK, at, name, 0, NULL, SYS_unlinkat, flags));
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int mkdirat(int at, const char *name, mode_t mode) {
    LOCKED(named(MKDIR, at, name, 0, NULL, SYS_mkdirat, mode));
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
int renameat(int at, const char *name, int to, const char *new_name) {
    LOCKED(named(RENAME, at, name, to, new_name, SYS_renameat2, 0));
}
int rename(const char *name, const char *new_name) { return renameat(AT_FDCWD, name, AT_FDCWD, new_name); }
