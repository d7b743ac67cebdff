/*-------------------------------------------------------------------------
 *
 * caller.h
 *	  The caller: takes HTTP runs from the queue, has them made, records what
 *	  became of them.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CALLER_H
#define MJ_CALLER_H

#include "queue_store.h"

extern int mj_caller_run(int64 worker_id);
extern bool mj_caller_has_begun(int64 run_id);
extern void mj_caller_leave(void);
extern long mj_caller_rest(void);

#endif /* MJ_CALLER_H */
