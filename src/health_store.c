/*-------------------------------------------------------------------------
 *
 * health_store.c
 *	  What the checklist comes to (jobs.health()).
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "health_store.h"
#include "store.h"

static MjStatement failing = {
	"SELECT pg_catalog.string_agg(h.check_name || ': ' || h.detail, E'\\n')"
	" FROM jobs.health() AS h WHERE h.status = 'fail'",
	0
};

/* The checks that fail, a line each, palloc'ed; NULL: none does. */
char *
mj_health_failing(void)
{
	MjScope scope;
	char *text = NULL;

	mj_store_enter(&scope);
	if (mj_store_run(&failing, NULL) > 0)
		text = mj_row_text(&scope, 0, 1);
	mj_store_leave(&scope);
	return text;
}
