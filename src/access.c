/*-------------------------------------------------------------------------
 *
 * access.c
 *	  Rights: who may see, operate and define jobs, and who may run them.
 *
 * Privileges are asked of the SQL functions has_..._privilege and
 * pg_has_role, whose C side is the same in all server versions.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"

#include "access.h"
#include "compat.h"
#include "guc.h"
#include "store.h"

PG_FUNCTION_INFO_V1(mj_sees_all);
PG_FUNCTION_INFO_V1(mj_sees_role);
PG_FUNCTION_INFO_V1(mj_operates_role);
PG_FUNCTION_INFO_V1(mj_manages_role);

/* Has a role, itself or by membership, the level of marker jobs.<marker>()? */
bool
mj_access_role_has_level(Oid role, const char *marker)
{
	Oid schema = get_namespace_oid("jobs", true);
	oidvector *no_arguments = buildoidvector(NULL, 0);
	Oid function;

	function =
		GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						CStringGetDatum(marker), PointerGetDatum(no_arguments),
						ObjectIdGetDatum(schema));
	if (!OidIsValid(function))
		return false;
	return DatumGetBool(DirectFunctionCall3(has_function_privilege_id_id,
											ObjectIdGetDatum(role),
											ObjectIdGetDatum(function),
											CStringGetTextDatum("EXECUTE")));
}

/* Does the current user act for the extension's owner? */
bool
mj_access_is_owner(void)
{
	return has_privs_of_role(GetUserId(), mj_store_owner());
}

/* May the current user pause, resume, run and cancel any job? */
bool
mj_access_is_operator(void)
{
	return mj_access_role_has_level(GetUserId(), "operator_level") ||
		mj_access_is_owner();
}

/* May the current user see all jobs and their history? */
bool
mj_access_sees_all(void)
{
	return mj_access_role_has_level(GetUserId(), "viewer_level") ||
		mj_access_is_operator();
}

/*
 * May the current user act as a role?  Of a role that is gone only a
 * superuser is a member.
 */
bool
mj_access_is_member(Oid role)
{
	if (superuser())
		return true;
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		return false;
	return DatumGetBool(DirectFunctionCall3(pg_has_role_id_id,
											ObjectIdGetDatum(GetUserId()),
											ObjectIdGetDatum(role),
											CStringGetTextDatum(MJ_ACT_AS)));
}

/* May the current user see all of what runs as a role, commands included? */
bool
mj_access_sees_role(Oid role)
{
	return mj_access_is_member(role) || mj_access_is_owner() ||
		has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}

/*
 * The role of a job: the one that it was defined with, under whatever name,
 * and by its name only if there is no state, as after a restore.  InvalidOid
 * if it is gone.
 */
Oid
mj_access_job_role(const MjJob *job)
{
	if (!OidIsValid(job->role_oid))
		return get_role_oid(job->role, true);
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(job->role_oid)))
		return InvalidOid;
	return job->role_oid;
}

static void
raise_denied(const MjJob *job)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for job \"%s\"", job->name),
			 errdetail("It runs as role \"%s\", which you are not a member of.",
					   job->role)));
}

/* Raise 42501 unless the current user may know how a job goes. */
void
mj_access_check_see(const MjJob *job)
{
	if (!mj_access_sees_all() && !mj_access_sees_role(mj_access_job_role(job)))
		raise_denied(job);
}

/* May the current user pause, resume, run and cancel a job? */
bool
mj_access_may_operate(const MjJob *job)
{
	return mj_access_is_member(mj_access_job_role(job)) ||
		mj_access_is_operator();
}

/* As mj_access_may_operate, but raises 42501. */
void
mj_access_check_operate(const MjJob *job)
{
	if (!mj_access_may_operate(job))
		raise_denied(job);
}

/* Raise 42501 unless the current user may change when a job runs, or end it. */
void
mj_access_check_manage(const MjJob *job)
{
	if (!mj_access_is_member(mj_access_job_role(job)) && !mj_access_is_owner())
		raise_denied(job);
}

/* Raise 42501 unless the current user acts for the extension's owner. */
void
mj_access_check_owner(const char *what)
{
	if (!mj_access_is_owner())
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to %s", what),
			 errdetail(
				 "Only members of role \"%s\", which owns the extension, may.",
				 GetUserNameFromId(mj_store_owner(), false))));
}

/* Fill *problem; the format has one %s.  Returns false. */
static bool
refuse_role(MjRoleProblem *problem, int sqlstate, const char *hint,
			const char *format, const char *name)
{
	problem->sqlstate = sqlstate;
	snprintf(problem->message, sizeof(problem->message), format, name);
	strlcpy(problem->hint, hint, sizeof(problem->hint));
	return false;
}

/*
 * Can a role run jobs in this database?  name is what it is called in
 * messages; role may be InvalidOid.  Returns false and says why in *problem.
 */
bool
mj_access_role_can_run(Oid role, const char *name, MjRoleProblem *problem)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool can_login;

	if (!HeapTupleIsValid(tuple))
		return refuse_role(problem, ERRCODE_UNDEFINED_OBJECT, "",
						   "role \"%s\" does not exist", name);
	can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!can_login)
		return refuse_role(
			problem, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
			"Jobs connect as their role: ALTER ROLE ... LOGIN, or choose another role.",
			"role \"%s\" is not permitted to log in", name);
	if (!DatumGetBool(DirectFunctionCall3(has_database_privilege_id_id,
										  ObjectIdGetDatum(role),
										  ObjectIdGetDatum(MyDatabaseId),
										  CStringGetTextDatum("CONNECT"))))
		return refuse_role(
			problem, ERRCODE_INSUFFICIENT_PRIVILEGE,
			"Jobs connect as their role: GRANT CONNECT ON DATABASE ... TO it.",
			"role \"%s\" has no CONNECT privilege on this database", name);
	if (superuser_arg(role) && !mj_allow_superuser_jobs)
		return refuse_role(
			problem, ERRCODE_INSUFFICIENT_PRIVILEGE,
			"Set motionify_jobs.allow_superuser_jobs to on, or choose another role.",
			"role \"%s\" is a superuser, and no job may run as one", name);
	return true;
}

/*
 * Can a role run a job?  As whom an external job runs, its workers decide, and as
 * whom an http job, the server that it calls: the role says whose it is, and need
 * only be there.
 */
bool
mj_access_job_can_run(const MjJob *job, Oid role, MjRoleProblem *problem)
{
	if ((job->external || job->http) && OidIsValid(role))
		return true;
	return mj_access_role_can_run(role, job->role, problem);
}

/*
 * Raise unless the current user may make a job that runs as its role, and the
 * role can run it: 42704, 42501, 28000.
 */
void
mj_access_check_run_as(const MjJob *job)
{
	Oid role = job->role_oid;
	const char *name = job->role;
	MjRoleProblem problem;

	if (OidIsValid(role) &&
		(!mj_access_is_member(role) || (superuser_arg(role) && !superuser())))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to make a job run as role \"%s\"", name),
			 superuser_arg(role) ?
				 errdetail(
					 "Only a superuser may make a job run as a superuser.") :
				 errdetail("You are not a member of that role.")));
	if (!mj_access_job_can_run(job, role, &problem))
		ereport(ERROR,
				(errcode(problem.sqlstate), errmsg("%s", problem.message),
				 problem.hint[0] ? errhint("%s", problem.hint) : 0));
}

/* jobs.sees_all() returns boolean: for the views. */
Datum
mj_sees_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mj_access_sees_all());
}

/*
 * The role of arguments role name, role_oid oid: the oid counts if it is given;
 * a role that is gone is nobody's.
 */
static Oid
argument_role(FunctionCallInfo fcinfo)
{
	Oid role = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);

	if (!OidIsValid(role) && !PG_ARGISNULL(0))
		role = get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);
	return role;
}

/* jobs.sees_role(role name, role_oid oid) returns boolean: for the views. */
Datum
mj_sees_role(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mj_access_sees_role(argument_role(fcinfo)));
}

/*
 * jobs.operates_role(role name, role_oid oid) returns boolean: for the views,
 * whether the current user may run and cancel what runs as a role.
 */
Datum
mj_operates_role(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mj_access_is_member(argument_role(fcinfo)) ||
				   mj_access_is_operator());
}

/*
 * jobs.manages_role(role name, role_oid oid) returns boolean: for the views,
 * whether the current user may change when what runs as a role does.
 */
Datum
mj_manages_role(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mj_access_is_member(argument_role(fcinfo)) ||
				   mj_access_is_owner());
}
