/*-------------------------------------------------------------------------
 *
 * figures_store.c
 *	  What the history of a job comes to: its last run, its last day, its
 *	  failures in a row.
 *
 * However long the history of all jobs is, that of one is read backwards from
 * its end by the index on (job_id, finished_at), and no further than needed.
 * For the planner to have no choice, rows are asked for in the order of both
 * columns, and job_id as a range of one: with an equality the order would be
 * that of finished_at alone, whose index holds the rows of all jobs.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "figures_store.h"
#include "store.h"

/* The log of job $1; and in which order: newest first. */
#define LOG_OF_JOB \
	" FROM jobs.run_log l WHERE l.job_id >= $1 AND l.job_id <= $1"
#define NEWEST_FIRST " ORDER BY l.job_id DESC, l.finished_at DESC"

/* A streak is not followed for longer than this: attempts. */
#define LONGEST_STREAK " LIMIT 10000"

#define FAILED "('failed', 'timed_out', 'crashed')"

/* The run has ended for good.  Not EXISTS, which might read the whole queue. */
#define ENDED \
	"(SELECT q.run_id FROM jobs.queue q WHERE q.run_id = r.run_id) IS NULL"

#define LAST \
	"SELECT coalesce(l.started_at, l.finished_at) AS run, l.status::text," \
	" l.result, l.finished_at - l.started_at AS duration" LOG_OF_JOB \
	" AND l.status <> 'skipped'" NEWEST_FIRST \
	", l.run_id DESC, l.attempt DESC LIMIT 1"

#define SUCCESS \
	"SELECT l.finished_at FROM (SELECT l.finished_at, l.status" LOG_OF_JOB \
		NEWEST_FIRST LONGEST_STREAK ") l WHERE l.status = 'succeeded' LIMIT 1"

/* The last 24 hours.  Of each run the last attempt counts, if it has ended. */
#define DAY_LOG \
	"SELECT l.run_id, l.attempt, l.status," \
	" l.finished_at - l.started_at AS duration" LOG_OF_JOB \
	" AND (l.job_id, l.finished_at) > ($1, $2 - interval '24 hours')" \
	" AND l.status NOT IN ('skipped', 'expired')" NEWEST_FIRST
#define DAY \
	"SELECT count(*) AS runs," \
	" count(*) FILTER (WHERE r.status IN " FAILED ") AS failures," \
	" count(*) FILTER (WHERE r.status = 'succeeded') AS successes," \
	" avg(r.duration) AS avg_duration, percentile_cont(0.95)" \
	" WITHIN GROUP (ORDER BY r.duration) AS p95_duration" \
	" FROM (SELECT DISTINCT ON (l.run_id) l.run_id, l.status, l.duration" \
	" FROM (" DAY_LOG ") l ORDER BY l.run_id, l.attempt DESC) r" \
	" WHERE r.status = 'succeeded' OR " ENDED

/* What came after the last success. */
#define STREAK_LOG \
	"SELECT l.run_id, l.attempt, l.status, l.finished_at" LOG_OF_JOB \
	" AND (l.job_id, l.finished_at) > ($1, coalesce(" \
	"(SELECT success.finished_at FROM success), '-infinity'))" NEWEST_FIRST \
		LONGEST_STREAK
#define STREAK \
	"SELECT count(*) FILTER (WHERE r.status IN " FAILED ") AS failures," \
	" (array_agg(r.run_id ORDER BY r.finished_at DESC)" \
	" FILTER (WHERE r.status IN " FAILED "))[1] AS run_id" \
	" FROM (SELECT DISTINCT ON (l.run_id) l.run_id, l.status, l.finished_at" \
	" FROM (" STREAK_LOG ") l ORDER BY l.run_id, l.attempt DESC) r" \
	" WHERE " ENDED

static MjStatement figures_statement = {
	"WITH last AS MATERIALIZED (" LAST "),"
	" success AS MATERIALIZED (" SUCCESS "),"
	" day AS MATERIALIZED (" DAY "),"
	" streak AS MATERIALIZED (" STREAK ")"
	" SELECT j.role, s.role_oid, last.run, last.status, last.result,"
	" last.duration, day.runs, day.failures, day.successes, day.avg_duration,"
	" day.p95_duration, (SELECT success.finished_at FROM success),"
	" streak.failures, (SELECT l.error FROM jobs.run_log l"
	"  WHERE l.run_id = streak.run_id ORDER BY l.attempt DESC LIMIT 1)"
	" FROM jobs.job j LEFT JOIN jobs.job_state s ON s.job_id = j.job_id"
	" LEFT JOIN last ON true CROSS JOIN day CROSS JOIN streak"
	" WHERE j.job_id = $1",
	2,
	{ INT8OID, TIMESTAMPTZOID }
};

/*
 * The figures of a job, with the role that decides who may see them; false if
 * there is no such job.
 */
bool
mj_figures_of_job(int64 job_id, TimestampTz now, MjFigures *figures)
{
	MjScope scope;
	MjParams params = { 0 };
	bool found;
	int i;

	mj_store_enter(&scope);
	mj_param_int64(&params, job_id);
	mj_param_time(&params, now);
	found = mj_store_run(&figures_statement, &params) > 0;
	if (found)
	{
		figures->role = mj_row_text(&scope, 0, 1);
		figures->role_oid = mj_row_oid(0, 2);
		for (i = 0; i < MJ_FIGURES; i++)
			figures->values[i] =
				mj_row_datum(&scope, 0, i + 3, &figures->nulls[i]);
	}
	mj_store_leave(&scope);
	return found;
}
