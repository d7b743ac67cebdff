/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  The clock: the only place where the extension reads the time of day.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CLOCK_H
#define MJ_CLOCK_H

#include "datatype/timestamp.h"

extern TimestampTz mj_clock_now(void);
extern TimestampTz mj_clock_real(void);
extern TimestampTz mj_clock_us_until(TimestampTz instant,
									 TimestampTz at_most_us);
extern long mj_clock_ms_until(TimestampTz instant, long at_most_ms);
extern void mj_clock_init(void);

#endif /* MJ_CLOCK_H */
