/*-------------------------------------------------------------------------
 *
 * expiry_store.h
 *	  The expiry: runs of jobs.queue that have not started in time.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_EXPIRY_STORE_H
#define MJ_EXPIRY_STORE_H

#include "datatype/timestamp.h"

/* Runs that mj_expiry_end() ends in one go. */
#define MJ_EXPIRY_LIMIT 1000

extern int mj_expiry_end(TimestampTz now);
extern TimestampTz mj_expiry_next(void);

#endif /* MJ_EXPIRY_STORE_H */
