/*-------------------------------------------------------------------------
 *
 * template_store.c
 *	  Templates of mails (jobs.mail_template).
 *
 * Whose a template is, is kept by name, which a dump has, and by oid, which it
 * has not: so a renamed role keeps its templates, and after a restore the name
 * counts.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "store.h"
#include "table.h"
#include "template_store.h"

static MjTable template_table = {
	"mail_template", "name, subject, body_text, body_html, role, updated_at"
};
static MjTable role_table = { "mail_template_role", "name, role_oid" };

#define OWNER_COLUMNS \
	"SELECT t.name, t.role, r.role_oid FROM jobs.mail_template t" \
	" LEFT JOIN jobs.mail_template_role r ON r.name = t.name "

static MjStatement lock_statement = {
	.sql = "SELECT FROM jobs.mail_template WHERE name = $1 FOR UPDATE",
	.nparams = 1,
	.types = { TEXTOID },
};

static MjStatement find_statement = {
	.sql = OWNER_COLUMNS "WHERE t.name = $1",
	.nparams = 1,
	.types = { TEXTOID },
};

#define TEMPLATE_TYPES \
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID

static MjStatement insert_statement = {
	.sql = "INSERT INTO jobs.mail_template (name, subject, body_text,"
		   " body_html, role, updated_at) VALUES ($1, $2, $3, $4, $5, $6)"
		   " ON CONFLICT (name) DO NOTHING",
	.nparams = 6,
	.types = { TEMPLATE_TYPES },
};

static MjStatement update_statement = {
	.sql = "UPDATE jobs.mail_template SET subject = $2, body_text = $3,"
		   " body_html = $4, role = $5, updated_at = $6 WHERE name = $1",
	.nparams = 6,
	.types = { TEMPLATE_TYPES },
};

static MjStatement save_role_statement = {
	.sql = "INSERT INTO jobs.mail_template_role (name, role_oid)"
		   " VALUES ($1, $2)"
		   " ON CONFLICT (name) DO UPDATE SET role_oid = excluded.role_oid",
	.nparams = 2,
	.types = { TEXTOID, OIDOID },
};

static MjStatement delete_statement = {
	.sql = "DELETE FROM jobs.mail_template WHERE name = $1",
	.nparams = 1,
	.types = { TEXTOID },
};

static MjStatement delete_role_statement = {
	.sql = "DELETE FROM jobs.mail_template_role WHERE name = $1",
	.nparams = 1,
	.types = { TEXTOID },
};

static MjStatement names_statement = {
	.sql = OWNER_COLUMNS "ORDER BY t.name",
};

/* Read the row of a template, without a statement; false: there is none. */
bool
mj_template_read(const char *name, MjTemplateRow *row)
{
	MjParams values;
	MjParams role;
	int i;

	if (!mj_table_find(&template_table, "mail_template_pkey",
					   CStringGetTextDatum(name), F_TEXTEQ, &values))
		return false;
	for (i = 0; i < MJ_TEMPLATE_PARTS; i++)
	{
		row->parts[i] = values.values[i + 1];
		row->nulls[i] = values.nulls[i + 1] == 'n';
	}
	row->role = NameStr(*DatumGetName(values.values[4]));
	row->updated_at = DatumGetTimestampTz(values.values[5]);
	if (mj_table_find(&role_table, "mail_template_role_pkey",
					  CStringGetTextDatum(name), F_TEXTEQ, &role))
		row->role_oid = DatumGetObjectId(role.values[1]);
	else /* restored */
		row->role_oid = get_role_oid(row->role, true);
	return true;
}

/* A row of OWNER_COLUMNS. */
static void
read_owner(MjScope *scope, uint64 row, MjTemplate *template)
{
	memset(template, 0, sizeof(MjTemplate));
	template->name = mj_row_text(scope, row, 1);
	template->role = mj_row_text(scope, row, 2);
	template->role_oid = mj_row_oid(row, 3);
	if (!OidIsValid(template->role_oid)) /* restored */
		template->role_oid = get_role_oid(template->role, true);
}

/*
 * Lock a template, and tell whose it is; false: there is none.  Whose it is, is
 * read once it is locked: somebody may have given it away meanwhile.
 */
bool
mj_template_find_locked(const char *name, MjTemplate *template)
{
	MjScope scope;
	MjParams params = { 0 };
	MjParams again = { 0 };
	bool found;

	mj_store_enter(&scope);
	mj_param_text(&params, name);
	mj_param_text(&again, name);
	found = mj_store_run(&lock_statement, &params) > 0 &&
		mj_store_run(&find_statement, &again) > 0;
	if (found)
		read_owner(&scope, 0, template);
	mj_store_leave(&scope);
	return found;
}

/* Write a template by a statement, and whose it is.  False: nothing written. */
static bool
save(MjStatement *statement, const MjTemplate *template)
{
	MjScope scope;
	MjParams params = { 0 };
	MjParams role = { 0 };
	bool saved;
	int i;

	mj_store_enter(&scope);
	mj_param_text(&params, template->name);
	for (i = 0; i < MJ_TEMPLATE_PARTS; i++)
		mj_param_text(&params, template->parts[i]);
	mj_param_name(&params, template->role);
	mj_param_time(&params, template->updated_at);
	saved = mj_store_run(statement, &params) > 0;
	if (saved)
	{
		mj_param_text(&role, template->name);
		mj_param_oid(&role, template->role_oid);
		mj_store_run(&save_role_statement, &role);
	}
	mj_store_leave(&scope);
	return saved;
}

/* Write a new template; false: somebody else has just made one of its name. */
bool
mj_template_insert(const MjTemplate *template)
{
	return save(&insert_statement, template);
}

/* Write a template that was locked. */
void
mj_template_update(const MjTemplate *template)
{
	(void) save(&update_statement, template);
}

/* Delete a template that was locked. */
void
mj_template_delete(const char *name)
{
	MjScope scope;
	MjParams params = { 0 };
	MjParams again = { 0 };

	mj_store_enter(&scope);
	mj_param_text(&params, name);
	mj_store_run(&delete_statement, &params);
	mj_param_text(&again, name);
	mj_store_run(&delete_role_statement, &again);
	mj_store_leave(&scope);
}

/* All templates by name, and whose they are; returns how many. */
int
mj_template_names(MjTemplate **templates)
{
	MjScope scope;
	uint64 rows;
	uint64 i;

	mj_store_enter(&scope);
	rows = mj_store_run(&names_statement, NULL);
	*templates =
		MemoryContextAlloc(scope.caller, sizeof(MjTemplate) * Max(rows, 1));
	for (i = 0; i < rows; i++)
		read_owner(&scope, i, &(*templates)[i]);
	mj_store_leave(&scope);
	return (int) rows;
}
