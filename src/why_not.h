/*-------------------------------------------------------------------------
 *
 * why_not.h
 *	  Why a job will not run, in words.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_WHY_NOT_H
#define MJ_WHY_NOT_H

#include "lib/stringinfo.h"

#include "job_store.h"

extern void mj_why_not_here(bool own_instance, StringInfo reasons);
extern void mj_why_not_job(const MjJob *job, StringInfo reasons);

#endif /* MJ_WHY_NOT_H */
