/*-------------------------------------------------------------------------
 *
 * mail_tap.h
 *	  Checks in the Test Anything Protocol, for the unit tests of mail.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_TAP_H
#define MJ_MAIL_TAP_H

#include <stdio.h>
#include <string.h>

static int tap_count = 0;
static int tap_failed = 0;

static void
tap_ok(bool passed, const char *name)
{
	printf("%sok %d - %s\n", passed ? "" : "not ", ++tap_count, name);
	tap_failed += !passed;
}

static void
tap_is(const char *got, const char *wanted, const char *name)
{
	bool same = strcmp(got, wanted) == 0;

	tap_ok(same, name);
	if (!same)
		printf("# got \"%s\"\n# wanted \"%s\"\n", got, wanted);
}

static void
tap_is_int(long long got, long long wanted, const char *name)
{
	tap_ok(got == wanted, name);
	if (got != wanted)
		printf("# got %lld, wanted %lld\n", got, wanted);
}

static int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif /* MJ_MAIL_TAP_H */
