/*-------------------------------------------------------------------------
 *
 * job_lookup.c
 *	  The job that a caller names: found, or an error that names the nearest.
 *
 * A name is near if few letters differ, or if half of the words that were
 * given are words of it: people leave words out and write '-' for '_'.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "access.h"
#include "job_lookup.h"
#include "shmem.h"

#define MAX_SUGGESTIONS 3
/* What is longer is compared by its beginning, which keeps it quick. */
#define MAX_COMPARED 200 /* bytes */
#define MAX_WORDS 32
/* A word that begins with another of this length at least counts as it. */
#define MIN_STEM 4

/* A name taken apart for comparison. */
typedef struct MjNameWords
{
	char text[MAX_COMPARED + 1]; /* lower case, words joined by '_' */
	int length;
	int nwords;
	const char *word[MAX_WORDS];
	int word_length[MAX_WORDS];
} MjNameWords;

/* A job's name and how far it is from what was given. */
typedef struct MjSuggestion
{
	const char *name;
	int distance; /* in words not found, then in letters */
} MjSuggestion;

#define FAR_AWAY PG_INT32_MAX
#define WORD_MISSING 10000

/* Take a name apart. */
static void
split_words(const char *name, MjNameWords *words)
{
	int i;
	bool in_word = false;

	words->length = pg_mbcliplen(name, strlen(name), MAX_COMPARED);
	words->nwords = 0;
	for (i = 0; i < words->length; i++)
	{
		char c = pg_tolower((unsigned char) name[i]);
		bool is_break = strchr("-_.:/ ", c) != NULL;

		words->text[i] = is_break ? '_' : c;
		if (!is_break && !in_word && words->nwords < MAX_WORDS)
		{
			words->word[words->nwords] = &words->text[i];
			words->word_length[words->nwords++] = 0;
		}
		in_word = !is_break;
		if (in_word && words->nwords > 0)
			words->word_length[words->nwords - 1]++;
	}
	words->text[words->length] = '\0';
}

/* Is one word the other, or its stem? */
static bool
words_match(const char *a, int a_length, const char *b, int b_length)
{
	int shorter = Min(a_length, b_length);

	if (a_length != b_length && shorter < MIN_STEM)
		return false;
	return strncmp(a, b, shorter) == 0;
}

/* How many of the words given are words of the other name? */
static int
count_common(const MjNameWords *given, const MjNameWords *other)
{
	int common = 0;
	int i;
	int j;

	for (i = 0; i < given->nwords; i++)
	{
		for (j = 0; j < other->nwords; j++)
			if (words_match(given->word[i], given->word_length[i],
							other->word[j], other->word_length[j]))
				break;
		if (j < other->nwords)
			common++;
	}
	return common;
}

/* How far a job's name is from what was given; FAR_AWAY: not worth saying. */
static int
name_distance(const MjNameWords *given, const char *name)
{
	MjNameWords other;
	int letters;
	int common;

	split_words(name, &other);
	letters = varstr_levenshtein_less_equal(given->text, given->length,
											other.text, other.length, 1, 1, 1,
											MAX_COMPARED, true);
	if (letters <= 1 + given->length / 5)
		return letters;
	common = count_common(given, &other);
	if (common == 0 || common * 2 < given->nwords)
		return FAR_AWAY;
	return (given->nwords - common + 1) * WORD_MISSING + letters;
}

static int
compare_suggestions(const void *a, const void *b)
{
	return ((const MjSuggestion *) a)->distance -
		((const MjSuggestion *) b)->distance;
}

/* May the current user know of a job? */
static bool
may_know(const MjJobName *name)
{
	Oid role = OidIsValid(name->role_oid) ? name->role_oid :
											get_role_oid(name->role, true);

	return mj_access_sees_role(role);
}

/* The names near to what was given, nearest first; returns how many. */
static int
find_suggestions(const char *given, MjSuggestion *suggestions)
{
	MjNameWords words;
	MjJobName *names;
	MjSuggestion *all;
	int n = mj_job_names(&names);
	bool sees_all = mj_access_sees_all();
	int nall = 0;
	int i;

	split_words(given, &words);
	all = palloc(sizeof(MjSuggestion) * (n + 1));
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		all[nall].name = names[i].name;
		all[nall].distance = name_distance(&words, names[i].name);
		if (all[nall].distance != FAR_AWAY && (sees_all || may_know(&names[i])))
			nall++;
	}
	qsort(all, nall, sizeof(MjSuggestion), compare_suggestions);
	n = Min(nall, MAX_SUGGESTIONS);
	for (i = 0; i < n; i++)
		if (all[i].distance / WORD_MISSING > all[0].distance / WORD_MISSING)
			break;
	memcpy(suggestions, all, sizeof(MjSuggestion) * i);
	return i;
}

/*
 * Raise 42704 for a name that no job has, with the nearest names that the
 * current user may know as a hint.
 */
void
mj_job_lookup_failed(const char *name)
{
	MjSuggestion suggestions[MAX_SUGGESTIONS];
	int n = find_suggestions(name, suggestions);
	StringInfoData hint;
	int i;

	initStringInfo(&hint);
	appendStringInfoString(&hint,
						   n > 0 ? "Perhaps you meant " :
								   "The view jobs.status lists the jobs.");
	for (i = 0; i < n; i++)
		appendStringInfo(&hint, "\"%s\"%s", suggestions[i].name,
						 i == n - 1		? "." :
							 i == n - 2 ? " or " :
										  ", ");
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("job \"%s\" does not exist", name),
			 errhint("%s", hint.data)));
}

/* The job of that name; raises 42704 if there is none. */
void
mj_job_require(const char *name, MjJob *job)
{
	if (!mj_job_find(name, job))
		mj_job_lookup_failed(name);
}

/* The job of that name, its definition locked; raises 42704. */
void
mj_job_require_locked(const char *name, MjJob *job)
{
	if (!mj_job_find_locked(name, job))
		mj_job_lookup_failed(name);
}

/* Raise 55000 if a job was defined in another database, and does not run here. */
void
mj_job_check_own(const MjJob *job)
{
	if (job->foreign_origin)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "job \"%s\" was defined in another database, it does not run here",
				 job->name),
			 errhint("jobs.adopt() makes all jobs this database's own.")));
}

/*
 * Raise unless runs of a job will be done here, as its role, sooner or later:
 * 55000, 42704.
 */
void
mj_job_check_runs_here(const MjJob *job)
{
	if (!mj_shmem_available())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("motionify_jobs is not preloaded"),
			 errhint(
				 "Add motionify_jobs to shared_preload_libraries and restart the server.")));
	mj_job_check_own(job);
	if (!OidIsValid(job->role_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" does not exist", job->role)));
}
