/*-------------------------------------------------------------------------
 *
 * mail_template.c
 *	  The template that a caller names: found, permitted, rendered.
 *
 * A template may be used by who may act as its role, and, if it is of the role
 * that owns the extension, by everybody who may send mail.  A partial is the
 * same part of another template, under the same rule.
 *
 * What was parsed is kept for the session, by name.  Each rendering reads the
 * rows of the templates that it uses again, and parses those anew that have
 * changed: a row that looks the same, compressed and toasted as it is, is the
 * same.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "access.h"
#include "json_value.h"
#include "mail_template.h"
#include "mustache.h"
#include "nearest.h"
#include "store.h"

/* Templates that are kept at most, when a rendering begins. */
#define MAX_KEPT 200

/* A template of the session. */
typedef struct Kept
{
	char name[MJ_TEMPLATE_MAX_NAME + 1]; /* the key */
	uint64 rendering;					 /* that has looked at the row last */
	bool exists;
	Oid role; /* whose it is */
	NameData role_name;
	bool is_whole;		   /* what follows is */
	MemoryContext context; /* of what follows; NULL: nothing does */
	MjTemplateRow row;
	MjMustache *parsed[MJ_TEMPLATE_PARTS]; /* when they were needed */
} Kept;

static const char *const part_names[MJ_TEMPLATE_PARTS] = { "subject",
														   "body_text",
														   "body_html" };

static HTAB *all_kept = NULL;
static MemoryContext kept_context = NULL;
static uint64 rendering_number = 0;

/* ------------------------------------------------------------------------
 * Problems
 * ------------------------------------------------------------------------
 */

/* Raise what is wrong with a part of a template. */
static void
raise_problem(int sqlstate, const char *name, MjTemplatePart part,
			  const MjProblem *problem)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s of template \"%s\": %s", part_names[part], name,
					problem->message),
			 problem->detail[0] ? errdetail("%s", problem->detail) : 0,
			 problem->hint[0] ? errhint("%s", problem->hint) : 0));
}

/* May the current user be told of a template, by its number? */
static bool
may_know(int i, void *arg)
{
	const MjTemplate *templates = arg;

	return mj_template_may_use(templates[i].role_oid);
}

/* Raise 42704 for a name that no template has. */
void
mj_template_lookup_failed(const char *name)
{
	MjTemplate *templates;
	int n = mj_template_names(&templates);
	const char **names = palloc(sizeof(char *) * (n + 1));
	int i;

	for (i = 0; i < n; i++)
		names[i] = templates[i].name;
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT),
		 errmsg("mail template \"%s\" does not exist", name),
		 errhint(
			 "%s",
			 mj_nearest_hint(
				 name, names, n, may_know, templates,
				 "jobs.set_mail_template() makes one; the view jobs.mail_templates lists them."))));
}

/* ------------------------------------------------------------------------
 * Rights
 * ------------------------------------------------------------------------
 */

/* May the current user change and drop the templates of a role? */
bool
mj_template_may_manage(Oid role)
{
	return mj_access_is_member(role) || mj_access_is_owner();
}

/* May the current user use the templates of a role? */
bool
mj_template_may_use(Oid role)
{
	return role == mj_store_owner() || mj_template_may_manage(role);
}

/* Raise 42501 unless the current user may use a template. */
static void
check_use(const Kept *kept)
{
	if (mj_template_may_use(kept->role))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("permission denied for mail template \"%s\"", kept->name),
		 errdetail("It belongs to role \"%s\", which you are not a member of.",
				   NameStr(kept->role_name))));
}

/* ------------------------------------------------------------------------
 * What is kept
 * ------------------------------------------------------------------------
 */

/* Begin with nothing kept, at first and when there is too much. */
static void
prepare_kept(void)
{
	HASHCTL control = { 0 };

	if (all_kept != NULL && hash_get_num_entries(all_kept) <= MAX_KEPT)
		return;
	if (kept_context != NULL)
	{
		all_kept = NULL;
		MemoryContextReset(kept_context);
	}
	else
		kept_context = AllocSetContextCreate(TopMemoryContext,
											 "motionify_jobs mail templates",
											 ALLOCSET_SMALL_SIZES);
	control.keysize = MJ_TEMPLATE_MAX_NAME + 1;
	control.entrysize = sizeof(Kept);
	control.hcxt = kept_context;
	all_kept = hash_create("motionify_jobs mail templates", 32, &control,
						   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* Are two rows the same, byte by byte? */
static bool
same_row(const MjTemplateRow *a, const MjTemplateRow *b)
{
	int i;

	if (a->updated_at != b->updated_at)
		return false;
	for (i = 0; i < MJ_TEMPLATE_PARTS; i++)
	{
		struct varlena *x = (struct varlena *) DatumGetPointer(a->parts[i]);
		struct varlena *y = (struct varlena *) DatumGetPointer(b->parts[i]);

		if (a->nulls[i] != b->nulls[i])
			return false;
		if (!a->nulls[i] &&
			(VARSIZE_ANY(x) != VARSIZE_ANY(y) ||
			 memcmp(x, y, VARSIZE_ANY(x)) != 0))
			return false;
	}
	return true;
}

/* Keep a row in the place of what was kept. */
static void
keep_row(Kept *kept, const MjTemplateRow *row)
{
	int i;

	kept->is_whole = false;
	if (kept->context == NULL)
		kept->context =
			AllocSetContextCreate(kept_context, "motionify_jobs mail template",
								  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(kept->context);
	memset(kept->parsed, 0, sizeof(kept->parsed));
	kept->row = *row;
	for (i = 0; i < MJ_TEMPLATE_PARTS; i++)
	{
		Size size;

		if (row->nulls[i])
			continue;
		size = VARSIZE_ANY(DatumGetPointer(row->parts[i]));
		kept->row.parts[i] =
			PointerGetDatum(MemoryContextAlloc(kept->context, size));
		memcpy(DatumGetPointer(kept->row.parts[i]),
			   DatumGetPointer(row->parts[i]), size);
	}
	kept->is_whole = true;
}

/*
 * The template of a name, as its row is now; NULL if there is none.  Raises
 * 42501.
 */
static Kept *
find_template(const char *name)
{
	Kept *kept;
	MjTemplateRow row;
	bool found;

	if (strlen(name) > MJ_TEMPLATE_MAX_NAME)
		return NULL;
	kept = hash_search(all_kept, name, HASH_ENTER, &found);
	if (!found)
		memset((char *) kept + sizeof(kept->name), 0,
			   sizeof(Kept) - sizeof(kept->name));
	if (kept->rendering == rendering_number)
		return kept->exists ? kept : NULL;
	kept->exists = mj_template_read(name, &row);
	if (kept->exists)
	{
		if (!kept->is_whole || !same_row(&kept->row, &row))
			keep_row(kept, &row);
		kept->role = row.role_oid;
		namestrcpy(&kept->role_name, row.role);
		check_use(kept);
	}
	kept->rendering = rendering_number;
	return kept->exists ? kept : NULL;
}

/*
 * A part of a template, parsed; NULL if it has none.  Raises 22023: only who
 * writes the table by hand gets something else into it than a template.
 */
static const MjMustache *
parsed_part(Kept *kept, MjTemplatePart part)
{
	MemoryContext old;
	MjProblem problem;
	char *source;

	if (kept->row.nulls[part] || kept->parsed[part] != NULL)
		return kept->parsed[part];
	source = TextDatumGetCString(kept->row.parts[part]);
	old = MemoryContextSwitchTo(kept->context);
	kept->parsed[part] = mj_mustache_parse(source, strlen(source), &problem);
	MemoryContextSwitchTo(old);
	pfree(source);
	if (kept->parsed[part] == NULL)
		raise_problem(ERRCODE_INVALID_PARAMETER_VALUE, kept->name, part,
					  &problem);
	return kept->parsed[part];
}

/* ------------------------------------------------------------------------
 * Rendering
 * ------------------------------------------------------------------------
 */

/* The same part of another template: MjRendering.partial. */
static const MjMustache *
find_partial(void *arg, const char *name, int length)
{
	const MjTemplatePart *part = arg;
	char copy[MJ_TEMPLATE_MAX_NAME + 1];
	Kept *kept;

	CHECK_FOR_INTERRUPTS();
	if (length > MJ_TEMPLATE_MAX_NAME)
		return NULL;
	memcpy(copy, name, length);
	copy[length] = '\0';
	kept = find_template(copy);
	return kept ? parsed_part(kept, *part) : NULL;
}

/* A header has one line: 22023 if a rendered subject has more. */
static void
check_subject(const char *name, const char *subject)
{
	if (strpbrk(subject, "\r\n") == NULL)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("subject of template \"%s\": there is a line break in it",
				name),
		 errdetail("A line break of the data has got into it."),
		 errhint(
			 "Take line breaks out of the values that the subject shows.")));
}

/* Render a part; NULL if the template has none.  Raises 22023 and 54000. */
static char *
render_part(Kept *kept, MjTemplatePart part, const MjValue *data)
{
	const MjMustache *parsed = parsed_part(kept, part);
	MjRendering rendering = { 0 };
	StringInfoData out;
	MjProblem problem;

	if (parsed == NULL)
		return NULL;
	rendering.source = &mj_json_source;
	rendering.data = *data;
	rendering.escape = part == MJ_PART_HTML;
	rendering.partial = find_partial;
	rendering.arg = &part;
	initStringInfo(&out);
	if (!mj_mustache_render(parsed, &rendering, &out, &problem))
		raise_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED, kept->name, part,
					  &problem);
	if (part == MJ_PART_SUBJECT)
		check_subject(kept->name, out.data);
	return out.data;
}

/*
 * Render the parts of a template that are wanted, with data, which may be
 * NULL; those that it does not have, or that are not wanted, are NULL.  Raises
 * 42704, 42501, 22023 and 54000.
 */
void
mj_template_render(const char *name, Jsonb *data, const bool *wanted,
				   char **rendered)
{
	MjValue value = mj_json_value(data);
	Kept *kept;
	int part;

	prepare_kept();
	rendering_number++;
	kept = find_template(name);
	if (kept == NULL)
		mj_template_lookup_failed(name);
	for (part = 0; part < MJ_TEMPLATE_PARTS; part++)
		rendered[part] = wanted[part] ?
			render_part(kept, (MjTemplatePart) part, &value) :
			NULL;
}

/* ------------------------------------------------------------------------
 * Checks
 * ------------------------------------------------------------------------
 */

/* Is there a template of a name with that part?  Leaves no memory behind. */
static bool
has_part(const char *name, MjTemplatePart part)
{
	MemoryContext mine =
		AllocSetContextCreate(CurrentMemoryContext,
							  "motionify_jobs mail template row",
							  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(mine);
	MjTemplateRow row;
	bool found = mj_template_read(name, &row) && !row.nulls[part];

	MemoryContextSwitchTo(old);
	MemoryContextDelete(mine);
	return found;
}

/* Tell of the first partial that is not there yet. */
static void
notice_missing(const MjTemplate *template, MjTemplatePart part,
			   const MjMustache *parsed)
{
	int cursor = 0;
	const char *name;
	int length;
	char copy[MJ_TEMPLATE_MAX_NAME + 1];

	while (mj_mustache_next_partial(parsed, &cursor, &name, &length))
	{
		CHECK_FOR_INTERRUPTS();
		length = pg_mbcliplen(name, length, MJ_TEMPLATE_MAX_NAME);
		memcpy(copy, name, length);
		copy[length] = '\0';
		if (strcmp(copy, template->name) == 0 || has_part(copy, part))
			continue;
		ereport(
			NOTICE,
			(errmsg(
				 "%s of template \"%s\" names the partial \"%s\", which is not there",
				 part_names[part], template->name, copy),
			 errdetail("Nothing is put in its place.")));
		break;
	}
}

/* Raise 22023 unless the parts of a template are templates. */
void
mj_template_check(const MjTemplate *template)
{
	MjProblem problem;
	int part;

	for (part = 0; part < MJ_TEMPLATE_PARTS; part++)
	{
		const char *text = template->parts[part];
		MjMustache *parsed;

		if (text == NULL)
			continue;
		parsed = mj_mustache_parse(text, strlen(text), &problem);
		if (parsed == NULL)
			raise_problem(ERRCODE_INVALID_PARAMETER_VALUE, template->name,
						  (MjTemplatePart) part, &problem);
		notice_missing(template, (MjTemplatePart) part, parsed);
		mj_mustache_free(parsed);
	}
}
