/*-------------------------------------------------------------------------
 *
 * group.c
 *	  The group: runs that share a transaction, and its commit.
 *
 * A durable commit costs more than a short run.  Runs of jobs with group_commit
 * that are next to each other in the batch are executed in one transaction, each
 * in a subtransaction of its own, and all their outcomes are written before it
 * commits: each run is still all or nothing, with its own row in the log, and
 * one that fails takes no other with it.
 *
 * What cannot be done in a subtransaction, or fails for being there, is done
 * again alone; and so are all, if the transaction as a whole fails.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "attempt.h"
#include "clock.h"
#include "fault.h"
#include "group.h"
#include "mailer.h"
#include "worker.h"

/* After so long a group is committed. */
#define MJ_GROUP_US 20000

/* A member of the group at hand, and what it came to. */
typedef struct Member
{
	MjWork *work;
	MjOutcome outcome;
} Member;

static MemoryContext group_context = NULL; /* of the caller */
static Member members[MJ_MAX_BATCH];
static int nmembers = 0;

/*
 * Called once in an executor.  The context survives a commit; the caller resets
 * it before mj_group_execute().
 */
void
mj_group_init(MemoryContext context)
{
	group_context = context;
}

/*
 * Is an error one that the run may not have met in a transaction of its own?
 * VACUUM, COMMIT in a procedure, and what waits for others with locks of the
 * members before it in hand.
 */
static bool
is_due_to_group(const ErrorData *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_ACTIVE_SQL_TRANSACTION:
		case ERRCODE_INVALID_TRANSACTION_TERMINATION:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
		case ERRCODE_LOCK_NOT_AVAILABLE:
			return true;
		default:
			return false;
	}
}

/* The work of a member; what it has deferred is checked at its end. */
static void
perform(Member *member)
{
	mj_attempt_perform_part(member->work, &member->outcome);
	ReleaseCurrentSubTransaction();
}

/* A member has failed; its subtransaction is to be undone. */
static ErrorData *
undo(void)
{
	ErrorData *error = mj_attempt_catch();

	RollbackAndReleaseCurrentSubTransaction();
	mj_attempt_resume();
	return error;
}

/*
 * Execute a member in a subtransaction.  False when it is to be executed again,
 * alone.
 */
static bool
execute_member(Member *member)
{
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;
	int guc_level = NewGUCNestLevel();
	char reason[MJ_REASON_SIZE];
	bool alone;

	mj_attempt_begin(member->work);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(group_context);
	PG_TRY();
	{
		perform(member);
	}
	PG_CATCH();
	{
		error = undo();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(group_context);
	CurrentResourceOwner = owner;
	AtEOXact_GUC(false, guc_level);
	mj_runner_reset_objects();
	alone = error != NULL && is_due_to_group(error) &&
		!mj_worker_is_cancelled(reason);
	if (error != NULL && !alone)
		mj_attempt_set_failure(member->work, error, &member->outcome);
	mj_attempt_end();
	return !alone;
}

/* Execute what there is time for, in the transaction that is open. */
static int
execute_members(MjWork *works, int n, MjWork *at_hand)
{
	TimestampTz until = mj_clock_real() + MJ_GROUP_US;
	int i;

	for (i = 0; i < n; i++)
	{
		Member *member = &members[nmembers];

		if (i > 0 && mj_clock_real() >= until)
			break;
		if (!mj_batch_begin(&works[i], true))
			continue;
		*at_hand = works[i];
		member->work = &works[i];
		if (execute_member(member))
			nmembers++;
	}
	return i;
}

/* Has a member succeeded? */
static bool
has_succeeded(const Member *member)
{
	return strcmp(member->outcome.status, "succeeded") == 0;
}

/* Write what the members came to, into the transaction that is open. */
static void
write_outcomes(void)
{
	int i;

	if (mj_attempt_must_commit_first())
		mj_attempt_commit_first();
	for (i = 0; i < nmembers; i++)
	{
		const Member *member = &members[i];
		const MjWork *work = member->work;

		if (has_succeeded(member))
			mj_attempt_write_success(work, &member->outcome);
		else
		{
			mj_mailer_put_back_leftovers(work->run.worker_id);
			(void) mj_runlog_failed(&work->run, &work->owner, &member->outcome,
									&work->job);
		}
	}
	MJ_FAULT("group-written");
}

/* The transaction of a group.  Returns how many of the works it got to. */
static int
perform_group(MjWork *works, int n, MjWork *at_hand)
{
	int reached;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(group_context);
	reached = execute_members(works, n, at_hand);
	write_outcomes();
	mj_worker_commit(group_context);
	MJ_FAULT("group-committed");
	return reached;
}

/* The outcomes are committed: the members are done, and told of. */
static void
report_members(void)
{
	int i;

	for (i = 0; i < nmembers; i++)
		members[i].work->done = true;
	for (i = 0; i < nmembers; i++)
		mj_runlog_report(&members[i].work->run, &members[i].work->owner,
						 &members[i].outcome);
}

/*
 * Execute runs that may share a transaction, as many as there is time for;
 * "at_hand" is kept to the one that is being executed.  What is not done then is
 * to be executed alone, or comes next.  Returns how many were reached.  Not in a
 * transaction.
 */
int
mj_group_execute(MjWork *works, int n, MjWork *at_hand)
{
	volatile int reached = n;

	nmembers = 0;
	PG_TRY();
	{
		reached = perform_group(works, n, at_hand);
		report_members();
	}
	PG_CATCH();
	{
		ErrorData *error = mj_attempt_catch();

		AbortCurrentTransaction();
		mj_attempt_resume();
		mj_attempt_end();
		ereport(
			DEBUG1,
			(errmsg_internal("a group of %d runs is executed one by one: %s",
							 nmembers, error->message)));
	}
	PG_END_TRY();
	mj_batch_end_group(works, reached);
	return reached;
}
