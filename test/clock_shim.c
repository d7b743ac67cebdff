/*-------------------------------------------------------------------------
 *
 * clock_shim.c
 *	  Shifts the time of day of a whole server, for tests (LD_PRELOAD).
 *
 * clock_gettime(CLOCK_REALTIME), gettimeofday and time return the real time
 * plus an offset, which every process of the server maps from one file, so a
 * test moves the time by writing eight bytes.  The monotonic clocks, on which
 * waits and durations stand, are left alone.
 *
 * MJ_CLOCK_OFFSET_FILE names the file: the offset in nanoseconds, an int64 in
 * the machine's byte order.  Without it the time is the real one.
 *
 * Build: gcc -O2 -fPIC -shared -o clock_shim.so clock_shim.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

/* The mapped offset; zero_offset until a file is mapped. */
static const int64_t zero_offset = 0;
static const volatile int64_t *offset = &zero_offset;

/*
 * Map the file.  A constructor: runs in the postmaster before main, and its
 * children inherit the mapping, as they fork without exec.
 */
__attribute__((constructor)) static void
map_offset(void)
{
	const char *path = getenv("MJ_CLOCK_OFFSET_FILE");
	void *mapped;
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (mapped != MAP_FAILED)
		offset = mapped;
}

/* The shifted time.  The system call itself: libc's function is this one. */
static void
shifted_now(struct timespec *now)
{
	int64_t shift = *offset;
	int64_t ns;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, now);
	ns = now->tv_nsec + shift % NS_PER_S;
	now->tv_sec += shift / NS_PER_S;
	if (ns < 0)
	{
		ns += NS_PER_S;
		now->tv_sec -= 1;
	}
	else if (ns >= NS_PER_S)
	{
		ns -= NS_PER_S;
		now->tv_sec += 1;
	}
	now->tv_nsec = ns;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
		return syscall(SYS_clock_gettime, clock, now);
	shifted_now(now);
	return 0;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec shifted;

	(void) zone;
	shifted_now(&shifted);
	now->tv_sec = shifted.tv_sec;
	now->tv_usec = shifted.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *result)
{
	struct timespec shifted;

	shifted_now(&shifted);
	if (result != NULL)
		*result = shifted.tv_sec;
	return shifted.tv_sec;
}
