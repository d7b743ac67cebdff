/*-------------------------------------------------------------------------
 *
 * current.h
 *	  The run at hand of this process, as the SQL of its job sees it.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CURRENT_H
#define MJ_CURRENT_H

#include "shmem.h"

/* the executor */
extern void mj_current_begin(int64 run_id, Datum args, bool args_isnull);
extern void mj_current_end(void);

/* whoever is called by the job's SQL */
extern int64 mj_current_run_id(void);
extern bool mj_current_args(Datum *args);
extern void mj_current_progress(int64 done, const int64 *total,
								const char *note);

#endif /* MJ_CURRENT_H */
