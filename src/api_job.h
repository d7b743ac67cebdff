/*-------------------------------------------------------------------------
 *
 * api_job.h
 *	  The SQL functions that define jobs: schedule, reschedule, unschedule;
 *	  pause and resume.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_API_JOB_H
#define MJ_API_JOB_H

#include "job_store.h"

extern void mj_job_plan(MjJob *job);

#endif /* MJ_API_JOB_H */
