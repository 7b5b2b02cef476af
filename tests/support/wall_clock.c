/* Preloaded: shifts the wall clock, and nothing else, by the nanoseconds in the file WALL_CLOCK names.
 * Monotonic time, sleeps and time-outs of the kernel do not notice. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift_ns;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("WALL_CLOCK");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (file >= 0) {
		void *page = mmap(NULL, sizeof(*shift_ns), PROT_READ, MAP_SHARED, file, 0);
		shift_ns = page == MAP_FAILED ? NULL : page;
		close(file);
	}
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int failed = (int)syscall(SYS_clock_gettime, clock, now);
	if (!failed && clock == CLOCK_REALTIME && shift_ns) {
		int64_t ns = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + *shift_ns;
		now->tv_sec = ns / 1000000000;
		now->tv_nsec = ns % 1000000000;
	}
	return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec exact;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &exact);
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *place)
{
	struct timespec exact;
	clock_gettime(CLOCK_REALTIME, &exact);
	if (place)
		*place = exact.tv_sec;
	return exact.tv_sec;
}
