/*-------------------------------------------------------------------------
 *
 * changes.h
 *	  Changes around the jobs: starts of the server, settings, the clock.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CHANGES_H
#define MJ_CHANGES_H

#include "datatype/timestamp.h"

extern bool mj_changes_notice(TimestampTz now, TimestampTz seen);

#endif /* MJ_CHANGES_H */
