/*-------------------------------------------------------------------------
 *
 * fault.c
 *	  Fault points: places at which tests make a process die, fail or wait.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fault.h"

#ifdef MJ_TESTING

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#define FAULT_DIR "motionify_jobs_faults"

/* How often a process that waits at a point looks whether it may go on. */
#define LOOK_AGAIN_MS 10L

/*
 * What is to happen at a point, without the end of the line; false: nothing.
 */
static bool
read_action(const char *path, char *action, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, action, size - 1);
	(void) close(fd);
	if (n <= 0)
		return false;
	action[n] = '\0';
	action[strcspn(action, "\n")] = '\0';
	return true;
}

/* Cut ":once" off; returns whether it was there. */
static bool
take_once(char *action)
{
	char *colon = strchr(action, ':');

	if (colon == NULL || strcmp(colon, ":once") != 0)
		return false;
	*colon = '\0';
	return true;
}

/* Leave word that this process is the one. */
static void
leave_word(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char pid[16];
	int length = snprintf(pid, sizeof(pid), "%d\n", MyProcPid);

	if (fd < 0)
		return;
	if (write(fd, pid, length) != length)
		ereport(LOG, (errmsg("could not write file \"%s\": %m", path)));
	(void) close(fd);
}

/*
 * Wait until the file is gone.  The latch is set again at the end: who set it
 * meanwhile had something to say.
 */
static void
wait_while(const char *path)
{
	while (access(path, F_OK) == 0)
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_AGAIN_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	SetLatch(MyLatch);
}

/* Do it. */
static void
act(const char *point, const char *path, const char *action)
{
	if (strcmp(action, "crash") == 0)
		(void) kill(MyProcPid, SIGKILL);
	else if (strcmp(action, "exit") == 0)
		proc_exit(1);
	else if (strcmp(action, "wait") == 0)
		wait_while(path);
	else if (strcmp(action, "error") == 0 || strcmp(action, "fatal") == 0)
		ereport(action[0] == 'f' ? FATAL : ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("fault at point \"%s\"", point)));
	else
		ereport(LOG,
				(errmsg("fault point \"%s\" does not know \"%s\"", point,
						action)));
}

/*
 * A process comes by a point.  Any process, with no LWLock held; what it holds
 * otherwise is what the test is about.
 */
void
mj_fault(const char *point)
{
	char path[MAXPGPATH];
	char hit[MAXPGPATH];
	char action[32];

	snprintf(path, sizeof(path), "%s/%s", FAULT_DIR, point);
	if (!read_action(path, action, sizeof(action)))
		return;
	snprintf(hit, sizeof(hit), "%s.hit", path);
	if (take_once(action) && rename(path, hit) != 0)
		return; /* another process was the first */
	leave_word(hit);
	act(point, path, action);
}

/* Is there a file for a point?  For switches. */
bool
mj_fault_is_set(const char *point)
{
	char path[MAXPGPATH];

	snprintf(path, sizeof(path), "%s/%s", FAULT_DIR, point);
	return access(path, F_OK) == 0;
}

#endif /* MJ_TESTING */
