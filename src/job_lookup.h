/*-------------------------------------------------------------------------
 *
 * job_lookup.h
 *	  The job that a caller names: found, or an error that names the nearest.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_JOB_LOOKUP_H
#define MJ_JOB_LOOKUP_H

#include "job_store.h"

extern void mj_job_require(const char *name, MjJob *job);
extern void mj_job_require_locked(const char *name, MjJob *job);
extern void mj_job_lookup_failed(const char *name);
extern void mj_job_check_own(const MjJob *job);
extern void mj_job_check_runs_here(const MjJob *job);

#endif /* MJ_JOB_LOOKUP_H */
