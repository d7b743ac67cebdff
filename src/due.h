/*-------------------------------------------------------------------------
 *
 * due.h
 *	  The due job: what becomes of the instants of its schedule, and of the
 *	  successes that it waits for.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_DUE_H
#define MJ_DUE_H

#include "job_store.h"
#include "queue_store.h"

extern void mj_due_new_run(const MjJob *job, TimestampTz due_at,
						   const char *trigger, TimestampTz now, MjRun *run);
extern bool mj_due_is_off(const MjJob *job);
extern int mj_due_count(const MjJob *job, TimestampTz now);
extern void mj_due_start(MjJob *job, TimestampTz now);
extern void mj_due_rehearse(void);
extern bool mj_due_fire(TimestampTz now, int limit);
extern bool mj_due_follow(TimestampTz now);

#endif /* MJ_DUE_H */
