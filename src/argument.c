/*-------------------------------------------------------------------------
 *
 * argument.c
 *	  The arguments of an SQL function, those that may be NULL.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "argument.h"

/* A text argument; NULL if it is. */
char *
mj_argument_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* An instant; 0 if it is NULL, and therefore 1 for 2000-01-01 UTC. */
TimestampTz
mj_argument_instant(FunctionCallInfo fcinfo, int n)
{
	TimestampTz instant = PG_ARGISNULL(n) ? 0 : PG_GETARG_TIMESTAMPTZ(n);

	return !PG_ARGISNULL(n) && instant == 0 ? 1 : instant;
}
