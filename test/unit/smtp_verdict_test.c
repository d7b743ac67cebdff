/*-------------------------------------------------------------------------
 *
 * smtp_verdict_test.c
 *	  Unit tests of what replies mean, of servers' ids, and of folded addresses.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "address.h"
#include "mail_tap.h"
#include "smtp_verdict.h"

/* A refusal; recipient -1: not of one. */
static MjSmtpResult
refused(int code, const char *enhanced, int recipient)
{
	MjSmtpResult result = { 0 };

	result.outcome = code >= 500 ? MJ_SMTP_PERMANENT : MJ_SMTP_TEMPORARY;
	result.error = MJ_SMTP_ERR_REFUSED;
	result.recipient = recipient;
	result.reply.code = code;
	strlcpy(result.reply.enhanced, enhanced, sizeof(result.reply.enhanced));
	return result;
}

static void
test_refusal(int code, const char *enhanced, int recipient, MjVerdict verdict,
			 bool throttled, bool unknown)
{
	MjSmtpResult result = refused(code, enhanced, recipient);
	char name[64];

	snprintf(name, sizeof(name), "%d %s, %d", code, enhanced, recipient);
	tap_is_int(mj_smtp_verdict(&result), verdict, name);
	tap_ok(mj_smtp_is_throttled(&result) == throttled, "throttled?");
	tap_ok(mj_smtp_mailbox_unknown(&result) == unknown, "unknown?");
}

static void
test_refusals(void)
{
	test_refusal(450, "4.2.1", 0, MJ_VERDICT_RETRY, false, false);
	test_refusal(450, "4.7.1", 0, MJ_VERDICT_RETRY, false, false);
	test_refusal(450, "4.7.1", -1, MJ_VERDICT_AGAIN, true, false);
	test_refusal(451, "", -1, MJ_VERDICT_RETRY, false, false);
	test_refusal(421, "", -1, MJ_VERDICT_AGAIN, true, false);
	test_refusal(421, "4.7.0", 2, MJ_VERDICT_AGAIN, true, false);
	test_refusal(454, "4.7.0", -1, MJ_VERDICT_AGAIN, true, false);
	test_refusal(450, "4.7.28", 0, MJ_VERDICT_AGAIN, true, false);
	test_refusal(451, "4.7.500", 0, MJ_VERDICT_AGAIN, true, false);
	test_refusal(452, "4.7", 0, MJ_VERDICT_RETRY, false, false);
	test_refusal(530, "5.7.0", -1, MJ_VERDICT_HOPELESS, false, false);
	test_refusal(534, "5.7.9", -1, MJ_VERDICT_HOPELESS, false, false);
	test_refusal(535, "5.7.8", -1, MJ_VERDICT_HOPELESS, false, false);
	test_refusal(538, "", -1, MJ_VERDICT_HOPELESS, false, false);
	test_refusal(550, "5.1.1", 0, MJ_VERDICT_FAILED, false, true);
	test_refusal(551, "5.1.6", 0, MJ_VERDICT_FAILED, false, true);
	test_refusal(556, "5.1.10", 0, MJ_VERDICT_FAILED, false, true);
	test_refusal(550, "", 0, MJ_VERDICT_FAILED, false, false);
	test_refusal(550, "5.1.2", 0, MJ_VERDICT_FAILED, false, false);
	test_refusal(550, "5.1.8", 0, MJ_VERDICT_FAILED, false, false);
	test_refusal(550, "5.7.1", 0, MJ_VERDICT_FAILED, false, false);
	test_refusal(450, "5.1.1", 0, MJ_VERDICT_RETRY, false, false);
}

static void
test_outcome(MjSmtpOutcome outcome, bool stale, MjVerdict verdict,
			 const char *name)
{
	MjSmtpResult result = { 0 };

	result.outcome = outcome;
	result.error = MJ_SMTP_ERR_LOST;
	result.recipient = -1;
	result.stale = stale;
	/* a reply to something before decides nothing */
	result.reply.code = 535;
	tap_is_int(mj_smtp_verdict(&result), verdict, name);
}

static void
test_outcomes(void)
{
	test_outcome(MJ_SMTP_ACCEPTED, false, MJ_VERDICT_SENT, "accepted");
	test_outcome(MJ_SMTP_LOST, false, MJ_VERDICT_RETRY, "lost");
	test_outcome(MJ_SMTP_LOST, true, MJ_VERDICT_AGAIN, "stale");
	test_outcome(MJ_SMTP_UNCERTAIN, false, MJ_VERDICT_UNCERTAIN, "uncertain");
	test_outcome(MJ_SMTP_PERMANENT, false, MJ_VERDICT_FAILED, "refused by us");
}

/* The id in a reply; "" if there is none. */
static void
test_id(const char *reply, const char *wanted)
{
	char id[MJ_SMTP_MAX_SERVER_ID] = "";

	if (!mj_smtp_server_id(reply, id, sizeof(id)))
		id[0] = '\0';
	tap_is(id, wanted, reply);
}

static void
test_ids(void)
{
	char longest[400];

	/* postfix */
	test_id("250 2.0.0 Ok: queued as 4F1Bq81Zz9", "4F1Bq81Zz9");
	test_id("250 2.0.0 Ok: queued as 8D2C94012F", "8D2C94012F");
	test_id(
		"250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 3B4C5D6E7F",
		"3B4C5D6E7F");
	/* exim */
	test_id("250 OK id=1rX2Yz-0003Ab-CD", "1rX2Yz-0003Ab-CD");
	test_id("250 OK id=1tLh2K-00000006XYz-3AbC", "1tLh2K-00000006XYz-3AbC");
	/* sendmail, Amazon SES, qmail */
	test_id("250 2.0.0 40BCdE0a012345 Message accepted for delivery",
			"40BCdE0a012345");
	test_id(
		"250 Ok 0102018c0f1e2d3c-4b5a6978-1234-5678-9abc-def012345678-000000",
		"0102018c0f1e2d3c-4b5a6978-1234-5678-9abc-def012345678-000000");
	test_id("250 ok 1700000000 qp 12345", "12345");
	/* Exchange, with and without the host */
	test_id(
		"250 2.6.0 <a@b.example> [InternalId=12345678901234, Hostname=X.prod.outlook.com] 8765 bytes in 0.1, 54 KB/sec Queued mail for delivery",
		"12345678901234");
	test_id(
		"250 2.6.0 <a@b.example> [InternalId=42007] Queued mail for delivery",
		"42007");
	/* Google, SendGrid, Resend and the like, OpenSMTPD, haraka */
	test_id(
		"250 2.0.0 OK  1700000000 5b1f17b1804b1-40a1b2c3d4esm1234567f8f.12 - gsmtp",
		"5b1f17b1804b1-40a1b2c3d4esm1234567f8f.12");
	test_id("250 Ok: queued as a1B2c3D4QWe-5f6G7h8I9j0",
			"a1B2c3D4QWe-5f6G7h8I9j0");
	test_id("250 4d5e6f70-1234-4abc-8def-0123456789ab",
			"4d5e6f70-1234-4abc-8def-0123456789ab");
	test_id("250 2.0.0 7c1f6a2b Message accepted for delivery", "7c1f6a2b");
	test_id("250 Message Queued (0F0B8A5C-1.1)", "");
	test_id("250 2.0.0 Message queued as <20240101.1234@mx.example>.",
			"20240101.1234@mx.example");
	/* no id */
	test_id("250 2.0.0 Ok", "");
	test_id("250 OK", "");
	test_id("250", "");
	test_id("", "");
	test_id("250 Great success", "");
	test_id("250 2.0.0 queued as", "");
	test_id("250 ok, message saved", "");
	test_id("250 2.6.0 message received", "");
	test_id("written to /srv/mails/1.eml", "");
	memset(longest, '1', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	memcpy(longest, "250 Ok: queued as ", 18);
	test_id(longest, "");
}

static void
test_fold(const char *address, const char *wanted)
{
	char folded[64];

	mj_address_fold(address, folded, sizeof(folded));
	tap_is(folded, wanted, address);
}

static void
test_folds(void)
{
	test_fold("Ada@Example.COM", "ada@example.com");
	test_fold("ada+x.y@example.com", "ada+x.y@example.com");
	test_fold("Zo\xc3\x8b@xn--mnchen-3ya.example",
			  "zo\xc3\x8b@xn--mnchen-3ya.example");
	test_fold("", "");
}

int
main(void)
{
	test_refusals();
	test_outcomes();
	test_ids();
	test_folds();
	return tap_done();
}
