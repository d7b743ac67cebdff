/*-------------------------------------------------------------------------
 *
 * cron_part.h
 *	  What the cron files share among themselves: calendar arithmetic, the
 *	  reader's errors, the parts of the language.
 *
 * Layer: pure.  Included by cron*.c only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CRON_PART_H
#define MJ_CRON_PART_H

#include "cron.h"

#define MJ_USECS_PER_SEC INT64CONST(1000000)
#define MJ_SECS_PER_DAY INT64CONST(86400)

#define MJ_ALL_60 ((UINT64CONST(1) << 60) - 1)
#define MJ_ALL_HOURS ((uint32) 0x00FFFFFF)
#define MJ_ALL_MONTHS ((uint32) 0x1FFE)
#define MJ_ALL_DAYS ((uint32) 0xFFFFFFFE)
#define MJ_ALL_WEEKDAYS ((uint8) 0x7F)

/* A piece of the text that is being read; not terminated. */
typedef struct MjPiece
{
	const char *start;
	int len;
} MjPiece;

/* A piece as it may be shown in a message: short, printable ASCII. */
typedef struct MjQuoted
{
	char text[72];
} MjQuoted;

/* The state of one mj_cron_parse(). */
typedef struct MjCronReader
{
	MjPiece whole;		/* the whole list, for messages */
	MjPiece current;	/* the schedule of it that is being read */
	MjProblem *problem; /* filled when something is refused */
	MjCronNotes *notes; /* NULL if the caller wants none */
} MjCronReader;

/* cron_reader.c */
extern MjQuoted mj_cron_quote(MjPiece piece);
extern bool mj_cron_refuse(MjCronReader *reader, const char *hint,
						   const char *detail, ...) pg_attribute_printf(3, 4);
extern MjProblem *mj_cron_note(MjCronReader *reader, const char *what);
extern MjPiece mj_cron_trim(MjPiece piece);
extern bool mj_cron_split(MjPiece *rest, char separator, MjPiece *item);
extern bool mj_cron_word(MjPiece *rest, MjPiece *word);
extern bool mj_cron_equals(MjPiece piece, const char *word);
extern bool mj_cron_number(MjPiece piece, int *value);

/* cron_field.c */
extern bool mj_cron_read_fields(MjCronReader *reader, const MjPiece *fields,
								int count, MjCronPart *part);

/* cron_moment.c */
extern bool mj_cron_read_every(MjCronReader *reader, MjPiece text,
							   MjCronPart *part);
extern bool mj_cron_read_at(MjCronReader *reader, MjPiece text,
							MjCronPart *part);
extern bool mj_cron_is_interval(MjPiece text);

/* cron_day.c */
extern int64 mj_cron_day_number(int64 year, int month, int day);
extern void mj_cron_day_civil(int64 number, int64 *year, int *month, int *day);
extern int mj_cron_day_weekday(int64 number);
extern int mj_cron_month_length(int64 year, int month);
extern uint32 mj_cron_month_days(const MjCronPart *part, int length,
								 int first_weekday);
extern void mj_cron_part_finish(MjCronPart *part);

/* cron_words.c */
extern void mj_cron_describe_part(const MjCronPart *part, StringInfo out);

#endif /* MJ_CRON_PART_H */
