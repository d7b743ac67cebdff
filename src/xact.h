/*-------------------------------------------------------------------------
 *
 * xact.h
 *	  What happens at the end of a transaction: waking the workers.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_XACT_H
#define MJ_XACT_H

#include "datatype/timestamp.h"
#include "fmgr.h"

/* For mj_xact_wake(): no lane in particular, the scheduler looks. */
#define MJ_LANE_NONE PG_INT64_MIN
/* The lane of mails. */
#define MJ_LANE_MAIL INT64CONST(0)
/* The lane of HTTP: no role has that oid, for those below 10 are never given. */
#define MJ_LANE_HTTP INT64CONST(1)

/*
 * Is it one of these?  Their executors execute nobody's SQL, have many runs in hand
 * at once, and are one a database.
 */
static inline bool
mj_lane_is_own(int64 lane)
{
	return lane == MJ_LANE_MAIL || lane == MJ_LANE_HTTP;
}

extern void mj_xact_init(void);
extern bool mj_xact_may_commit(FunctionCallInfo fcinfo);
extern void mj_xact_wake(TimestampTz due, int64 lane);
extern void mj_xact_lease(TimestampTz until);
extern void mj_xact_ready(int32 priority, int64 run_id);
extern void mj_xact_ready_anywhere(void);
extern void mj_xact_wake_soon(void);
extern void mj_xact_wake_ready(int64 lane, int64 runs);
extern void mj_xact_wake_other_database(Oid oid);
extern void mj_xact_run_ended(int64 run_id);
extern void mj_xact_unblock_database(void);
extern void mj_xact_block_database(Oid database_oid, bool dropped);

#endif /* MJ_XACT_H */
