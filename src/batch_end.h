/*-------------------------------------------------------------------------
 *
 * batch_end.h
 *	  The end of a batch: the run that follows.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_BATCH_END_H
#define MJ_BATCH_END_H

#include "datatype/timestamp.h"

extern bool mj_batch_end_pass(TimestampTz now, bool *open);

#endif /* MJ_BATCH_END_H */
