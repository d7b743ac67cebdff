/*-------------------------------------------------------------------------
 *
 * admission.h
 *	  The admission: what becomes of held runs.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ADMISSION_H
#define MJ_ADMISSION_H

#include "datatype/timestamp.h"

extern bool mj_admission_pass(TimestampTz now, int64 **to_cancel, int *n,
							  TimestampTz *next);

#endif /* MJ_ADMISSION_H */
