/*-------------------------------------------------------------------------
 *
 * moment.h
 *	  Instants and spans of time, as people read them.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MOMENT_H
#define MJ_MOMENT_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

/* Enough for what is written here. */
#define MJ_MOMENT_SIZE 64

extern void mj_moment_span(char *text, int64 span);
extern void mj_moment_distance(char *text, TimestampTz at, TimestampTz now);
extern bool mj_moment_json(StringInfo out, TimestampTz at, const char *zone,
						   TimestampTz now);

#endif /* MJ_MOMENT_H */
