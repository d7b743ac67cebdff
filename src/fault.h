/*-------------------------------------------------------------------------
 *
 * fault.h
 *	  Fault points: places at which tests make a process die, fail or wait.
 *
 * Only in a build with -DMJ_TESTING; in any other a point is nothing.
 *
 * What happens at a point is the text of a file named after it in the
 * directory motionify_jobs_faults of the data directory.  It is looked for
 * each time that a process comes by, so it holds at once, for every process,
 * and over a restart.  It is put there whole, by renaming.
 *
 *	crash	the process kills itself by SIGKILL: the server restarts
 *	exit	it ends, with exit code 1, as if it had failed
 *	error	it raises an error
 *	fatal	it raises an error that ends it
 *	wait	it waits until the file is gone, or until it is terminated or
 *			cancelled
 *
 * With ":once" after it, it happens to the first process that comes by, and
 * to no other, also after a restart: who renames the file is the one.
 *
 * Some points are switches: what the code does otherwise while there is a file.
 *
 * The file POINT.hit has the pid of the process to which it happened last.
 *
 * A point stands where no LWLock is held.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_FAULT_H
#define MJ_FAULT_H

#ifdef MJ_TESTING
extern void mj_fault(const char *point);
extern bool mj_fault_is_set(const char *point);
#define MJ_FAULT(point) mj_fault(point)
#define MJ_FAULT_IS_SET(point) mj_fault_is_set(point)
#else
#define MJ_FAULT(point) ((void) 0)
#define MJ_FAULT_IS_SET(point) false
#endif

#endif /* MJ_FAULT_H */
