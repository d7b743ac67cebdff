/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  The retry: whether a failed run is tried again, and when.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_RETRY_H
#define MJ_RETRY_H

#include "job_store.h"

extern bool mj_retry_is_valid_on(const char *sqlstate);
extern bool mj_retry_is_worth_it(const MjJob *job, int failures,
								 const char *sqlstate);
extern TimestampTz mj_retry_at(const MjJob *job, int failures, TimestampTz now);

#endif /* MJ_RETRY_H */
