/*-------------------------------------------------------------------------
 *
 * api_template.c
 *	  The SQL functions of templates: set_mail_template, drop_mail_template,
 *	  render.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "access.h"
#include "argument.h"
#include "clock.h"
#include "mail_template.h"

PG_FUNCTION_INFO_V1(mj_api_set_mail_template);
PG_FUNCTION_INFO_V1(mj_api_drop_mail_template);
PG_FUNCTION_INFO_V1(mj_api_render);
PG_FUNCTION_INFO_V1(mj_uses_template);

/* Arguments of jobs.set_mail_template() */
enum
{
	ARG_NAME,
	ARG_SUBJECT,
	ARG_BODY_TEXT,
	ARG_BODY_HTML,
	ARG_ROLE
};

static char *
require_text(FunctionCallInfo fcinfo, int n, const char *what)
{
	char *value = mj_argument_text(fcinfo, n);

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	return value;
}

/*
 * A name can be written in a tag, so it has no white space and no braces.
 * What has looks like another argument.
 */
static void
check_name(const char *name)
{
	const char *c;

	if (*name == '\0' || strlen(name) > MJ_TEMPLATE_MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of a mail template must have 1 to %d bytes",
						MJ_TEMPLATE_MAX_NAME)));
	for (c = name; *c != '\0'; c++)
		if ((unsigned char) *c <= ' ' || strchr("{}<>*=", *c) != NULL)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a mail template: \"%s\"", name),
				 errdetail(
					 "A name has no white space, and none of the characters {}<>*=."),
				 errhint(
					 "The name comes first: jobs.set_mail_template(name, subject, body_text, body_html).")));
}

/* Raise 22023 for what nobody means. */
static void
check_parts(const MjTemplate *template)
{
	const char *subject = template->parts[MJ_PART_SUBJECT];
	const char *text = template->parts[MJ_PART_TEXT];
	const char *html = template->parts[MJ_PART_HTML];

	if (subject == NULL && text == NULL && html == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg(
				 "one of subject, body_text and body_html must not be null")));
	if (subject != NULL && strpbrk(subject, "\r\n") != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("subject of template \"%s\": there is a line break in it",
					template->name)));
	if (text != NULL && html != NULL && strstr(text, "</") != NULL &&
		strchr(html, '<') == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "body_text of template \"%s\" is HTML, and body_html is not",
				 template->name),
			 errhint(
				 "The text comes first: jobs.set_mail_template(name, subject, body_text, body_html).")));
}

static void
check_manage(const MjTemplate *template)
{
	if (mj_template_may_manage(template->role_oid))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("permission denied for mail template \"%s\"", template->name),
		 errdetail("It belongs to role \"%s\", which you are not a member of.",
				   template->role)));
}

/* Whose a template is to be: the role given, else who it is of, or who calls. */
static void
take_role(FunctionCallInfo fcinfo, MjTemplate *template, const MjTemplate *old)
{
	if (!PG_ARGISNULL(ARG_ROLE))
		template->role_oid =
			get_role_oid(NameStr(*PG_GETARG_NAME(ARG_ROLE)), false);
	else if (old != NULL && OidIsValid(old->role_oid))
		template->role_oid = old->role_oid;
	else
		template->role_oid = GetUserId();
	template->role = GetUserNameFromId(template->role_oid, false);
	if (!mj_template_may_manage(template->role_oid))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to make a mail template of role \"%s\"",
					template->role),
			 errdetail("You are not a member of that role.")));
}

/*
 * jobs.set_mail_template(name, subject, body_text, body_html, role): make a
 * template, or another one of one's own.
 */
Datum
mj_api_set_mail_template(PG_FUNCTION_ARGS)
{
	MjTemplate template = { 0 };
	MjTemplate old;

	PreventCommandIfReadOnly("jobs.set_mail_template()");
	template.name = require_text(fcinfo, ARG_NAME, "name");
	template.parts[MJ_PART_SUBJECT] = mj_argument_text(fcinfo, ARG_SUBJECT);
	template.parts[MJ_PART_TEXT] = mj_argument_text(fcinfo, ARG_BODY_TEXT);
	template.parts[MJ_PART_HTML] = mj_argument_text(fcinfo, ARG_BODY_HTML);
	template.updated_at = mj_clock_now();
	check_name(template.name);
	check_parts(&template);
	mj_template_check(&template);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (mj_template_find_locked(template.name, &old))
		{
			check_manage(&old);
			take_role(fcinfo, &template, &old);
			mj_template_update(&template);
			break;
		}
		take_role(fcinfo, &template, NULL);
		if (mj_template_insert(&template))
			break;
	}
	PG_RETURN_VOID();
}

/* jobs.drop_mail_template(name) */
Datum
mj_api_drop_mail_template(PG_FUNCTION_ARGS)
{
	const char *name;
	MjTemplate template;

	PreventCommandIfReadOnly("jobs.drop_mail_template()");
	name = require_text(fcinfo, 0, "name");
	if (!mj_template_find_locked(name, &template))
		mj_template_lookup_failed(name);
	check_manage(&template);
	mj_template_delete(name);
	PG_RETURN_VOID();
}

/* jobs.render(template, data) returns table (subject, body_text, body_html) */
Datum
mj_api_render(PG_FUNCTION_ARGS)
{
	static const bool all[MJ_TEMPLATE_PARTS] = { true, true, true };
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char *rendered[MJ_TEMPLATE_PARTS];
	Datum values[MJ_TEMPLATE_PARTS] = { 0 };
	bool nulls[MJ_TEMPLATE_PARTS];
	int part;

	mj_template_render(require_text(fcinfo, 0, "template"),
					   PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1), all,
					   rendered);
	for (part = 0; part < MJ_TEMPLATE_PARTS; part++)
	{
		nulls[part] = rendered[part] == NULL;
		if (!nulls[part])
			values[part] = CStringGetTextDatum(rendered[part]);
	}
	InitMaterializedSRF(fcinfo, 0);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	PG_RETURN_NULL();
}

/*
 * jobs.uses_template(role name, role_oid oid) returns boolean: for the view.
 * The oid counts if it is given.
 */
Datum
mj_uses_template(PG_FUNCTION_ARGS)
{
	Oid role = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);

	if (!OidIsValid(role) && !PG_ARGISNULL(0))
		role = get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);
	PG_RETURN_BOOL(mj_template_may_use(role));
}
