/*-------------------------------------------------------------------------
 *
 * current.c
 *	  The run at hand of this process, as the SQL of its job sees it.
 *
 * Id and arguments are this process's own; how far the run is stands in its
 * slot, for others to see.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "current.h"

static int64 current_run_id = 0; /* 0: none */
static Datum current_args;		 /* jsonb, the executor's */
static bool current_args_isnull;

/*
 * The command of a run begins.  args must live until mj_current_end().  The
 * slot names the run already, and says nothing of its progress.
 */
void
mj_current_begin(int64 run_id, Datum args, bool args_isnull)
{
	current_run_id = run_id;
	current_args = args;
	current_args_isnull = args_isnull;
}

/* The run at hand has ended.  Harmless when there is none. */
void
mj_current_end(void)
{
	current_run_id = 0;
	current_args = (Datum) 0;
	current_args_isnull = true;
}

/* The run at hand, 0 when there is none. */
int64
mj_current_run_id(void)
{
	return current_run_id;
}

/* Its arguments; false when they are NULL or there is no run. */
bool
mj_current_args(Datum *args)
{
	if (current_run_id == 0 || current_args_isnull)
		return false;
	*args = current_args;
	return true;
}

/* Copy a note, cut at a character's border. */
static void
set_note(char *target, const char *note)
{
	int length = (int) strlen(note);

	if (length > MJ_MAX_NOTE)
		length = pg_mbcliplen(note, length, MJ_MAX_NOTE);
	memcpy(target, note, length);
	target[length] = '\0';
}

/*
 * Say how far the run at hand is.  NULL leaves total or note as they are.
 * Does nothing without a run.  Takes the lock.
 */
void
mj_current_progress(int64 done, const int64 *total, const char *note)
{
	char text[MJ_MAX_NOTE + 1];

	if (current_run_id == 0 || mj_my_slot == NULL)
		return;
	if (note != NULL)
		set_note(text, note);
	mj_lock();
	mj_my_slot->progress.reported = true;
	mj_my_slot->progress.done = done;
	if (total != NULL)
	{
		mj_my_slot->progress.has_total = true;
		mj_my_slot->progress.total = *total;
	}
	if (note != NULL)
		strlcpy(mj_my_slot->progress.note, text, MJ_MAX_NOTE + 1);
	mj_unlock();
}
