/*-------------------------------------------------------------------------
 *
 * cron_reader.c
 *	  The reader of a schedule's text: pieces of it, and what is said about
 *	  them.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_part.h"

/* ASCII only, whatever the locale: schedules mean the same everywhere. */
static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Lower case of an ASCII letter. */
static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/*
 * A piece as a message may show it, in double quotes: cut to a length that
 * reads well, control characters and each run of bytes outside of ASCII as one
 * question mark, so that it is valid in every encoding.
 */
MjQuoted
mj_cron_quote(MjPiece piece)
{
	MjQuoted quoted;
	int room = sizeof(quoted.text) - 6; /* quotes, "...", end */
	int n = 0;
	bool foreign = false;

	quoted.text[n++] = '"';
	for (int i = 0; i < piece.len; i++)
	{
		char c = piece.start[i];
		bool plain = c >= ' ' && c <= '~';

		if (!plain && foreign)
			continue;
		if (n > room)
		{
			memcpy(quoted.text + n, "...", 3);
			n += 3;
			break;
		}
		foreign = !plain && !is_space(c);
		quoted.text[n++] = plain ? c : is_space(c) ? ' ' : '?';
	}
	quoted.text[n++] = '"';
	quoted.text[n] = '\0';
	return quoted;
}

/*
 * Fills in the reader's problem.  hint may be NULL.  Always returns false, so
 * that a reading function can return it.
 */
bool
mj_cron_refuse(MjCronReader *reader, const char *hint, const char *detail, ...)
{
	MjProblem *problem = reader->problem;
	va_list args;

	snprintf(problem->message, sizeof(problem->message), "invalid schedule %s",
			 mj_cron_quote(reader->whole).text);
	va_start(args, detail);
	vsnprintf(problem->detail, sizeof(problem->detail), detail, args);
	va_end(args);
	strlcpy(problem->hint, hint ? hint : "", sizeof(problem->hint));
	return false;
}

/*
 * Adds a note that says "schedule "..." <what>", and returns it for its detail
 * and hint to be filled in; NULL if no note is wanted or there is no room.
 */
MjProblem *
mj_cron_note(MjCronReader *reader, const char *what)
{
	MjProblem *note;

	if (reader->notes == NULL || reader->notes->count >= MJ_CRON_MAX_NOTES)
		return NULL;
	note = &reader->notes->note[reader->notes->count++];
	memset(note, 0, sizeof(MjProblem));
	snprintf(note->message, sizeof(note->message), "schedule %s %s",
			 mj_cron_quote(reader->current).text, what);
	return note;
}

/* Without the white space around it. */
MjPiece
mj_cron_trim(MjPiece piece)
{
	while (piece.len > 0 && is_space(piece.start[0]))
	{
		piece.start++;
		piece.len--;
	}
	while (piece.len > 0 && is_space(piece.start[piece.len - 1]))
		piece.len--;
	return piece;
}

/*
 * Takes the next item of a list off *rest.  An empty list has one empty item.
 * Returns false when all are taken, which rest->start = NULL tells.
 */
bool
mj_cron_split(MjPiece *rest, char separator, MjPiece *item)
{
	const char *end;

	if (rest->start == NULL)
		return false;
	*item = *rest;
	end = memchr(rest->start, separator, rest->len);
	if (end == NULL)
	{
		rest->start = NULL;
		rest->len = 0;
		return true;
	}
	item->len = (int) (end - rest->start);
	rest->start = end + 1;
	rest->len -= item->len + 1;
	return true;
}

/* Takes the next word off *rest; false if only white space is left. */
bool
mj_cron_word(MjPiece *rest, MjPiece *word)
{
	*rest = mj_cron_trim(*rest);
	word->start = rest->start;
	word->len = 0;
	while (word->len < rest->len && !is_space(rest->start[word->len]))
		word->len++;
	rest->start += word->len;
	rest->len -= word->len;
	return word->len > 0;
}

/* Whether a piece is this lower case word, in any case of its letters. */
bool
mj_cron_equals(MjPiece piece, const char *word)
{
	for (int i = 0; i < piece.len; i++)
	{
		if (word[i] == '\0' || lower(piece.start[i]) != word[i])
			return false;
	}
	return word[piece.len] == '\0';
}

/*
 * Reads a piece that is a number and nothing else.  Numbers that are too long
 * for an int read as PG_INT32_MAX, which is out of every range.
 */
bool
mj_cron_number(MjPiece piece, int *value)
{
	int64 number = 0;

	if (piece.len == 0)
		return false;
	for (int i = 0; i < piece.len; i++)
	{
		char c = piece.start[i];

		if (c < '0' || c > '9')
			return false;
		number = Min(number * 10 + (c - '0'), PG_INT32_MAX);
	}
	*value = (int) number;
	return true;
}
