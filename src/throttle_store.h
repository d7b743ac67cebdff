/*-------------------------------------------------------------------------
 *
 * throttle_store.h
 *	  The throttle: which starts count for the limits of jobs (jobs.throttle).
 *
 * Only the scheduler writes it; all functions need a transaction, and open
 * their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_THROTTLE_STORE_H
#define MJ_THROTTLE_STORE_H

#include "datatype/timestamp.h"

extern void mj_throttle_settle(void);
extern TimestampTz mj_throttle_next(TimestampTz now);
extern int64 mj_throttle_prune(TimestampTz now, int limit);

#endif /* MJ_THROTTLE_STORE_H */
