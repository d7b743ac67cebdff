/*-------------------------------------------------------------------------
 *
 * call_store.h
 *	  Calls of the extension itself (jobs.call): what is to be sent, and how
 *	  they ended.
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CALL_STORE_H
#define MJ_CALL_STORE_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

/* The job that calls go by in the queue and the log; no job has that id. */
#define MJ_CALL_JOB_ID INT64CONST(-1)
/* And the name of it; no job may have that either. */
#define MJ_CALL_JOB_NAME "http call"

/* What a call is about. */
#define MJ_CALL_PING "ping"			/* this database is well, or is not */
#define MJ_CALL_JOB_PING "job ping" /* how a run of a job goes */
#define MJ_CALL_ALERT "alert"		/* an alert was opened or resolved */

/* A call.  Strings in the caller's context; NULL and 0 are the defaults. */
typedef struct MjCall
{
	int64 run_id; /* set by mj_call_queue(); 0: there is no such call */
	const char *purpose;
	int64 job_id; /* of the job that it is about; 0: of none */
	const char *url;
	const char *method;	 /* NULL: POST */
	Jsonb *headers;		 /* an object of texts; NULL: none of its own */
	const char *body;	 /* NULL: none */
	const char *role;	 /* whose it is, for the views; NULL: the owner of the
						  * extension */
	Oid role_oid;		 /* with role */
	bool by_setting;	 /* a superuser's setting names its URL, which therefore
						  * need not be in http_allowed_hosts */
	int32 max_attempts;	 /* 0: MJ_CALL_MAX_ATTEMPTS */
	int32 retry_delay_s; /* 0: MJ_CALL_RETRY_DELAY_S; doubled each time */
	const char *line;	 /* those of one line are made one after the other, in
						  * the order in which they were queued; NULL: in none.
						  * Not read */
	TimestampTz created_at;
} MjCall;

#define MJ_CALL_MAX_ATTEMPTS 3
#define MJ_CALL_RETRY_DELAY_S 10

/* What is known, or written, of an attempt to make a call. */
typedef struct MjCallEnd
{
	int64 run_id;
	const char *ended_as; /* succeeded, failed, cancelled; NULL: it goes on */
	TimestampTz at;
	int status;			/* of HTTP; 0: none */
	const char *answer; /* its begin, or why there was none */
} MjCallEnd;

extern void mj_call_insert(const MjCall *call);
extern void mj_call_load(const int64 *run_ids, int n, MjCall *calls);
extern void mj_call_write_ends(const MjCallEnd *ends, int n);
extern void mj_call_end(int64 run_id, const char *ended_as, const char *why);
extern int64 mj_call_drop_outdated(void);
extern bool mj_call_last_ping(MjCallEnd *ping, TimestampTz *queued_at);
extern int64 mj_call_prune(TimestampTz before, TimestampTz successes_before,
						   int limit);

#endif /* MJ_CALL_STORE_H */
