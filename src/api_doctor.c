/*-------------------------------------------------------------------------
 *
 * api_doctor.c
 *	  The SQL functions that look after the installation: doctor, reload,
 *	  adopt.
 *
 * The doctor's checks are independent of each other; each gives one row if
 * all is well, else one row for each thing that is not.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/logicallauncher.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "access.h"
#include "alert_store.h"
#include "api_mail.h"
#include "call_store.h"
#include "clock.h"
#include "guc.h"
#include "http_rules.h"
#include "http_secret.h"
#include "job_plan.h"
#include "schedule.h"
#include "shmem.h"
#include "why_not.h"
#include "worker.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(mj_api_doctor);
PG_FUNCTION_INFO_V1(mj_api_reload);
PG_FUNCTION_INFO_V1(mj_api_adopt);

#define MAX_FAILURES 10 /* jobs that the doctor names */

/* What a check works with. */
typedef struct MjDoctor
{
	ReturnSetInfo *result;
	MjJob *jobs;
	int njobs;
	const char *check; /* name of the check that is running */
} MjDoctor;

/* Add a row; detail and hint may be NULL. */
static void
add_row(MjDoctor *doctor, bool ok, const char *detail, const char *hint)
{
	Datum values[4];
	bool nulls[4] = { false, false, detail == NULL, hint == NULL };

	values[0] = CStringGetTextDatum(doctor->check);
	values[1] = BoolGetDatum(ok);
	values[2] = detail ? CStringGetTextDatum(detail) : (Datum) 0;
	values[3] = hint ? CStringGetTextDatum(hint) : (Datum) 0;
	tuplestore_putvalues(doctor->result->setResult, doctor->result->setDesc,
						 values, nulls);
}

static void
check_preloaded(MjDoctor *doctor)
{
	if (mj_shmem_available())
		add_row(doctor, true, "The library was loaded at server start.", NULL);
	else
		add_row(
			doctor, false, "The library is not loaded at server start.",
			"Add motionify_jobs to shared_preload_libraries and restart the server.");
}

static void
check_enabled(MjDoctor *doctor)
{
	const char *database = get_database_name(MyDatabaseId);

	if (!mj_enabled)
		add_row(doctor, false,
				"motionify_jobs.enabled is off: no job runs on this server.",
				"ALTER SYSTEM SET motionify_jobs.enabled = on, and reload.");
	else if (!mj_guc_database_is_served(database))
		add_row(doctor, false,
				psprintf("Database \"%s\" is not in motionify_jobs.databases.",
						 database),
				"Add it to motionify_jobs.databases, and reload.");
	else
		add_row(doctor, true, "Jobs of this database are to run.", NULL);
}

static void
check_standby(MjDoctor *doctor)
{
	if (RecoveryInProgress())
		add_row(doctor, false,
				"This server is a standby: nothing runs before it is promoted.",
				"Ask the primary.");
	else
		add_row(doctor, true, "This server is a primary.", NULL);
}

static void
check_launcher(MjDoctor *doctor)
{
	int pid = 0;

	if (mj_shmem_available())
	{
		mj_lock();
		pid = mj_shared->launcher_procno >= 0 ? mj_shared->launcher_pid : 0;
		mj_unlock();
	}
	if (pid != 0)
		add_row(doctor, true, psprintf("It runs as process %d.", pid), NULL);
	else if (RecoveryInProgress())
		add_row(doctor, false, "It does not run.",
				"It starts when this server is promoted.");
	else
		add_row(doctor, false, "It does not run.",
				"It starts with the server; the server log says why it ended.");
}

/* The launcher and its schedulers come on top of max_workers executors. */
static void
check_worker_slots(MjDoctor *doctor)
{
	int others = max_logical_replication_workers > 0 ? 1 : 0;
	int wanted = 1 + mj_max_workers + Max(1, mj_max_workers / 2);
	bool enough = max_worker_processes >= wanted + others;

	add_row(
		doctor, enough,
		psprintf(
			"Jobs take up to %d of max_worker_processes (%d) with motionify_jobs.max_workers at %d.",
			wanted, max_worker_processes, mj_max_workers),
		enough ?
			NULL :
			psprintf(
				"Set max_worker_processes to %d or more, as parallel queries need some too, and restart the server.",
				wanted + others));
}

static void
check_identity(MjDoctor *doctor)
{
	bool own = mj_instance_is_own();
	int nforeign = 0;
	int i;

	for (i = 0; i < doctor->njobs; i++)
		if (doctor->jobs[i].foreign_origin)
			nforeign++;
	if (own && nforeign == 0)
		add_row(doctor, true, "All jobs are this database's own.", NULL);
	else
		add_row(
			doctor, false,
			own ?
				psprintf("%d of %d jobs were defined in another database.",
						 nforeign, doctor->njobs) :
				"This database is a copy, or motionify_jobs.instance was changed: it runs and sends nothing.",
			"If it is to run them from now on: SELECT jobs.adopt().");
}

static void
check_roles(MjDoctor *doctor)
{
	bool all_ok = true;
	int i;

	for (i = 0; i < doctor->njobs; i++)
	{
		const MjJob *job = &doctor->jobs[i];
		MjRoleProblem problem;

		if (mj_access_job_can_run(job, mj_access_job_role(job), &problem))
			continue;
		add_row(doctor, false,
				psprintf("Job \"%s\": %s.", job->name, problem.message),
				problem.hint[0] ? problem.hint : NULL);
		all_ok = false;
	}
	if (all_ok)
		add_row(doctor, true, "The roles of all jobs can run them here.", NULL);
}

static void
check_schedules(MjDoctor *doctor)
{
	bool all_ok = true;
	int i;

	for (i = 0; i < doctor->njobs; i++)
	{
		const MjJob *job = &doctor->jobs[i];
		MjProblem problem;
		TimestampTz next;

		if (job->schedule == NULL ||
			mj_schedule_try_next(job->schedule, job->timezone, mj_clock_now(),
								 &next, &problem) != MJ_NEXT_INVALID)
			continue;
		add_row(doctor, false,
				psprintf("Job \"%s\": %s.", job->name, problem.message),
				"Use jobs.reschedule().");
		all_ok = false;
	}
	if (all_ok)
		add_row(doctor, true,
				psprintf("%d jobs; jobs.status says when each runs next.",
						 doctor->njobs),
				NULL);
}

static void
check_paused(MjDoctor *doctor)
{
	StringInfoData names;
	int i;

	initStringInfo(&names);
	for (i = 0; i < doctor->njobs; i++)
		if (doctor->jobs[i].paused)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 doctor->jobs[i].name);
	if (names.len == 0)
		add_row(doctor, true, "No job is paused.", NULL);
	else
		add_row(doctor, false, psprintf("Paused: %s.", names.data),
				"jobs.resume(name) and jobs.resume_all() go on.");
}

/* How many jobs are in a group. */
static int
count_group(const MjDoctor *doctor, const char *job_group)
{
	int n = 0;
	int i;

	for (i = 0; i < doctor->njobs; i++)
		if (doctor->jobs[i].job_group != NULL &&
			strcmp(doctor->jobs[i].job_group, job_group) == 0)
			n++;
	return n;
}

static void
check_groups(MjDoctor *doctor)
{
	List *groups = NIL;
	ListCell *cell;

	if (!SplitGUCList(pstrdup(mj_disabled_groups), ',', &groups) ||
		groups == NIL)
	{
		add_row(doctor, true, "No group is switched off.", NULL);
		return;
	}
	foreach (cell, groups)
	{
		const char *job_group = lfirst(cell);
		int n = count_group(doctor, job_group);

		if (n > 0)
			add_row(
				doctor, false,
				psprintf(
					"Group \"%s\" with %d jobs is switched off by motionify_jobs.disabled_groups.",
					job_group, n),
				NULL);
		else
			add_row(
				doctor, false,
				psprintf(
					"motionify_jobs.disabled_groups names \"%s\", and no job is in such a group.",
					job_group),
				"Is it a typing error?");
	}
}

static void
check_mail(MjDoctor *doctor)
{
	char *detail = NULL;
	char *hint = NULL;
	bool ok = mj_mail_probe(&detail, &hint);

	add_row(doctor, ok, detail, hint);
}

static void
check_transport(MjDoctor *doctor)
{
	char *detail = NULL;
	char *hint = NULL;
	bool ok = mj_mail_flow_is_well(&detail, &hint);

	add_row(doctor, ok, detail, hint);
}

/* The channels of the setting, without what may be a secret of them. */
static char *
channels_in_short(void)
{
	StringInfoData text;
	char **channels;
	int n = mj_guc_list(mj_alert_channels, &channels);
	int i;

	initStringInfo(&text);
	for (i = 0; i < n; i++)
		appendStringInfo(&text, "%s%.*s", i > 0 ? ", " : "",
						 (int) strcspn(channels[i], ":"), channels[i]);
	return text.data;
}

static void
check_alerts(MjDoctor *doctor)
{
	char *kind;
	char *error;
	int64 n = mj_alert_failures(mj_clock_now() - USECS_PER_DAY, &kind, &error);

	if (n == 0)
		add_row(doctor, true,
				psprintf("Alerts go to: %s.", channels_in_short()), NULL);
	else
		add_row(
			doctor, false,
			psprintf(
				INT64_FORMAT
				" messages of alerts could not be passed on in 24 hours, the last by %s: %s",
				n, kind, error ? error : "the reason is not known"),
			"jobs.alert_notification has all of them.");
}

/* May a URL of a job be called?  NULL: there is none. */
static bool
check_url(MjDoctor *doctor, const MjJob *job, const char *url)
{
	MjHttpUrl parsed;
	MjProblem problem;

	if (url == NULL || mj_http_check_url(url, false, &parsed, &problem) == 0)
		return true;
	add_row(doctor, false,
			psprintf("Job \"%s\": %s.", job->name, problem.message),
			problem.hint[0] ? problem.hint : NULL);
	return false;
}

/* The hosts that http jobs call, and the URLs that are told of their runs. */
static bool
check_hosts(MjDoctor *doctor)
{
	bool ok = true;
	int i;

	for (i = 0; i < doctor->njobs; i++)
	{
		const MjJob *job = &doctor->jobs[i];

		if (job->http)
			ok &= check_url(doctor, job, job->url);
		ok &= check_url(doctor, job, job->ping_url);
	}
	return ok;
}

/* Did the last ping of this database arrive? */
static bool
check_ping(MjDoctor *doctor)
{
	MjCallEnd ping;
	TimestampTz queued_at;

	if (*mj_ping_url == '\0' || !mj_call_last_ping(&ping, &queued_at) ||
		ping.ended_as == NULL || strcmp(ping.ended_as, "succeeded") == 0)
		return true;
	add_row(doctor, false,
			psprintf("The last ping of this database failed: %s.",
					 ping.answer ? ping.answer : ""),
			"jobs.calls has all of them.");
	return false;
}

static void
check_http(MjDoctor *doctor)
{
	MjProblem problem;
	int secrets;
	int sqlstate = mj_http_secrets_check(&problem, &secrets);
	bool ok = sqlstate == 0;

	if (!ok)
		add_row(doctor, false, psprintf("%s.", problem.message),
				problem.hint[0] ? problem.hint : NULL);
	ok &= check_hosts(doctor);
	ok &= check_ping(doctor);
	if (!ok)
		return;
	if (*mj_http_allowed_hosts == '\0')
		add_row(doctor, true, "No host may be called.", NULL);
	else
		add_row(
			doctor, true,
			psprintf(
				"These hosts may be called: %s. Headers of the secrets file: %d.",
				mj_http_allowed_hosts, secrets),
			NULL);
}

static void
check_failures(MjDoctor *doctor)
{
	MjJobFailures *failures;
	int n = mj_job_failures(mj_clock_now() - USECS_PER_DAY, MAX_FAILURES,
							&failures);
	int i;

	if (n == 0)
		add_row(doctor, true, "Nothing has failed in the last 24 hours.", NULL);
	for (i = 0; i < n; i++)
		add_row(doctor, false,
				psprintf("Job \"%s\": " INT64_FORMAT
						 " failed attempts in the last 24 hours, the last: %s",
						 failures[i].name, failures[i].attempts,
						 failures[i].last_error),
				"jobs.history has all of them.");
}

/* The checks in the order in which to read them. */
static const struct
{
	const char *name;
	void (*run)(MjDoctor *doctor);
} checks[] = {
	{ "preloaded", check_preloaded },
	{ "enabled", check_enabled },
	{ "primary", check_standby },
	{ "launcher", check_launcher },
	{ "worker slots", check_worker_slots },
	{ "origin", check_identity },
	{ "roles", check_roles },
	{ "schedules", check_schedules },
	{ "paused", check_paused },
	{ "groups", check_groups },
	{ "mail", check_mail },
	{ "mail transport", check_transport },
	{ "alerts", check_alerts },
	{ "http", check_http },
	{ "failures", check_failures },
};

/*
 * jobs.doctor() returns table (check_name, ok, detail, hint).  Sees all jobs,
 * so only those may call it that do: else 42501.
 */
Datum
mj_api_doctor(PG_FUNCTION_ARGS)
{
	MjDoctor doctor;
	int i;

	if (!mj_access_sees_all())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to see all jobs"),
				 errhint("jobs.grant_usage() grants level \"viewer\".")));
	InitMaterializedSRF(fcinfo, 0);
	doctor.result = (ReturnSetInfo *) fcinfo->resultinfo;
	doctor.njobs = mj_job_all(&doctor.jobs);
	for (i = 0; i < lengthof(checks); i++)
	{
		doctor.check = checks[i].name;
		checks[i].run(&doctor);
	}
	return (Datum) 0;
}

/*
 * jobs.reload(): has this database's workers leave as soon as they have
 * nothing in hand; those that follow read the settings and the zone data
 * afresh, and compute all next instants.  Operators only; 55000 without
 * preload.
 */
Datum
mj_api_reload(PG_FUNCTION_ARGS)
{
	MjDatabase *entry;

	if (!mj_access_is_operator())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to reload the workers")));
	if (!mj_shmem_available())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("motionify_jobs is not preloaded"),
			 errhint(
				 "Add motionify_jobs to shared_preload_libraries and restart the server.")));
	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
	{
		entry->reloads++;
		entry->failures = 0;
		entry->not_before = 0; /* what kept schedulers away may be mended */
		entry->resume_mail = true;
	}
	mj_unlock();
	mj_worker_yield_database(MyDatabaseId);
	mj_wake_database(MyDatabaseId, 0);
	PG_RETURN_VOID();
}

/*
 * jobs.adopt() returns integer: makes all jobs this database's own, due from
 * now on; how many were not.  Owners only.
 */
Datum
mj_api_adopt(PG_FUNCTION_ARGS)
{
	int64 *job_ids;
	int n;
	int i;

	PreventCommandIfReadOnly("jobs.adopt()");
	mj_access_check_owner("adopt jobs");
	n = mj_instance_adopt(mj_clock_now(), &job_ids);
	for (i = 0; i < n; i++)
	{
		MjJob job;

		CHECK_FOR_INTERRUPTS();
		if (mj_job_by_id_locked(job_ids[i], &job))
			mj_plan_job(&job);
	}
	mj_xact_wake(0, MJ_LANE_NONE);
	PG_RETURN_INT32(n);
}
