/*-------------------------------------------------------------------------
 *
 * cron_field.c
 *	  The fields of a schedule: second, minute, hour, day of month, month,
 *	  day of week, as text into sets.
 *
 * A field is a list of items; an item is "*", a value, a range, either of
 * them with a step, or one of the day fields' own forms (L, LW, 15W, 5L,
 * MON#2).
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_part.h"

typedef enum MjFieldId
{
	MJ_FIELD_SECOND,
	MJ_FIELD_MINUTE,
	MJ_FIELD_HOUR,
	MJ_FIELD_DAY,
	MJ_FIELD_MONTH,
	MJ_FIELD_WEEKDAY
} MjFieldId;

/* What a field may hold. */
typedef struct MjField
{
	MjFieldId id;
	const char *name;
	int min;
	int max;
	int star_max;			  /* the last value that "*" stands for */
	const char *const *words; /* names of the values from min on */
	const char *usage;		  /* for hints */
} MjField;

static const char *const month_words[] = {
	"january", "february",	"march",   "april",	   "may",	   "june", "july",
	"august",  "september", "october", "november", "december", NULL
};

static const char *const weekday_words[] = { "sunday",	  "monday",	  "tuesday",
											 "wednesday", "thursday", "friday",
											 "saturday",  NULL };

static const MjField fields_known[] = {
	{ MJ_FIELD_SECOND, "second", 0, 59, 59, NULL, "Use 0 to 59." },
	{ MJ_FIELD_MINUTE, "minute", 0, 59, 59, NULL, "Use 0 to 59." },
	{ MJ_FIELD_HOUR, "hour", 0, 23, 23, NULL, "Use 0 to 23." },
	{ MJ_FIELD_DAY, "day-of-month", 1, 31, 31, NULL,
	  "Use 1 to 31, \"L\" for the last day, \"15W\" for the weekday nearest the 15th, or \"LW\" for the last weekday." },
	{ MJ_FIELD_MONTH, "month", 1, 12, 12, month_words,
	  "Use 1 to 12 or JAN to DEC." },
	{ MJ_FIELD_WEEKDAY, "day-of-week", 0, 7, 6, weekday_words,
	  "Use 0 to 7 or SUN to SAT (0 and 7 are Sunday), \"5L\" for the last Friday, or \"MON#2\" for the second Monday." }
};

/* Values low, low + step, ... up to high. */
typedef struct MjRange
{
	int low;
	int high;
	int step;
} MjRange;

typedef enum MjValueState
{
	MJ_VALUE_OK,
	MJ_VALUE_UNKNOWN, /* neither a number nor a name */
	MJ_VALUE_OUT_OF_RANGE
} MjValueState;

/* Whether a piece begins with these lower case letters, in any case. */
static bool
begins_with(MjPiece piece, const char *letters, int n)
{
	char head[4] = "";

	memcpy(head, letters, n);
	return mj_cron_equals((MjPiece){ piece.start, Min(piece.len, n) }, head);
}

/* Whether a piece is of ASCII letters only. */
static bool
is_letters(MjPiece piece)
{
	for (int i = 0; i < piece.len; i++)
	{
		char c = piece.start[i] | 0x20;

		if (c < 'a' || c > 'z')
			return false;
	}
	return true;
}

/*
 * The index of the name that a piece is, as three letters or in full, or that
 * it begins like, if like is true; -1 if there is none.
 */
static int
find_word(const MjField *field, MjPiece piece, bool like)
{
	if (field->words == NULL || piece.len < 3 || !is_letters(piece))
		return -1;
	for (int i = 0; field->words[i] != NULL; i++)
	{
		if (mj_cron_equals(piece, field->words[i]) ||
			((like || piece.len == 3) &&
			 begins_with(piece, field->words[i], 3)))
			return i;
	}
	return -1;
}

/* Reads a number or a name. */
static MjValueState
read_value(const MjField *field, MjPiece piece, int *value)
{
	int word;

	if (mj_cron_number(piece, value))
		return *value >= field->min && *value <= field->max ?
			MJ_VALUE_OK :
			MJ_VALUE_OUT_OF_RANGE;
	word = find_word(field, piece, false);
	if (word < 0)
		return MJ_VALUE_UNKNOWN;
	*value = field->min + word;
	return MJ_VALUE_OK;
}

/* Refuses a value, with what it may have been meant to be. */
static bool
refuse_value(MjCronReader *reader, const MjField *field, MjPiece piece,
			 MjValueState state)
{
	MjQuoted quoted = mj_cron_quote(piece);
	int word = find_word(field, piece, true);
	char hint[64];

	if (state == MJ_VALUE_OUT_OF_RANGE)
		return mj_cron_refuse(
			reader, field->usage,
			"The value %s in the %s field is out of the range %d to %d.",
			quoted.text, field->name, field->min, field->max);
	if (piece.len == 1 && (piece.start[0] == '?' || piece.start[0] == '*'))
		return mj_cron_refuse(reader, "Write \"*\" alone for every value.",
							  "%s in the %s field is not a value.", quoted.text,
							  field->name);
	if (word >= 0)
	{
		snprintf(hint, sizeof(hint), "Write \"%.3s\" or \"%s\".",
				 field->words[word], field->words[word]);
		return mj_cron_refuse(reader, hint,
							  "The name %s in the %s field is unknown.",
							  quoted.text, field->name);
	}
	return mj_cron_refuse(
		reader, field->usage,
		field->words ? "%s in the %s field is neither a number nor a name." :
					   "%s in the %s field is not a number.",
		quoted.text, field->name);
}

/* Reads a value or refuses it. */
static bool
need_value(MjCronReader *reader, const MjField *field, MjPiece piece,
		   int *value)
{
	MjValueState state = read_value(field, piece, value);

	return state == MJ_VALUE_OK || refuse_value(reader, field, piece, state);
}

/* Adds a value to its field's set. */
static void
add_value(MjCronPart *part, const MjField *field, int value)
{
	switch (field->id)
	{
		case MJ_FIELD_SECOND:
			part->seconds |= UINT64CONST(1) << value;
			break;
		case MJ_FIELD_MINUTE:
			part->minutes |= UINT64CONST(1) << value;
			break;
		case MJ_FIELD_HOUR:
			part->hours |= (uint32) 1 << value;
			break;
		case MJ_FIELD_DAY:
			part->days |= (uint32) 1 << value;
			break;
		case MJ_FIELD_MONTH:
			part->months |= (uint32) 1 << value;
			break;
		case MJ_FIELD_WEEKDAY:
			part->weekdays |= (uint8) (1 << (value % 7));
			break;
	}
}

/* Adds a range's values. */
static void
add_range(MjCronPart *part, const MjField *field, const MjRange *range)
{
	for (int value = range->low; value <= range->high; value += range->step)
		add_value(part, field, value);
}

/*
 * The hint for a range that runs backwards: the two ranges that it stands
 * for, or its values if it has a step.
 */
static void
hint_for_wrap(const MjField *field, const MjRange *range, StringInfo hint)
{
	int count = field->star_max - field->min + 1;
	int span = (range->high - range->low + count) % count;

	if (field->id == MJ_FIELD_WEEKDAY && range->high == 0 && range->step == 1)
	{
		appendStringInfo(hint, "Write \"%d-7\".", range->low);
		return;
	}
	appendStringInfoString(hint, "Write \"");
	if (range->step > 1)
	{
		for (int i = 0; i <= span; i += range->step)
			appendStringInfo(hint, "%s%d", i > 0 ? "," : "",
							 field->min +
								 (range->low - field->min + i) % count);
	}
	else
	{
		appendStringInfo(hint, "%d", range->low);
		if (range->low < field->star_max)
			appendStringInfo(hint, "-%d", field->star_max);
		appendStringInfo(hint, ",%d", field->min);
		if (range->high > field->min)
			appendStringInfo(hint, "-%d", range->high);
	}
	appendStringInfoString(hint, "\".");
}

/* Refuses a range that runs backwards. */
static bool
refuse_wrap(MjCronReader *reader, const MjField *field, MjPiece item,
			const MjRange *range)
{
	StringInfoData hint;

	initStringInfo(&hint);
	hint_for_wrap(field, range, &hint);
	mj_cron_refuse(reader, hint.data,
				   "The range %s in the %s field runs backwards.",
				   mj_cron_quote(item).text, field->name);
	pfree(hint.data);
	return false;
}

/* Reads what is before the slash: "*", a value or a range. */
static bool
read_range(MjCronReader *reader, const MjField *field, MjPiece piece,
		   MjRange *range, bool *single)
{
	MjPiece rest = piece;
	MjPiece low;

	*single = false;
	if (piece.len == 1 && piece.start[0] == '*')
	{
		range->low = field->min;
		range->high = field->star_max;
		return true;
	}
	mj_cron_split(&rest, '-', &low);
	if (rest.start == NULL)
	{
		*single = true;
		if (!need_value(reader, field, piece, &range->low))
			return false;
		range->high = range->low;
		return true;
	}
	if (low.len == 0 || rest.len == 0)
		return mj_cron_refuse(reader, field->usage,
							  "The range %s in the %s field lacks its %s.",
							  mj_cron_quote(piece).text, field->name,
							  low.len == 0 ? "start" : "end");
	return need_value(reader, field, low, &range->low) &&
		need_value(reader, field, rest, &range->high);
}

/* Refuses a step that has no range before it ("5/15", "/15"). */
static bool
refuse_lone_step(MjCronReader *reader, const MjField *field, MjPiece item,
				 int low, int step)
{
	char hint[64];

	if (low < 0)
		snprintf(hint, sizeof(hint), "Write \"*/%d\".", step);
	else
		snprintf(hint, sizeof(hint), "Write \"%d-%d/%d\".", low,
				 field->star_max, step);
	return mj_cron_refuse(reader, hint,
						  "The step in %s in the %s field has no range.",
						  mj_cron_quote(item).text, field->name);
}

/* Reads the step, which is all after the slash. */
static bool
read_step(MjCronReader *reader, const MjField *field, MjPiece item,
		  MjPiece step, MjRange *range)
{
	if (!mj_cron_number(step, &range->step))
		return mj_cron_refuse(reader, "Write it like \"*/5\" or \"0-30/5\".",
							  "The step %s in the %s field is not a number.",
							  mj_cron_quote(step).text, field->name);
	if (range->step == 0)
		return mj_cron_refuse(reader, "Use a step of 1 or more.",
							  "The step of %s in the %s field is zero.",
							  mj_cron_quote(item).text, field->name);
	/* beyond any range all steps are alike; sums with it must not overflow */
	range->step = Min(range->step, 999);
	return true;
}

/* Says that only the first value of a range is left by its step. */
static void
note_long_step(MjCronReader *reader, const MjField *field, MjPiece item,
			   MjRange *range)
{
	MjProblem *note;

	note = mj_cron_note(reader, "has a step that is larger than its range");
	if (note != NULL)
		snprintf(note->detail, sizeof(note->detail),
				 "%s in the %s field stands for %d only.",
				 mj_cron_quote(item).text, field->name, range->low);
}

/* Reads an item that is "*", a value or a range, with or without a step. */
static bool
read_plain_item(MjCronReader *reader, const MjField *field, MjPiece item,
				MjCronPart *part)
{
	MjPiece step = item;
	MjPiece base;
	MjRange range = { 0, 0, 1 };
	bool single;
	bool has_step;

	mj_cron_split(&step, '/', &base);
	has_step = step.start != NULL;
	if (has_step && !read_step(reader, field, item, step, &range))
		return false;
	if (has_step && base.len == 0)
		return refuse_lone_step(reader, field, item, -1, range.step);
	if (!read_range(reader, field, base, &range, &single))
		return false;
	if (has_step && single)
		return refuse_lone_step(reader, field, item, range.low, range.step);
	if (range.low > range.high)
		return refuse_wrap(reader, field, item, &range);
	if (range.high > range.low && range.step > range.high - range.low)
	{
		note_long_step(reader, field, item, &range);
		range.high = range.low;
	}
	add_range(part, field, &range);
	return true;
}

/* Whether the piece ends in this lower case letter, with more before it. */
static bool
ends_in(MjPiece piece, char letter)
{
	return piece.len > 1 && (piece.start[piece.len - 1] | 0x20) == letter;
}

/*
 * Reads the day-of-month field's own forms.  "$" is another program's letter
 * for the last day.  Sets *done if it was one of them.
 */
static bool
read_day_item(MjCronReader *reader, const MjField *field, MjPiece item,
			  MjCronPart *part, bool *done)
{
	MjPiece number = { item.start, item.len - 1 };
	int day;

	*done = true;
	if (mj_cron_equals(item, "l") || mj_cron_equals(item, "$"))
		part->days |= 1;
	else if (mj_cron_equals(item, "lw"))
		part->near_days |= 1;
	else if (ends_in(item, 'w') && mj_cron_number(number, &day))
	{
		if (!need_value(reader, field, number, &day))
			return false;
		part->near_days |= (uint32) 1 << day;
	}
	else
		*done = false;
	return true;
}

/* Reads "MON#2", given the position of its '#'. */
static bool
read_nth_weekday(MjCronReader *reader, const MjField *field, MjPiece item,
				 MjCronPart *part, MjPiece nth)
{
	MjPiece name = { item.start, item.len - nth.len - 1 };
	int weekday;
	int n;

	if (!need_value(reader, field, name, &weekday))
		return false;
	if (!mj_cron_number(nth, &n) || n < 1 || n > 5)
		return mj_cron_refuse(
			reader, "Write \"MON#1\" to \"MON#5\", or \"1L\" for the last one.",
			"%s in the day-of-week field does not say which of the month, 1 to 5.",
			mj_cron_quote(item).text);
	part->nth_weekdays[n - 1] |= (uint8) (1 << (weekday % 7));
	return true;
}

/* Reads the day-of-week field's own forms; sets *done if it was one. */
static bool
read_weekday_item(MjCronReader *reader, const MjField *field, MjPiece item,
				  MjCronPart *part, bool *done)
{
	MjPiece rest = item;
	MjPiece head;
	int weekday;

	*done = true;
	mj_cron_split(&rest, '#', &head);
	if (rest.start != NULL)
		return read_nth_weekday(reader, field, item, part, rest);
	if (mj_cron_equals(item, "l"))
		return mj_cron_refuse(
			reader,
			"Write \"6\" for Saturday, or \"6L\" for the last Saturday of the month.",
			"\"L\" in the day-of-week field does not say which weekday.");
	head.len = item.len - 1;
	if (!ends_in(item, 'l') ||
		read_value(field, head, &weekday) == MJ_VALUE_UNKNOWN)
	{
		*done = false;
		return true;
	}
	if (!need_value(reader, field, head, &weekday))
		return false;
	part->last_weekdays |= (uint8) (1 << (weekday % 7));
	return true;
}

/* Reads one item of a field's list. */
static bool
read_item(MjCronReader *reader, const MjField *field, MjPiece item,
		  MjCronPart *part)
{
	bool done = false;
	bool ok = true;

	if (item.len == 0)
		return mj_cron_refuse(reader, "Remove the comma that is too much.",
							  "The list in the %s field has an empty item.",
							  field->name);
	if (field->id == MJ_FIELD_DAY)
		ok = read_day_item(reader, field, item, part, &done);
	else if (field->id == MJ_FIELD_WEEKDAY)
		ok = read_weekday_item(reader, field, item, part, &done);
	if (!ok || done)
		return ok;
	return read_plain_item(reader, field, item, part);
}

/* Whether a field may be any value ("*", or "?" as a day). */
static bool
is_any(const MjField *field, MjPiece text)
{
	return text.len == 1 &&
		(text.start[0] == '*' ||
		 (text.start[0] == '?' &&
		  (field->id == MJ_FIELD_DAY || field->id == MJ_FIELD_WEEKDAY)));
}

/* Reads a field. */
static bool
read_field(MjCronReader *reader, const MjField *field, MjPiece text,
		   MjCronPart *part)
{
	MjRange all = { field->min, field->star_max, 1 };
	MjPiece item;

	if (is_any(field, text))
	{
		add_range(part, field, &all);
		return true;
	}
	while (mj_cron_split(&text, ',', &item))
	{
		if (item.len == 1 && item.start[0] == '*')
			return mj_cron_refuse(reader, "Write \"*\" alone for every value.",
								  "\"*\" in the %s field is an item of a list.",
								  field->name);
		if (!read_item(reader, field, item, part))
			return false;
	}
	return true;
}

/* Whether a field's text starts with '*' (or the '?' that stands for it). */
static bool
starts_with_star(MjPiece text)
{
	return text.start[0] == '*' || text.start[0] == '?';
}

/*
 * The hint on how to require a day of both fields.  Days 1-7 (8-14, ...) with
 * one weekday are its first (second, ...) of the month.
 */
static void
hint_for_both_days(const MjCronPart *part, char *hint, size_t size)
{
	for (int nth = 0; nth < 4; nth++)
	{
		for (int weekday = 0; weekday < 7; weekday++)
		{
			const char *word = weekday_words[weekday];

			if (part->days == ((uint32) 0xFE << (7 * nth)) &&
				part->near_days == 0 && part->weekdays == (1 << weekday))
			{
				snprintf(
					hint, size,
					"To require both, write \"*\" as day of month and \"%c%c%c#%d\" as day of week.",
					word[0] - 0x20, word[1] - 0x20, word[2] - 0x20, nth + 1);
				return;
			}
		}
	}
	strlcpy(
		hint,
		"A weekday by its number in the month is written like \"MON#1\", with \"*\" as day of month.",
		size);
}

/* Describes both readings of a part that restricts both day fields. */
static void
note_both_days(MjCronReader *reader, const MjCronPart *part)
{
	MjCronPart both = *part;
	StringInfoData words;
	MjProblem *note;

	note = mj_cron_note(reader, "restricts both day of month and day of week");
	if (note == NULL)
		return;
	both.either_day = false;
	both.never = false;
	initStringInfo(&words);
	appendStringInfoString(&words, "It runs when either matches: ");
	mj_cron_describe_part(part, &words);
	appendStringInfoString(&words, ". Elsewhere it may mean: ");
	mj_cron_describe_part(&both, &words);
	appendStringInfoChar(&words, '.');
	strlcpy(note->detail, words.data, sizeof(note->detail));
	pfree(words.data);
	hint_for_both_days(part, note->hint, sizeof(note->hint));
}

/* Adds the notes on a schedule's days. */
static void
note_days(MjCronReader *reader, const MjCronPart *part)
{
	MjProblem *note;

	if (reader->notes == NULL)
		return;
	if (part->never)
	{
		note = mj_cron_note(reader, "never fires");
		if (note != NULL)
			strlcpy(note->detail, "No month that it names ever has such a day.",
					sizeof(note->detail));
	}
	else if (part->either_day)
		note_both_days(reader, part);
}

/*
 * Reads the five or six (with seconds first) fields of a schedule.
 */
bool
mj_cron_read_fields(MjCronReader *reader, const MjPiece *fields, int count,
					MjCronPart *part)
{
	const MjPiece *five = fields + (count - 5);

	if (count == 5)
		part->seconds = 1;
	for (int i = 0; i < count; i++)
	{
		if (!read_field(reader, &fields_known[6 - count + i], fields[i], part))
			return false;
	}
	part->kind = MJ_CRON_FIELDS;
	part->wildcard = starts_with_star(five[0]) || starts_with_star(five[1]);
	part->either_day = !starts_with_star(five[2]) && !starts_with_star(five[4]);
	mj_cron_part_finish(part);
	note_days(reader, part);
	return true;
}
