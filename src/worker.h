/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The worker process: how one starts, waits, is asked to leave, and ends.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_WORKER_H
#define MJ_WORKER_H

#include <signal.h>

#include "postmaster/bgworker.h"

#include "shmem.h"

/* Why a wait ended. */
typedef enum MjWake
{
	MJ_WAKE_LATCH,
	MJ_WAKE_TIMEOUT
} MjWake;

/* A run that was cancelled may go on for so long; then its process is ended. */
#define MJ_CANCEL_GRACE_US (10 * USECS_PER_SEC)

/* Sleeps end at least this often, to notice steps of the clock. */
#define MJ_MAX_SLEEP_MS 60000L

extern bool mj_worker_register(MjSlot *slot, BackgroundWorkerHandle **handle);
extern void mj_worker_attach(Datum main_arg);
/* SIGINT means something: a command, or a tick, is under way. */
extern volatile sig_atomic_t mj_worker_cancellable;

/* SIGTERM has come: what ends now was told to. */
extern volatile sig_atomic_t mj_worker_told_to_end;

extern void mj_worker_signals(void);
extern bool mj_worker_reload(void);
extern MjWake mj_worker_wait(long timeout_ms, bool *reloaded);
extern void mj_worker_begin(MemoryContext context, bool durable);
extern void mj_worker_commit(MemoryContext context);
extern void mj_worker_tell_held_up(MemoryContext context, MjHeldUp what,
								   bool held_up);
extern bool mj_worker_do_bounded(MemoryContext context, bool durable,
								 MjHeldUp what, void (*work)(void *),
								 void *arg);
extern bool mj_worker_is_unsettled(void);
extern void mj_worker_finish(void);
extern bool mj_worker_must_leave(void);
extern bool mj_run_cancel(int64 run_id, const char *reason);
extern bool mj_worker_is_cancelled(char *reason);
extern TimestampTz mj_worker_end_stubborn(TimestampTz now);
extern void mj_worker_yield_database(Oid database);
extern void mj_worker_evict_database(Oid database);

#endif /* MJ_WORKER_H */
