/*-------------------------------------------------------------------------
 *
 * suppression_store.c
 *	  Addresses that nothing is sent to (jobs.mail_suppression).
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "store.h"
#include "suppression_store.h"

static MjStatement add_statement = {
	"INSERT INTO jobs.mail_suppression"
	" (address, reason, since, source, role, mail_id)"
	" VALUES ($1, $2, $3, $4, $5, nullif($6, 0))"
	" ON CONFLICT (address) DO NOTHING",
	6,
	{ TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, NAMEOID, INT8OID }
};

static MjStatement remove_statement = {
	"DELETE FROM jobs.mail_suppression WHERE address = $1", 1, { TEXTOID }
};

static MjStatement find_statement = {
	"SELECT address FROM jobs.mail_suppression WHERE address = ANY ($1)",
	1,
	{ TEXTARRAYOID }
};

/* An address, which is in UTF-8 elsewhere, as it is in the table. */
static char *
to_server(const char *address)
{
	return pg_any_to_server(address, strlen(address), PG_UTF8);
}

/* The same for one from the table, in a context. */
static char *
from_server(char *address, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	char *converted = address;

	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		converted = pg_server_to_any(address, strlen(address), PG_UTF8);
	MemoryContextSwitchTo(old);
	return converted;
}

/* Add an entry; false if the address has one, which stays. */
bool
mj_suppression_add(const MjSuppression *entry)
{
	MjScope scope;
	MjParams params = { 0 };
	bool added;

	mj_store_enter(&scope);
	mj_param_text(&params, to_server(entry->address));
	mj_param_text(&params, entry->reason);
	mj_param_time(&params, entry->since);
	mj_param_text(&params, entry->by_server ? "server" : "role");
	mj_param_name(&params, entry->role);
	mj_param_int64(&params, entry->mail_id);
	added = mj_store_run(&add_statement, &params) > 0;
	mj_store_leave(&scope);
	return added;
}

/* Remove the entry of a folded address; false if it has none. */
bool
mj_suppression_remove(const char *address)
{
	MjScope scope;
	MjParams params = { 0 };
	bool removed;

	mj_store_enter(&scope);
	mj_param_text(&params, to_server(address));
	removed = mj_store_run(&remove_statement, &params) > 0;
	mj_store_leave(&scope);
	return removed;
}

/* Which of n folded addresses are suppressed: how many, and those. */
int
mj_suppression_find(const char *const *addresses, int n, const char ***found)
{
	MjScope scope;
	MjParams params = { 0 };
	Datum *values = palloc(Max(n, 1) * sizeof(Datum));
	int rows;
	int i;

	for (i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(to_server(addresses[i]));
	mj_store_enter(&scope);
	mj_param_array(&params, values, n, TEXTOID);
	rows = (int) mj_store_run(&find_statement, &params);
	*found = MemoryContextAlloc(scope.caller, Max(rows, 1) * sizeof(char *));
	for (i = 0; i < rows; i++)
		(*found)[i] = from_server(mj_row_text(&scope, i, 1), scope.caller);
	mj_store_leave(&scope);
	return rows;
}
