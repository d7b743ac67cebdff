/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  Shared memory: worker slots, databases, lanes that want executors, and
 *	  requests of run_now().
 *
 * One LWLock guards it all.  It is never held over SPI, catalog access, a
 * wait or an ereport.  Nothing here is the truth: after a crash restart it
 * starts empty, and everything is found again in the tables.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_SHMEM_H
#define MJ_SHMEM_H

#include <signal.h>

#include "datatype/timestamp.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "rate.h"

/* Bytes of the reason why a run was cancelled. */
#define MJ_REASON_SIZE 160

/* What a slot's process is. */
typedef enum MjWorkerKind
{
	MJ_WORKER_SCHEDULER,
	MJ_WORKER_EXECUTOR,
	MJ_WORKER_GUEST /* a client backend that sends mail itself */
} MjWorkerKind;

typedef enum MjSlotState
{
	MJ_SLOT_FREE,
	MJ_SLOT_STARTING, /* registered by the launcher, not attached */
	MJ_SLOT_IDLE,	  /* attached, waiting on its latch */
	MJ_SLOT_BUSY	  /* attached, at work */
} MjSlotState;

/* Bytes of a note at most. */
#define MJ_MAX_NOTE 127

/* How far a run is, by its own account. */
typedef struct MjProgress
{
	bool reported; /* else nothing of the rest counts */
	bool has_total;
	int64 done;
	int64 total;
	char note[MJ_MAX_NOTE + 1]; /* in the database's encoding */
} MjProgress;

/* A place in the order in which the runs of a lane are claimed. */
typedef struct MjKey
{
	int32 priority;
	int64 run_id;
} MjKey;

/* Runs that an executor claims in one go, at most. */
#define MJ_MAX_BATCH 60

/* A run that an executor has claimed, and that is not the one at hand. */
typedef struct MjClaim
{
	int64 run_id;
	bool begun;			   /* and over, but its transaction goes on */
	TimestampTz cancel_at; /* it is to end as cancelled; 0 = not */
	char cancel_reason[MJ_REASON_SIZE];
} MjClaim;

/* Calls of all HTTP executors that are in hand at once, at most. */
#define MJ_MAX_FLIGHTS 1024

/* A run that an HTTP executor has in hand, of which it has many.  run_id 0 = free. */
typedef struct MjFlight
{
	int64 run_id;
	int64 worker_id;
} MjFlight;

/* Flights that are cancelled, and not yet given up, at most. */
#define MJ_MAX_CANCELLED_FLIGHTS MJ_MAX_FLIGHTS

/* That a flight was cancelled.  run_id 0 = free. */
typedef struct MjCancelledFlight
{
	MjFlight flight;
	char reason[MJ_REASON_SIZE];
} MjCancelledFlight;

/* One worker.  Written by its process, and by the launcher at start. */
typedef struct MjSlot
{
	MjSlotState state;
	MjWorkerKind kind;
	int64 worker_id; /* boot id << 32 | counter: never used twice */
	Oid database;
	int64 lane;			   /* of an executor */
	int pid;			   /* 0 until attached */
	int procno;			   /* index of its PGPROC, for its latch */
	int64 run_id;		   /* run at hand, 0 = none */
	int suspect;		   /* crashes of the run at hand, while they count */
	TimestampTz cancel_at; /* when the run at hand was cancelled, 0 = not */
	bool ending;		   /* and its process told to end, for it went on */
	char cancel_reason[MJ_REASON_SIZE];
	int nclaims;				 /* runs that come after the one at hand */
	int share;					 /* runs to claim next: set when it is woken */
	volatile sig_atomic_t stuck; /* they wait long; by a signal handler */
	MjKey floor;				 /* no ready run of its lane is before */
	bool claims_now;			 /* a claim is under way */
	MjKey arrived;				 /* first run that became ready meanwhile */
	bool yield;					 /* asked to leave when it is done */
	bool make_way;				 /* as yield, but only if it is the first of
								 * those that were asked */
	TimestampTz idle_since;		 /* while MJ_SLOT_IDLE */
	MjProgress progress;		 /* of the run at hand */
	int connections;			 /* to the SMTP server */
	bool listens;				 /* at work, but to be woken for more */
	volatile sig_atomic_t has_cancelled; /* flights: it is to look at them */
} MjSlot;

/* What waits for a lock on the extension's tables. */
typedef enum MjHeldUp
{
	MJ_HELD_UP_TICK = 1,
	MJ_HELD_UP_PRUNE = 2,
	MJ_HELD_UP_CLAIM = 4,
	MJ_HELD_UP_RECORD = 8
} MjHeldUp;

/*
 * Alerts are looked at so often at most, and not before what has just begun to
 * happen had so much time to come to an end.
 */
#define MJ_ALERT_EVERY_US (60 * USECS_PER_SEC)
#define MJ_ALERT_GATHER_US (5 * USECS_PER_SEC)

/* What is known of a database.  oid 0 = free entry. */
typedef struct MjDatabase
{
	Oid oid;
	bool wake;				/* something was committed; look at the tables */
	bool urgent;			/* and do so now, not some milliseconds later */
	bool reported;			/* "n jobs active" was logged since the start */
	bool copy_reported;		/* that it is a copy was logged */
	int held_up;			/* MjHeldUp bits: was logged, and is not over */
	uint32 reloads;			/* calls of jobs.reload() */
	bool resume_mail;		/* mail that may not be sent is to be tried */
	bool held;				/* runs wait for others to end */
	bool batches;			/* batches wait for their runs to end */
	bool drained;			/* no run is started, see jobs.drain() */
	int blocked;			/* DDL statements that keep workers away */
	int blocker_pid;		/* process of the last of them */
	TimestampTz next_due;	/* DT_NOEND = nothing known to be due */
	TimestampTz alerts_at;	/* when alerts were looked at last */
	TimestampTz alert_due;	/* when they are to be next, for something has
							 * happened since; DT_NOEND = nothing has */
	TimestampTz lease_due;	/* earliest end of the leases that were given since
							 * the scheduler looked at them; DT_NOEND = none */
	int failures;			/* scheduler exits in error, in a row */
	TimestampTz not_before; /* no scheduler is started before */
	TimestampTz last_start; /* of a scheduler */
	MjBucket mail;			/* tokens of motionify_jobs.smtp_rate */
} MjDatabase;

/* A lane that wants executors. database 0 = free entry. */
typedef struct MjLane
{
	Oid database;
	int64 lane;
	int wanted;				/* free executors that its ready runs could
								 * use */
	TimestampTz since;		/* waiting for an executor since; 0 = has one */
	int failures;			/* executor starts that failed, in a row */
	TimestampTz not_before; /* no executor is started before */
} MjLane;

typedef enum MjRequestState
{
	MJ_REQUEST_FREE,
	MJ_REQUEST_NEW,	   /* the scheduler has not committed it yet */
	MJ_REQUEST_QUEUED, /* committed */
	MJ_REQUEST_ENDED,  /* an attempt is in the log */
	MJ_REQUEST_REFUSED /* the scheduler could not: the job is gone */
} MjRequestState;

/* A run_now() that waits. */
typedef struct MjRequest
{
	MjRequestState state;
	Oid database;
	int64 job_id;
	int64 run_id;	 /* taken from the sequence by the caller */
	dsm_handle args; /* jsonb; DSM_HANDLE_INVALID = none */
	Size args_size;	 /* bytes */
	int caller_procno;
} MjRequest;

#define MJ_MAX_LANES 1024
#define MJ_MAX_REQUESTS 128
#define MJ_MAX_GUESTS 64

typedef struct MjShared
{
	LWLock *lock;
	int launcher_procno; /* -1 = not running */
	int launcher_pid;
	TimestampTz started_at; /* of the launcher's first start */
	uint32 boot_id;
	uint32 worker_counter;
	int nslots;
	int ndatabases;
	bool databases_full_logged;
	MjRequest requests[MJ_MAX_REQUESTS];
	MjLane lanes[MJ_MAX_LANES];
	MjFlight flights[MJ_MAX_FLIGHTS];
	MjCancelledFlight cancelled_flights[MJ_MAX_CANCELLED_FLIGHTS];
	/* arrays of nslots, ndatabases and nslots * MJ_MAX_BATCH follow */
} MjShared;

extern MjShared *mj_shared; /* NULL: not preloaded */
extern MjSlot *mj_slots;
extern MjDatabase *mj_database_table;
extern MjSlot *mj_my_slot; /* NULL: this process has none */

extern void mj_shmem_init(void);
extern bool mj_shmem_available(void);
extern void mj_lock(void);
extern void mj_unlock(void);
extern Latch *mj_latch_of(int procno);
extern int mj_my_procno(void);

/* slots; lock held unless said otherwise */
extern MjSlot *mj_slot_reserve(MjWorkerKind kind, Oid database, int64 lane);
extern MjSlot *mj_slot_acquire_guest(void); /* takes the lock */
extern void mj_slot_release_guest(void);	/* takes the lock */
extern void mj_slot_clear(MjSlot *slot);
extern MjSlot *mj_slot_find(int64 worker_id);
extern MjSlot *mj_slot_of_run(int64 run_id);
extern MjClaim *mj_slot_claim(MjSlot *slot, int64 run_id);
extern void mj_slot_release_claims(MjSlot *slot);
extern bool mj_slot_holds(MjSlot *slot, int64 run_id);
extern int mj_slot_count(MjWorkerKind kind, Oid database, int64 lane);
extern void mj_slot_set_latch(const MjSlot *slot);
extern void mj_slot_set_state(MjSlotState state); /* takes it */
extern void mj_slot_drop_run(MjSlot *slot);
extern bool mj_slot_take_suspect(int crashes, int last); /* takes it */

/* claims of this process; each takes the lock */
extern void mj_claims_publish(const int64 *run_ids, int n);
extern bool mj_claims_begin(int64 run_id, bool keep);
extern void mj_claims_end_group(const int64 *done, int n);
extern bool mj_claims_has(int64 run_id);
extern int mj_claims_drop(void);

/* flights of this process; each takes the lock */
extern int mj_flights_room(void);
extern void mj_flights_begin(const int64 *run_ids, int n, int *places);
extern void mj_flights_end(const int *places, int n);
extern int mj_flights_take_cancelled(MjCancelledFlight *taken);

/* flights; lock held */
extern MjSlot *mj_flight_slot(int64 run_id);
extern bool mj_flight_cancel(int64 run_id, const char *reason);

/* databases; lock held */
extern MjDatabase *mj_database_find(Oid oid);
extern bool mj_database_is_closed(Oid oid);
extern MjDatabase *mj_database_enter(Oid oid);
extern void mj_database_forget(Oid oid);
extern void mj_database_resume_mail(Oid oid);
extern bool mj_database_take_resume(Oid oid);
extern bool mj_database_stir(MjDatabase *entry);

/* mail of this database; each takes the lock */
extern int64 mj_mail_take_token(double rate, int64 now_us);
extern bool mj_mail_connections_add(int n, int most);
extern int mj_mail_connections_share(int most);

/* lanes; lock held */
extern MjLane *mj_lane_find(Oid database, int64 lane);
extern MjLane *mj_lane_enter(Oid database, int64 lane);

/* waking; each takes the lock */
extern void mj_wake_launcher(void);
extern void mj_wake_database(Oid oid, TimestampTz due);
extern void mj_wake_database_soon(Oid oid);
extern bool mj_wake_lane(Oid database, int64 lane, int nruns);
extern void mj_lane_want_second(void);
extern void mj_wake_if_held(Oid oid);
extern void mj_note_lease(Oid oid, TimestampTz until);
extern void mj_request_end(int64 run_id, MjRequestState state);

#endif /* MJ_SHMEM_H */
