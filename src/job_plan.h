/*-------------------------------------------------------------------------
 *
 * job_plan.h
 *	  The plan of a job: its next instant, and where that comes from.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_JOB_PLAN_H
#define MJ_JOB_PLAN_H

#include "job_store.h"
#include "schedule.h"

extern bool mj_plan_open(const MjJob *job, MjTimetable *timetable,
						 MjProblem *problem);
extern bool mj_plan_is_open(const MjJob *job);
extern TimestampTz mj_plan_next(const MjJob *job, TimestampTz after);
extern void mj_plan_job(MjJob *job);

#endif /* MJ_JOB_PLAN_H */
