/*-------------------------------------------------------------------------
 *
 * alert.h
 *	  The alerts: looked after by the scheduler, now and then.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ALERT_H
#define MJ_ALERT_H

#include "datatype/timestamp.h"

extern TimestampTz mj_alert_look(MemoryContext context, TimestampTz now);
extern bool mj_alert_tell(MemoryContext context, bool *queued);

#endif /* MJ_ALERT_H */
