/*-------------------------------------------------------------------------
 *
 * cron.c
 *	  The schedule: reading its text.
 *
 * The text is a list, separated by semicolons, of: five fields, six fields
 * with seconds first, a nickname such as @daily, @every <interval>,
 * @at <time>, @reboot.  Its instants are the union of theirs.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_part.h"

/* More fields than any schedule has: enough to tell how many there are */
#define MJ_CRON_MAX_WORDS 8

/* Nicknames, and the fields that they stand for. */
static const struct
{
	const char *name;
	const char *fields[5];
} nicknames[] = { { "@yearly", { "0", "0", "1", "1", "*" } },
				  { "@annually", { "0", "0", "1", "1", "*" } },
				  { "@monthly", { "0", "0", "1", "*", "*" } },
				  { "@weekly", { "0", "0", "*", "*", "0" } },
				  { "@daily", { "0", "0", "*", "*", "*" } },
				  { "@midnight", { "0", "0", "*", "*", "*" } },
				  { "@hourly", { "0", "*", "*", "*", "*" } } };

/* Reads a nickname without an argument; sets *known if it is one. */
static bool
read_nickname(MjCronReader *reader, MjPiece word, MjCronPart *part, bool *known)
{
	*known = true;
	if (mj_cron_equals(word, "@reboot"))
	{
		part->kind = MJ_CRON_REBOOT;
		return true;
	}
	for (int i = 0; i < (int) lengthof(nicknames); i++)
	{
		MjPiece fields[5];

		if (!mj_cron_equals(word, nicknames[i].name))
			continue;
		for (int j = 0; j < 5; j++)
		{
			fields[j].start = nicknames[i].fields[j];
			fields[j].len = 1;
		}
		return mj_cron_read_fields(reader, fields, 5, part);
	}
	*known = false;
	return true;
}

/* Reads a schedule that begins with '@'. */
static bool
read_at_sign(MjCronReader *reader, MjPiece text, MjCronPart *part)
{
	MjPiece rest = text;
	MjPiece word;
	bool known;

	mj_cron_word(&rest, &word);
	rest = mj_cron_trim(rest);
	if (mj_cron_equals(word, "@every"))
		return mj_cron_read_every(reader, rest, part);
	if (mj_cron_equals(word, "@at"))
		return mj_cron_read_at(reader, rest, part);
	if (!read_nickname(reader, word, part, &known))
		return false;
	if (!known)
		return mj_cron_refuse(
			reader,
			"Known are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, @reboot, @every <interval> and @at <time>.",
			"The nickname %s is unknown.", mj_cron_quote(word).text);
	if (rest.len > 0)
		return mj_cron_refuse(reader, "Separate several schedules by \";\".",
							  "%s follows the nickname %s.",
							  mj_cron_quote(rest).text,
							  mj_cron_quote(word).text);
	return true;
}

/* Whether the text is a nickname that lacks only its '@'. */
static bool
is_bare_nickname(MjPiece text)
{
	for (int i = 0; i < (int) lengthof(nicknames); i++)
	{
		if (mj_cron_equals(text, nicknames[i].name + 1))
			return true;
	}
	return mj_cron_equals(text, "reboot");
}

/* Whether the text begins with a letter. */
static bool
begins_with_letter(MjPiece text)
{
	char c = text.len > 0 ? text.start[0] | 0x20 : '\0';

	return c >= 'a' && c <= 'z';
}

/*
 * The hint for a text that has not the shape of a schedule: what it was
 * perhaps meant to be.
 */
static void
hint_for_shape(MjPiece text, int words, char *hint, size_t size)
{
	MjPiece rest = text;
	MjPiece word = { "", 0 };

	mj_cron_word(&rest, &word);
	rest = mj_cron_equals(word, "every") ? mj_cron_trim(rest) : text;
	if (mj_cron_is_interval(rest))
		snprintf(hint, size, "Write \"@every %s.",
				 mj_cron_quote(rest).text + 1);
	else if (is_bare_nickname(text))
		snprintf(hint, size, "Write \"@%.*s\".", text.len, text.start);
	else if (words == 7)
		strlcpy(
			hint,
			"There is no field for the year; for one time write \"@at 2030-01-31 10:00\".",
			size);
	else if (begins_with_letter(text))
		strlcpy(
			hint,
			"The name of a job comes first, then its schedule, then its command.",
			size);
	else
		strlcpy(hint, "For example, \"30 4 * * *\" is every day at 04:30.",
				size);
}

/* Refuses a text that has not the shape of a schedule. */
static bool
refuse_shape(MjCronReader *reader, MjPiece text, int words)
{
	char hint[128];

	hint_for_shape(text, words, hint, sizeof(hint));
	return mj_cron_refuse(
		reader, hint,
		"It has %s%d field%s; a schedule has five (minute, hour, day of month, month, day of week), or six with the second first.",
		words >= MJ_CRON_MAX_WORDS ? "at least " : "", words,
		words == 1 ? "" : "s");
}

/*
 * Another program's "30 seconds": a number from 1 to 59 and the word.  Sets
 * *done if it is that.
 */
static bool
read_seconds(MjCronReader *reader, MjPiece text, const MjPiece *words,
			 int count, MjCronPart *part, bool *done)
{
	int seconds;

	*done = count == 2 && mj_cron_number(words[0], &seconds) && seconds >= 1 &&
		seconds <= 59 &&
		(mj_cron_equals(words[1], "seconds") ||
		 mj_cron_equals(words[1], "second"));
	return !*done || mj_cron_read_every(reader, text, part);
}

/* Whether the word sets a zone inside of the schedule, as some crons allow. */
static bool
is_zone_setting(MjPiece word)
{
	MjPiece name;

	return mj_cron_split(&word, '=', &name) && word.start != NULL &&
		(mj_cron_equals(name, "tz") || mj_cron_equals(name, "cron_tz"));
}

/* Reads one schedule of the list. */
static bool
read_part(MjCronReader *reader, MjPiece text, MjCronPart *part)
{
	MjPiece rest = text;
	MjPiece words[MJ_CRON_MAX_WORDS];
	int count = 0;
	bool done;

	if (text.start[0] == '@')
		return read_at_sign(reader, text, part);
	while (count < MJ_CRON_MAX_WORDS && mj_cron_word(&rest, &words[count]))
		count++;
	if (!read_seconds(reader, text, words, count, part, &done))
		return false;
	if (done)
		return true;
	if (is_zone_setting(words[0]))
		return mj_cron_refuse(reader,
							  "Give the time zone in the argument timezone.",
							  "%s is not part of a schedule.",
							  mj_cron_quote(words[0]).text);
	if (count != 5 && count != 6)
		return refuse_shape(reader, text, count);
	return mj_cron_read_fields(reader, words, count, part);
}

/* Reads the list into the schedule, which has room for it. */
static bool
read_list(MjCronReader *reader, MjSchedule *schedule)
{
	MjPiece rest = reader->whole;

	while (mj_cron_split(&rest, ';', &reader->current))
	{
		if (schedule->nparts == MJ_CRON_MAX_PARTS)
			return mj_cron_refuse(reader, "Make it two jobs.",
								  "It lists more than %d schedules.",
								  MJ_CRON_MAX_PARTS);
		reader->current = mj_cron_trim(reader->current);
		if (reader->current.len == 0)
			return mj_cron_refuse(reader,
								  "Remove the semicolon that is too much.",
								  "The list has an empty schedule.");
		if (!read_part(reader, reader->current,
					   &schedule->parts[schedule->nparts]))
			return false;
		schedule->nparts++;
	}
	return true;
}

/* Refuses a text that cannot be a schedule at all. */
static bool
check_text(MjCronReader *reader)
{
	if (reader->whole.len == 0)
		return mj_cron_refuse(
			reader, "For example, \"30 4 * * *\" is every day at 04:30.",
			"The schedule is empty.");
	if (reader->whole.len > MJ_CRON_MAX_TEXT)
		return mj_cron_refuse(reader, NULL,
							  "The schedule is longer than %d bytes.",
							  MJ_CRON_MAX_TEXT);
	return true;
}

/* How many schedules the list has, at least 1, at most the limit. */
static int
count_parts(MjPiece text)
{
	MjPiece item;
	int count = 0;

	while (count < MJ_CRON_MAX_PARTS && mj_cron_split(&text, ';', &item))
		count++;
	return count;
}

/*
 * Reads a schedule.  True: *out is a palloc'ed schedule, and notes, unless it
 * is NULL, holds what is worth a NOTICE.  False: problem says what is wrong,
 * and nothing is left allocated.  Raises nothing but out of memory.
 */
bool
mj_cron_parse(const char *text, MjSchedule **out, MjCronNotes *notes,
			  MjProblem *problem)
{
	MjCronReader reader;
	MjSchedule *schedule;

	memset(problem, 0, sizeof(MjProblem));
	if (notes != NULL)
		notes->count = 0;
	reader.whole.start = text;
	reader.whole.len = (int) strnlen(text, MJ_CRON_MAX_TEXT + 1);
	reader.whole = mj_cron_trim(reader.whole);
	reader.current = reader.whole;
	reader.problem = problem;
	reader.notes = notes;
	if (!check_text(&reader))
		return false;

	schedule = palloc0(offsetof(MjSchedule, parts) +
					   count_parts(reader.whole) * sizeof(MjCronPart));
	if (!read_list(&reader, schedule))
	{
		pfree(schedule);
		return false;
	}
	*out = schedule;
	return true;
}
