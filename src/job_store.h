/*-------------------------------------------------------------------------
 *
 * job_store.h
 *	  Job definitions and what the scheduler keeps of them (jobs.job,
 *	  jobs.job_state, jobs.instance).
 *
 * All functions need a transaction.  They open their own store scope.
 * Lock order: job, job_state, queue.  Whatever changes what next_run_at means
 * (schedule, zone, enabled, pause) also writes job_state, so a scheduler that
 * has locked a state knows that the definition it has read holds.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_JOB_STORE_H
#define MJ_JOB_STORE_H

#include "datatype/timestamp.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "queue_store.h"

/* The name that mail runs go by in history; no job may have it. */
#define MJ_MAIL_JOB_NAME "mail"

/* A job: its definition and its state.  Strings in the caller's context. */
typedef struct MjJob
{
	int64 job_id;
	const char *name;
	const char *description;	   /* may be NULL */
	const char *job_group;		   /* may be NULL */
	const char *schedule;		   /* NULL: on demand */
	const char *schedule_override; /* takes its place; may be NULL */
	const char *planned;  /* what it goes by: an override, else schedule */
	const char *timezone; /* NULL: motionify_jobs.timezone */
	TimestampTz anchor;	  /* of @every; 0: none of its own */
	Interval *jitter;	  /* NULL: none */
	int32 max_runs;		  /* of the schedule; 0: no end */
	const char *command;
	const char *role;
	bool enabled;
	const char *overlap;		 /* skip, queue, allow, replace */
	int32 max_running;			 /* with allow; 0: no limit */
	const char *concurrency_key; /* may be NULL */
	int32 throttle_limit;		 /* starts in each period; 0: no limit */
	Interval *throttle_period;	 /* NULL if there is no limit */
	Interval *history_retention; /* NULL: the setting */
	const char *history_keep;	 /* all, failures */
	int32 history_keep_last;	 /* attempts; 0: no limit */
	bool isolated;				 /* each run has a process of its own */
	bool group_commit;			 /* runs of it may share a transaction */
	bool external;				 /* done by workers outside of the server */
	bool http;					 /* done by a call of its URL */
	const char *url;			 /* of an http job; else NULL, as the next */
	const char *method;			 /* NULL: POST */
	Jsonb *headers;				 /* an object of texts; NULL: none */
	const char *ping_url;		 /* told how its runs go; NULL: none is */
	bool has_successors;		 /* jobs that run after it */
	const char *catch_up;		 /* once, skip, all */
	Interval *timeout;			 /* NULL: none */
	int32 max_attempts;
	const char *backoff; /* fixed, linear, exponential */
	Interval *backoff_base;
	Interval *backoff_cap; /* NULL: none of its own */
	double backoff_jitter; /* 0 to 1 */
	ArrayType *retry_on;   /* text[] of SQLSTATEs and classes; NULL: all */
	int32 priority;
	int32 version; /* of the command */
	bool paused;
	const char *pause_reason; /* may be NULL */
	bool foreign_origin;	  /* defined by another instance: does not run */
	/* state; zero if there is no row, as after a restore */
	TimestampTz next_run_at; /* 0: none */
	TimestampTz last_due_at; /* 0: none */
	int32 runs;				 /* that the schedule has made */
	TimestampTz clock_was;	 /* of this database: see MjMemory */
	Oid role_oid;
	bool changed_here; /* written by the current transaction */
} MjJob;

/* A job's name and whose it is. */
typedef struct MjJobName
{
	const char *name;
	const char *role;
	Oid role_oid; /* InvalidOid: no state */
} MjJobName;

/* What failed of a job lately. */
typedef struct MjJobFailures
{
	const char *name;
	int64 attempts;
	const char *last_error;
} MjJobFailures;

/* A job's new state, for mj_job_set_states(). */
typedef struct MjJobState
{
	int64 job_id;
	TimestampTz next_run_at; /* 0: none */
	TimestampTz last_due_at; /* 0: leave it */
} MjJobState;

/* definitions: called by the SQL surface, which has checked the rights */
extern bool mj_job_find(const char *name, MjJob *job);
extern bool mj_job_find_locked(const char *name, MjJob *job);
extern bool mj_job_by_id(int64 job_id, MjJob *job);
extern void mj_job_warm(void);
extern void mj_job_to_execute(const MjRun *runs, int n, MjJob *jobs,
							  bool *found);
extern bool mj_job_to_enqueue(const char *name, MjJob *job);
extern bool mj_job_by_id_locked(int64 job_id, MjJob *job);
extern int mj_job_all(MjJob **jobs);
extern int64 mj_job_insert(const MjJob *job, TimestampTz now);
extern void mj_job_update(const MjJob *job, TimestampTz now);
extern void mj_job_delete(int64 job_id);
extern void mj_job_set_paused(int64 job_id, bool paused, const char *reason,
							  TimestampTz now);
extern bool mj_job_is_gated(const MjJob *job);
extern int64 mj_job_lane(const MjJob *job);
extern int mj_job_names(MjJobName **names);
extern int mj_job_ids_of_group(const char *job_group, int64 **job_ids);
extern int mj_job_running(int64 job_id, int64 **run_ids);
extern int mj_job_failures(TimestampTz since, int limit, MjJobFailures **found);

/* state: called by the scheduler, and by the SQL surface after a change */
extern void mj_job_set_state(int64 job_id, TimestampTz next_run_at,
							 TimestampTz last_due_at, Oid role_oid);
extern void mj_job_set_states(const MjJobState *states, int n);
extern bool mj_job_replan(const MjJob *job, TimestampTz next_run_at);
extern void mj_job_set_runs(int64 job_id, int32 runs);
extern void mj_job_set_override(int64 job_id, const char *schedule,
								TimestampTz now);
extern bool mj_job_try_lock(int64 job_id);
extern int mj_job_after(int64 job_id, int limit, MjJob **jobs);
extern int mj_job_on_reboot(MjJob **jobs);
extern int mj_job_due(TimestampTz now, int limit, MjJob **jobs);
extern int mj_job_without_state(int limit, MjJob **jobs);
extern TimestampTz mj_job_next_due(TimestampTz after);
extern bool mj_job_any_due(TimestampTz now);
extern int mj_job_upcoming_lanes(TimestampTz before, int limit,
								 MjLaneDemand *lanes);
extern int64 mj_job_count_active(void);

/* identity */
/* what the scheduler remembers of its database; strings may be NULL */
typedef struct MjMemory
{
	const char *boot;		   /* server start that @reboot jobs have run for */
	const char *times_setting; /* settings that instants were computed with */
	TimestampTz last_tick_at;  /* 0: none */
	TimestampTz clock_was; /* before it was set back a little; 0: it was not */
} MjMemory;

extern bool mj_instance_is_own(void);
extern char *mj_instance_id(void);
extern void mj_instance_recall(MjMemory *memory);
extern void mj_instance_remember(const MjMemory *memory);
extern int mj_instance_adopt(TimestampTz now, int64 **job_ids);

#endif /* MJ_JOB_STORE_H */
