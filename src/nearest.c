/*-------------------------------------------------------------------------
 *
 * nearest.c
 *	  The names that are near to one that does not exist.
 *
 * A name is near if few letters differ, or if half of the words that were
 * given are words of it: people leave words out and write '-' for '_'.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "nearest.h"

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

/* A name and how far it is from what was given. */
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

/* How far a name is from what was given; FAR_AWAY: not worth saying. */
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

/* The names near to what was given, nearest first; returns how many. */
static int
find_suggestions(const char *given, const char **names, int nnames,
				 MjMayKnow may_know, void *arg, MjSuggestion *suggestions)
{
	MjNameWords words;
	MjSuggestion *all = palloc(sizeof(MjSuggestion) * (nnames + 1));
	int nall = 0;
	int n;
	int i;

	split_words(given, &words);
	for (i = 0; i < nnames; i++)
	{
		CHECK_FOR_INTERRUPTS();
		all[nall].name = names[i];
		all[nall].distance = name_distance(&words, names[i]);
		if (all[nall].distance != FAR_AWAY && may_know(i, arg))
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
 * A hint that gives the names nearest to one that does not exist, of those
 * that the caller may be told of; another hint if none is near.
 */
const char *
mj_nearest_hint(const char *given, const char **names, int nnames,
				MjMayKnow may_know, void *arg, const char *otherwise)
{
	MjSuggestion suggestions[MAX_SUGGESTIONS];
	int n = find_suggestions(given, names, nnames, may_know, arg, suggestions);
	StringInfoData hint;
	int i;

	if (n == 0)
		return otherwise;
	initStringInfo(&hint);
	appendStringInfoString(&hint, "Perhaps you meant ");
	for (i = 0; i < n; i++)
		appendStringInfo(&hint, "\"%s\"%s", suggestions[i].name,
						 i == n - 1		? "." :
							 i == n - 2 ? " or " :
										  ", ");
	return hint.data;
}
