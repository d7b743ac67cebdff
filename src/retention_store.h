/*-------------------------------------------------------------------------
 *
 * retention_store.h
 *	  The retention: what is not kept of the log of attempts (jobs.run_log).
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_RETENTION_STORE_H
#define MJ_RETENTION_STORE_H

#include "datatype/timestamp.h"

extern int64 mj_retention_prune(TimestampTz now, TimestampTz before, int limit);

#endif /* MJ_RETENTION_STORE_H */
