/* Preloaded: the disk below the folder SICK_BELOW refuses every change, or takes long to sync, as the file
 * that SICK_DISK names says at the moment: an errno (0: none) and milliseconds for each sync. Reading goes on. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile struct { int32_t error, sync_ms; } *sick;
static const char *folder;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("SICK_DISK");
	folder = getenv("SICK_BELOW");
	int file = path && folder ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
	if (file >= 0) {
		void *page = mmap(NULL, sizeof(*sick), PROT_READ, MAP_SHARED, file, 0);
		sick = page == MAP_FAILED ? NULL : page;
		close(file);
	}
}

static int is_below(const char *path)
{
	size_t size = strlen(folder);
	return !strncmp(path, folder, size) && (path[size] == '/' || !path[size]);
}

/* Whether an open file lies there. */
static int holds(int file)
{
	char link[64], path[4096];
	snprintf(link, sizeof link, "/proc/self/fd/%d", file);
	ssize_t size = readlink(link, path, sizeof path - 1);
	if (size < 0)
		return 0;
	path[size] = 0;
	return is_below(path);
}

static int refused(int matters)
{
	if (!matters)
		return 0;
	errno = sick->error;
	return 1;
}

#define FILE_REFUSED(file) (sick && sick->error && refused(holds(file)))
#define NAME_REFUSED(name) (sick && sick->error && refused(is_below(name)))

ssize_t write(int file, const void *data, size_t size)
{
	return FILE_REFUSED(file) ? -1 : syscall(SYS_write, file, data, size);
}
ssize_t pwrite(int file, const void *data, size_t size, off_t offset)
{
	return FILE_REFUSED(file) ? -1 : syscall(SYS_pwrite64, file, data, size, offset);
}
ssize_t pwrite64(int file, const void *data, size_t size, off_t offset) { return pwrite(file, data, size, offset); }
int ftruncate(int file, off_t size) { return FILE_REFUSED(file) ? -1 : (int)syscall(SYS_ftruncate, file, size); }
int ftruncate64(int file, off_t size) { return ftruncate(file, size); }

static int synced(int file, long call)
{
	if (FILE_REFUSED(file))
		return -1;
	if (sick && sick->sync_ms && holds(file)) {
		struct timespec wait = {sick->sync_ms / 1000, sick->sync_ms % 1000 * 1000000L};
		nanosleep(&wait, NULL);
	}
	return (int)syscall(call, file);
}
int fsync(int file) { return synced(file, SYS_fsync); }
int fdatasync(int file) { return synced(file, SYS_fdatasync); }

static int opened(const char *name, int flags, mode_t mode)
{
	int changes = flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR);
	return changes && NAME_REFUSED(name) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode);
}
#define OPEN(function)                                                          \
	int function(const char *name, int flags, ...)                          \
	{                                                                       \
		va_list rest;                                                   \
		va_start(rest, flags);                                          \
		mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
		va_end(rest);                                                   \
		return opened(name, flags, mode);                               \
	}
OPEN(open)
OPEN(open64)

int unlink(const char *name) { return NAME_REFUSED(name) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, name, 0); }
int mkdir(const char *name, mode_t mode)
{
	return NAME_REFUSED(name) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode);
}
int rename(const char *name, const char *other)
{
	return NAME_REFUSED(name) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, name, AT_FDCWD, other, 0);
}
