/*-------------------------------------------------------------------------
 *
 * attempt.h
 *	  The attempt: one execution of a run, and what is written of it.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ATTEMPT_H
#define MJ_ATTEMPT_H

#include "batch.h"
#include "runner.h"

extern void mj_attempt_init(MemoryContext context);
extern void mj_attempt_execute(const MjWork *work);
extern void mj_attempt_record_failure(const MjWork *work,
									  const ErrorData *error);
extern bool mj_attempt_timed_out(void);
extern void mj_attempt_stop_timeouts(void);

/* the parts, for several in one transaction */
extern void mj_attempt_begin(const MjWork *work);
extern void mj_attempt_end(void);
extern void mj_attempt_perform_part(const MjWork *work, MjOutcome *outcome);
extern bool mj_attempt_must_commit_first(void);
extern void mj_attempt_commit_first(void);
extern void mj_attempt_write_success(const MjWork *work,
									 const MjOutcome *outcome);
extern ErrorData *mj_attempt_catch(void);
extern void mj_attempt_resume(void);
extern void mj_attempt_set_failure(const MjWork *work, const ErrorData *error,
								   MjOutcome *outcome);

#endif /* MJ_ATTEMPT_H */
