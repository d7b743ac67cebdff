/*-------------------------------------------------------------------------
 *
 * api_access.c
 *	  The SQL functions that grant levels: grant_usage, revoke_usage.
 *
 * A level is a set of plain GRANTs, so that a dump keeps it.  They are made
 * by the server's own GRANT, with its checks and its event triggers.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "access.h"

PG_FUNCTION_INFO_V1(mj_api_grant_usage);
PG_FUNCTION_INFO_V1(mj_api_revoke_usage);

#define MJ_SCHEMA "jobs"

#define VIEWER 0x01
#define USER 0x02
#define OPERATOR 0x04
#define MAILER 0x08
#define READER (VIEWER | USER | OPERATOR)
#define ANYBODY (READER | MAILER)

/* A level and the marker function whose EXECUTE tells that a role has it. */
static const struct
{
	const char *name;
	int bit;
	const char *marker;
} levels[] = {
	{ "viewer", VIEWER, "viewer_level" },
	{ "user", USER, "user_level" },
	{ "operator", OPERATOR, "operator_level" },
	{ "mailer", MAILER, "mailer_level" },
};

/*
 * What the levels may select from and execute, by name, whatever the
 * arguments; a name that ends in '*' stands for all that begin so.  What is
 * not here is the owner's.
 */
static const struct
{
	const char *name;
	int levels;
} level_objects[] = {
	{ "viewer_level", VIEWER },
	{ "user_level", USER },
	{ "operator_level", OPERATOR },
	{ "mailer_level", MAILER },
	/* reading */
	{ "history", READER },
	{ "status", READER },
	{ "queued", READER },
	{ "batches", READER },
	{ "dead", READER },
	{ "active", READER },
	{ "worker_slots", READER },
	{ "job_figures", READER },
	{ "recent", READER },
	{ "newest", READER },
	{ "newest_of_job", READER },
	{ "job_id", READER },
	{ "statistics", READER },
	{ "lanes", READER },
	{ "backlog", READER },
	{ "server_state", READER },
	{ "health", READER },
	{ "metrics", READER },
	{ "metrics_text", READER },
	{ "alert", READER },
	{ "alert_rule", READER },
	{ "alert_notification", READER },
	{ "alert_time", READER },
	{ "is_nothing", READER },
	{ "top", READER },
	{ "top_*", READER },
	{ "calls", READER },
	{ "definition", READER },
	{ "board", READER },
	{ "board_*", READER },
	{ "operates_role", ANYBODY },
	{ "manages_role", READER },
	{ "mail_content", ANYBODY },
	{ "mail_file", ANYBODY },
	{ "outbox", ANYBODY },
	{ "outbox_status", ANYBODY },
	{ "sees_all", ANYBODY },
	{ "sees_role", ANYBODY },
	{ "clock", ANYBODY },
	{ "job_words", READER },
	{ "why_not_here", READER },
	{ "is_valid", READER },
	{ "next_runs", READER },
	{ "describe", READER },
	{ "doctor", VIEWER | OPERATOR },
	/* defining */
	{ "schedule", USER },
	{ "reschedule", USER },
	{ "override_schedule", USER },
	{ "unschedule", USER },
	{ "calendar", READER },
	{ "install_portal", USER },
	{ "uninstall_portal", USER },
	{ "portal_*", USER },
	{ "import_pg_cron", USER },
	{ "pg_cron_*", USER },
	/* operating */
	{ "run_now", USER | OPERATOR },
	{ "enqueue", USER | OPERATOR },
	{ "enqueue_many", USER | OPERATOR },
	{ "batch", USER | OPERATOR },
	{ "cancel", USER | OPERATOR },
	{ "retry", USER | OPERATOR },
	{ "clean", USER | OPERATOR },
	/* working outside */
	{ "claim", USER },
	{ "heartbeat", USER },
	{ "complete", USER },
	{ "fail", USER },
	{ "release", USER },
	{ "channel", USER },
	{ "drain", OPERATOR },
	{ "undrain", OPERATOR },
	{ "pause", USER | OPERATOR },
	{ "resume", USER | OPERATOR },
	{ "pause_group", USER | OPERATOR },
	{ "resume_group", USER | OPERATOR },
	{ "pause_all", OPERATOR },
	{ "resume_all", OPERATOR },
	{ "reload", OPERATOR },
	{ "set_alert_rule", OPERATOR },
	{ "drop_alert_rule", OPERATOR },
	{ "acknowledge", OPERATOR },
	{ "check_mail", OPERATOR },
	/* within a job, whatever its role is for */
	{ "current_run_id", ANYBODY },
	{ "current_args", ANYBODY },
	{ "progress", ANYBODY },
	/* mail */
	{ "mail_templates", ANYBODY },
	{ "uses_template", ANYBODY },
	{ "set_mail_template", MAILER },
	{ "drop_mail_template", MAILER },
	{ "render", MAILER },
	{ "send_mail", MAILER },
	{ "mail_attempts", ANYBODY },
	{ "mail_transport", ANYBODY },
	{ "mail_server_id", ANYBODY },
	{ "mail_suppression", MAILER | OPERATOR },
	{ "suppress", MAILER | OPERATOR },
	{ "unsuppress", MAILER | OPERATOR },
	{ "resend", OPERATOR },
	{ "resume_mail", OPERATOR },
	{ "attachment", MAILER },
	{ "deliver_mail", MAILER },
	{ "preview_mail", MAILER | OPERATOR },
};

/* The bit of a level; raises 22023 with the names of all. */
static int
level_bit(const char *level)
{
	int i;

	for (i = 0; i < lengthof(levels); i++)
		if (strcmp(levels[i].name, level) == 0)
			return levels[i].bit;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown level \"%s\"", level),
			 errhint("Levels are viewer, user, operator and mailer.")));
}

/* The levels that an object of the schema belongs to. */
static int
levels_of_object(const char *name)
{
	int i;

	for (i = 0; i < lengthof(level_objects); i++)
	{
		const char *pattern = level_objects[i].name;
		size_t length = strlen(pattern);

		if (pattern[length - 1] == '*' ?
				strncmp(name, pattern, length - 1) == 0 :
				strcmp(name, pattern) == 0)
			return level_objects[i].levels;
	}
	return 0;
}

/* A routine as GRANT names it. */
static ObjectWithArgs *
routine_node(Form_pg_proc routine)
{
	ObjectWithArgs *node = makeNode(ObjectWithArgs);
	int i;

	node->objname = list_make2(makeString(pstrdup(MJ_SCHEMA)),
							   makeString(pstrdup(NameStr(routine->proname))));
	for (i = 0; i < routine->pronargs; i++)
		node->objargs =
			lappend(node->objargs,
					makeTypeNameFromOid(routine->proargtypes.values[i], -1));
	return node;
}

/* A routine, or a table or view, of some levels that others do not need. */
static Node *
object_node(Oid catalog, HeapTuple tuple, int bits, int others)
{
	Form_pg_class relation = (Form_pg_class) GETSTRUCT(tuple);
	Form_pg_proc routine = (Form_pg_proc) GETSTRUCT(tuple);
	const char *name = catalog == RelationRelationId ?
		NameStr(relation->relname) :
		NameStr(routine->proname);
	int levels_there = levels_of_object(name);

	if ((levels_there & bits) == 0 || (levels_there & others) != 0)
		return NULL;
	if (catalog == ProcedureRelationId)
		return (Node *) routine_node(routine);
	if (relation->relkind != RELKIND_VIEW &&
		relation->relkind != RELKIND_RELATION)
		return NULL;
	return (Node *) makeRangeVar(pstrdup(MJ_SCHEMA), pstrdup(name), -1);
}

/*
 * The schema's objects of some levels that others do not need, as GRANT names
 * them: routines (catalog is pg_proc), or tables and views (pg_class).
 */
static List *
objects_of(Oid catalog, AttrNumber namespace_column, int bits, int others)
{
	Relation relation = table_open(catalog, AccessShareLock);
	List *objects = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, namespace_column, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(get_namespace_oid(MJ_SCHEMA, false)));
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Node *node = object_node(catalog, tuple, bits, others);

		if (node != NULL)
			objects = lappend(objects, node);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return objects;
}

/* Execute GRANT or REVOKE privilege ON objects TO or FROM role. */
static void
execute_grant(bool is_grant, ObjectType type, List *objects,
			  const char *privilege, const char *role)
{
	GrantStmt *grant = makeNode(GrantStmt);
	AccessPriv *access = makeNode(AccessPriv);
	RoleSpec *grantee = makeNode(RoleSpec);
	PlannedStmt *statement = makeNode(PlannedStmt);

	if (objects == NIL)
		return;
	access->priv_name = pstrdup(privilege);
	grantee->roletype = ROLESPEC_CSTRING;
	grantee->rolename = pstrdup(role);
	grantee->location = -1;
	grant->is_grant = is_grant;
	grant->targtype = ACL_TARGET_OBJECT;
	grant->objtype = type;
	grant->objects = objects;
	grant->privileges = list_make1(access);
	grant->grantees = list_make1(grantee);
	grant->behavior = DROP_RESTRICT;
	statement->commandType = CMD_UTILITY;
	statement->utilityStmt = (Node *) grant;
	statement->stmt_location = -1;
	ProcessUtility(statement, "levels of motionify_jobs", false,
				   PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, NULL);
	CommandCounterIncrement();
}

/* The levels that a role has, by their markers. */
static int
levels_of_role(Oid role)
{
	int bits = 0;
	int i;

	for (i = 0; i < lengthof(levels); i++)
		if (mj_access_role_has_level(role, levels[i].marker))
			bits |= levels[i].bit;
	return bits;
}

/* Grant a level, or revoke what of it the role's other levels do not need. */
static void
change_level(FunctionCallInfo fcinfo, bool is_grant)
{
	const char *role;
	Oid role_oid;
	int bit;
	int others;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("role and level must not be null")));
	mj_access_check_owner("grant levels of motionify_jobs");
	role = NameStr(*PG_GETARG_NAME(0));
	role_oid = get_role_oid(role, false);
	bit = level_bit(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	others = is_grant ? 0 : levels_of_role(role_oid) & ~bit;
	if (others == 0)
		execute_grant(is_grant, OBJECT_SCHEMA,
					  list_make1(makeString(pstrdup(MJ_SCHEMA))), "usage",
					  role);
	execute_grant(is_grant, OBJECT_TABLE,
				  objects_of(RelationRelationId, Anum_pg_class_relnamespace,
							 bit, others),
				  "select", role);
	execute_grant(is_grant, OBJECT_ROUTINE,
				  objects_of(ProcedureRelationId, Anum_pg_proc_pronamespace,
							 bit, others),
				  "execute", role);
}

/* jobs.grant_usage(role name, level text): 42501, 42704, 22023, 22004. */
Datum
mj_api_grant_usage(PG_FUNCTION_ARGS)
{
	change_level(fcinfo, true);
	PG_RETURN_VOID();
}

/* jobs.revoke_usage(role name, level text): as jobs.grant_usage(). */
Datum
mj_api_revoke_usage(PG_FUNCTION_ARGS)
{
	change_level(fcinfo, false);
	PG_RETURN_VOID();
}
