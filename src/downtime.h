/*-------------------------------------------------------------------------
 *
 * downtime.h
 *	  The downtime: something was due, and no scheduler was there.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_DOWNTIME_H
#define MJ_DOWNTIME_H

#include "datatype/timestamp.h"

extern void mj_downtime_notice(TimestampTz now);

#endif /* MJ_DOWNTIME_H */
