/*-------------------------------------------------------------------------
 *
 * override.h
 *	  The setting motionify_jobs.schedule_override: is it what it must be?
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_OVERRIDE_H
#define MJ_OVERRIDE_H

#include "utils/guc.h"

extern bool mj_override_check(char **newval, void **extra, GucSource source);

#endif /* MJ_OVERRIDE_H */
