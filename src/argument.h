/*-------------------------------------------------------------------------
 *
 * argument.h
 *	  The arguments of an SQL function, those that may be NULL.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ARGUMENT_H
#define MJ_ARGUMENT_H

#include "datatype/timestamp.h"
#include "fmgr.h"

extern char *mj_argument_text(FunctionCallInfo fcinfo, int n);
extern TimestampTz mj_argument_instant(FunctionCallInfo fcinfo, int n);

#endif /* MJ_ARGUMENT_H */
