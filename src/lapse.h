/*-------------------------------------------------------------------------
 *
 * lapse.h
 *	  The lapse: what becomes of leases that have run out.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_LAPSE_H
#define MJ_LAPSE_H

#include "datatype/timestamp.h"

extern TimestampTz mj_lapse_pass(TimestampTz now);
extern void mj_lapse_revoke(const int64 *run_ids, int n, const char *reason);

#endif /* MJ_LAPSE_H */
