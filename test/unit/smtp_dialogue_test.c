/*-------------------------------------------------------------------------
 *
 * smtp_dialogue_test.c
 *	  Unit tests of the SMTP dialogue: scripts of what the server says, and
 *	  what is said to it, whatever pieces the bytes come in.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mail_tap.h"
#include "smtp_dialogue.h"

static MjDialogue dialogue;
static char said[256 * 1024]; /* all that the dialogue sent */
static size_t nsaid;

static const char *const rcpt_one[] = { "c@d" };
static const char *const rcpt_three[] = { "c@d", "e@f", "g@h" };

/* ------------------------------------------------------------------------
 * Replies
 * ------------------------------------------------------------------------
 */

/* Feed in pieces of "step" bytes; "" if the reply is complete at the end. */
static const char *
feed(MjReplyParser *parser, const char *bytes, size_t length, size_t step)
{
	MjReplyStatus status = MJ_REPLY_MORE;

	mj_reply_init(parser);
	while (length > 0)
	{
		size_t consumed;

		status = mj_reply_feed(parser, bytes, Min(length, step), &consumed);
		bytes += consumed;
		length -= consumed;
		if (status == MJ_REPLY_BAD)
			return parser->complaint;
		if (status == MJ_REPLY_DONE)
			return length == 0 ? "" : "bytes left";
	}
	return status == MJ_REPLY_LINE ? "more lines" : "more bytes";
}

static void
test_reply(const char *bytes, const char *wanted, int code,
		   const char *enhanced, const char *text)
{
	static const size_t steps[] = { 1, 2, 3, 7, 10000 };

	for (size_t i = 0; i < lengthof(steps); i++)
	{
		MjReplyParser parser;
		const char *got = feed(&parser, bytes, strlen(bytes), steps[i]);
		bool same = strcmp(got, wanted) == 0;

		if (same && wanted[0] == '\0')
			same = parser.reply.code == code &&
				strcmp(parser.reply.enhanced, enhanced) == 0 &&
				strcmp(parser.reply.text, text) == 0;
		if (same && i < lengthof(steps) - 1)
			continue;
		tap_ok(same, bytes[0] ? "reply" : "empty reply");
		if (!same)
			printf("# step %zu: got \"%s\" %d \"%s\" \"%s\"\n", steps[i], got,
				   parser.reply.code, parser.reply.enhanced, parser.reply.text);
		return;
	}
}

static void
test_replies(void)
{
	const char *bad = "not an SMTP reply";

	test_reply("250 ok\r\n", "", 250, "", "ok");
	test_reply("250 ok\n", "", 250, "", "ok");
	test_reply("250\r\n", "", 250, "", "");
	test_reply("250 2.1.0 Ok\r\n", "", 250, "2.1.0", "2.1.0 Ok");
	test_reply("550-5.1.1 no such\r\n550 5.1.1 user\r\n", "", 550, "5.1.1",
			   "5.1.1 no such 5.1.1 user");
	test_reply("550 5.111.222\r\n", "", 550, "5.111.222", "5.111.222");
	test_reply("550 5.1111.1 x\r\n", "", 550, "", "5.1111.1 x");
	test_reply("550 5.1. x\r\n", "", 550, "", "5.1. x");
	test_reply("550 5.1.1x\r\n", "", 550, "", "5.1.1x");
	test_reply("550 4.1.1 x\r\n", "", 550, "", "4.1.1 x");
	test_reply("250 a\x01\xff\tb\r\n", "", 250, "", "a???b");
	test_reply("250-a\r\n250-b\r\n250 c\r\n", "", 250, "", "a b c");
	test_reply("250-a\r\n", "more lines", 0, "", "");
	test_reply("250 a", "more bytes", 0, "", "");
	test_reply("250 a\r\nx", "bytes left", 0, "", "");
	test_reply("250-a\r\n251 b\r\n", "reply whose lines differ in their codes",
			   0, "", "");
	test_reply("hello\r\n", bad, 0, "", "");
	test_reply("\r\n", bad, 0, "", "");
	test_reply("25\r\n", bad, 0, "", "");
	test_reply("2500 ok\r\n", bad, 0, "", "");
	test_reply("250_ok\r\n", bad, 0, "", "");
	test_reply("150 ok\r\n", bad, 0, "", "");
	test_reply("650 ok\r\n", bad, 0, "", "");
	test_reply("2x0 ok\r\n", bad, 0, "", "");
	test_reply("HTTP/1.1 400 Bad Request\r\n", bad, 0, "", "");
}

static void
test_endless(void)
{
	static char long_line[MJ_SMTP_MAX_REPLY_LINE + 8];
	static char many[(MJ_SMTP_MAX_REPLY_LINES + 1) * 7];
	MjReplyParser parser;

	memset(long_line, 'x', sizeof(long_line));
	memcpy(long_line, "250 ", 4);
	tap_is(feed(&parser, long_line, MJ_SMTP_MAX_REPLY_LINE, 100), "more bytes",
		   "a line of the greatest length");
	tap_is(feed(&parser, long_line, MJ_SMTP_MAX_REPLY_LINE + 1, 100),
		   "reply line is too long", "an endless line");
	long_line[MJ_SMTP_MAX_REPLY_LINE] = '\n';
	tap_is(feed(&parser, long_line, MJ_SMTP_MAX_REPLY_LINE + 1, 100), "",
		   "a long line that ends");
	tap_is_int(strlen(parser.reply.text), sizeof(parser.reply.text) - 1,
			   "its text is cut");
	for (int i = 0; i <= MJ_SMTP_MAX_REPLY_LINES; i++)
		memcpy(many + 7 * i, "250-x\r\n", 7);
	tap_is(feed(&parser, many, sizeof(many) - 7, 50), "more lines",
		   "many lines");
	tap_is(feed(&parser, many, sizeof(many), 50), "reply of too many lines",
		   "endless lines");
}

/* ------------------------------------------------------------------------
 * Dialogues
 * ------------------------------------------------------------------------
 */

/* Let the dialogue say what it can, in pieces of at most step bytes. */
static void
listen(size_t step)
{
	const char *bytes;
	size_t length;

	while ((length = mj_dialogue_output(&dialogue, &bytes)) > 0)
	{
		length = Min(length, step);
		if (nsaid + length < sizeof(said))
			memcpy(said + nsaid, bytes, length);
		nsaid += length;
		said[Min(nsaid, sizeof(said) - 1)] = '\0';
		mj_dialogue_sent(&dialogue, length);
	}
}

/* The server answers; each answer after all was said that could be. */
static void
answer(const char *const *answers, size_t step)
{
	for (; *answers && mj_dialogue_busy(&dialogue); answers++)
	{
		listen(step);
		for (const char *p = *answers; *p;)
		{
			size_t n = Min(strlen(p), step);

			mj_dialogue_received(&dialogue, p, n);
			p += n;
		}
	}
	listen(step);
}

#define ANSWER(step, ...) \
	answer((const char *const[]){ __VA_ARGS__, NULL }, step)

static void
start(const char *ehlo)
{
	nsaid = 0;
	said[0] = '\0';
	mj_dialogue_init(&dialogue);
	mj_dialogue_hello(&dialogue, "me.example");
	ANSWER(1000, ehlo);
	nsaid = 0;
	said[0] = '\0';
}

static void
begin(const char *const *recipients, int nrecipients, const char *content)
{
	static MjEnvelope envelope;

	envelope.from = "a@b";
	envelope.recipients = recipients;
	envelope.nrecipients = nrecipients;
	envelope.content = content;
	envelope.length = strlen(content);
	mj_dialogue_message(&dialogue, &envelope);
}

static void
check(MjSmtpOutcome outcome, MjSmtpError error, MjDialogueState state,
	  const char *name)
{
	bool same = dialogue.result.outcome == outcome &&
		dialogue.result.error == error && dialogue.state == state;

	tap_ok(same, name);
	if (!same)
		printf("# outcome %d (%d), error %d (%d), state %d (%d): %s\n",
			   dialogue.result.outcome, outcome, dialogue.result.error, error,
			   dialogue.state, state, dialogue.result.message);
}

static void
test_hello(void)
{
	mj_dialogue_init(&dialogue);
	mj_dialogue_hello(&dialogue, "me.example");
	ANSWER(1,
		   "250-mx.example hello\r\n250-SIZE 1000\r\n250-8BITMIME\r\n"
		   "250-PIPELINING\r\n250-X-Odd a b\r\n250 smtputf8\r\n");
	check(MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE, MJ_DLG_READY, "hello");
	tap_is(said, "EHLO me.example\r\n", "hello: what is said");
	tap_is(dialogue.extensions.list, "SIZE 8BITMIME PIPELINING X-Odd smtputf8",
		   "hello: extensions");
	tap_ok(dialogue.extensions.size && dialogue.extensions.size_limit == 1000 &&
			   dialogue.extensions.eightbitmime &&
			   dialogue.extensions.pipelining && dialogue.extensions.smtputf8 &&
			   !dialogue.extensions.starttls,
		   "hello: what they mean");

	nsaid = 0;
	mj_dialogue_init(&dialogue);
	mj_dialogue_hello(&dialogue, "me.example");
	ANSWER(100, "502 what?\r\n", "250 hello\r\n");
	check(MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE, MJ_DLG_READY, "HELO instead");
	tap_is(said, "EHLO me.example\r\nHELO me.example\r\n", "what is said");

	start("421 4.3.2 going down\r\n");
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_REFUSED, MJ_DLG_CLOSED, "hello: 421");
	start("550 who are you\r\n");
	ANSWER(100, "550 go away\r\n");
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_REFUSED, MJ_DLG_CLOSED, "hello: refused");
	start("ok\r\n");
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_PROTOCOL, MJ_DLG_CLOSED, "hello: garbage");
	start("334 ?\r\n");
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_PROTOCOL, MJ_DLG_CLOSED, "hello: 334");
}

static void
test_message(size_t step)
{
	start("250 hello\r\n");
	begin(rcpt_three, 3, "S: x\r\n\r\n.\r\n..a\r\nb.\r\n");
	ANSWER(step, "250 ok\r\n", "250-ok\r\n250 ok\r\n", "251 ok\r\n",
		   "250 ok\r\n", "354 go\r\n", "250 2.0.0 queued as 123\r\n");
	check(MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE, MJ_DLG_READY, "a message");
	tap_is(said,
		   "MAIL FROM:<a@b>\r\n"
		   "RCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\n"
		   "DATA\r\n"
		   "S: x\r\n\r\n..\r\n...a\r\nb.\r\n.\r\n",
		   "what is said");
	tap_is(dialogue.result.reply.text, "2.0.0 queued as 123", "its reply");

	nsaid = 0;
	begin(rcpt_one, 1, "");
	ANSWER(step, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n");
	check(MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE, MJ_DLG_READY,
		  "a second one, empty");
	tap_is(said, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n",
		   "what is said");

	nsaid = 0;
	mj_dialogue_quit(&dialogue);
	ANSWER(step, "221 bye\r\n");
	tap_is(said, "QUIT\r\n", "the end");
	tap_is_int(dialogue.state, MJ_DLG_CLOSED, "the end is the end");
}

/* Content over several buffers, all dots, comes out doubled. */
static void
test_stuffing(void)
{
	static char content[60001];
	bool right = true;
	const char *data;

	for (int i = 0; i < 60000; i++)
		content[i] = ".\r\n"[i % 3];
	start("250 hello\r\n");
	begin(rcpt_one, 1, content);
	ANSWER(777, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n");
	data = strstr(said, "DATA\r\n") + 6;
	for (int i = 0; i < 20000; i++)
		right &= memcmp(data + 4 * i, "..\r\n", 4) == 0;
	tap_ok(right && strcmp(data + 80000, ".\r\n") == 0,
		   "20,000 dots are doubled across buffers");
}

static void
test_refusals(void)
{
	start("250 hello\r\n");
	begin(rcpt_three, 3, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "550 5.1.1 no such user\r\n",
		   "250 reset\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY,
		  "recipient refused: the connection stays");
	tap_is_int(dialogue.result.recipient, 1, "which recipient");
	tap_is(dialogue.result.reply.enhanced, "5.1.1", "the enhanced code");
	tap_is(dialogue.result.message,
		   "SMTP server refused RCPT TO: 550 5.1.1 no such user", "in words");
	tap_is(said,
		   "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nRSET\r\n",
		   "what is said");

	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "452 4.2.2 full\r\n", "250 ok\r\n");
	check(MJ_SMTP_TEMPORARY, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY,
		  "sender refused for now");
	tap_is_int(dialogue.result.recipient, -1, "no recipient");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "554 no\r\n", "250 ok\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY, "DATA refused");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "354 go\r\n",
		   "451 4.3.0 later\r\n");
	check(MJ_SMTP_TEMPORARY, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY,
		  "content refused for now");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "421 4.7.0 too many\r\n");
	check(MJ_SMTP_TEMPORARY, MJ_SMTP_ERR_REFUSED, MJ_DLG_CLOSED,
		  "421 ends the connection");
	begin(rcpt_one, 1, "x\r\n");
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_LOST, MJ_DLG_CLOSED, "after the end");
	tap_ok(dialogue.result.stale, "which is not the message's fault");

	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "550 no\r\n", "500 what is RSET\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED, MJ_DLG_CLOSED,
		  "RSET refused: the outcome stays");
}

static void
test_local(void)
{
	static const char *const bad[] = { "", "c@d>\r\nDATA", "c d@e", "<c@d>",
									   "c@d\xc3\xbc" };

	start("250-hello\r\n250 SIZE 10\r\n");
	begin(rcpt_one, 1, "12345678\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n");
	check(MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE, MJ_DLG_READY, "size that fits");
	tap_ok(strstr(said, "MAIL FROM:<a@b> SIZE=10\r\n") != NULL, "is announced");
	begin(rcpt_one, 1, "123456789\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY,
		  "size that does not fit");
	tap_is(dialogue.result.reply.enhanced, "5.3.4", "its enhanced code");
	begin(rcpt_one, 1, "\xc3\xbc\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY,
		  "8-bit content without 8BITMIME");
	begin(rcpt_one, 1, "a\nb\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_CONFIG, MJ_DLG_READY, "bare LF");
	begin(rcpt_one, 1, "a\rb\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_CONFIG, MJ_DLG_READY, "bare CR");
	begin(rcpt_one, 1, "a\r");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_CONFIG, MJ_DLG_READY, "CR at the end");
	begin(rcpt_one, 0, "a\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_CONFIG, MJ_DLG_READY, "no recipient");
	for (size_t i = 0; i < lengthof(bad); i++)
	{
		begin(&bad[i], 1, "x\r\n");
		check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_CONFIG, MJ_DLG_READY,
			  "bad recipient");
	}
	start("250-hello\r\n250 8BITMIME\r\n");
	begin(rcpt_one, 1, "\xc3\xbc\r\n");
	ANSWER(100, "250 ok\r\n");
	tap_is(said, "MAIL FROM:<a@b> BODY=8BITMIME\r\nRCPT TO:<c@d>\r\n",
		   "8-bit content with 8BITMIME");
}

/*
 * Break the connection when n answers have come, and skip the last "unsent"
 * bytes that would go out then.
 */
static void
break_after(int n, size_t unsent, MjSmtpError error)
{
	static const char *const answers[] = { "250 ok\r\n", "250 ok\r\n",
										   "354 go\r\n", "250 ok\r\n" };
	const char *bytes;
	size_t length;

	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	for (int i = 0; i < n; i++)
		ANSWER(100, answers[i]);
	if (unsent > 0)
	{
		/* undo: the state as it is with some bytes still to send */
		start("250 hello\r\n");
		begin(rcpt_one, 1, "x\r\n");
		for (int i = 0; i < n; i++)
		{
			listen(100);
			mj_dialogue_received(&dialogue, answers[i], strlen(answers[i]));
		}
		length = mj_dialogue_output(&dialogue, &bytes);
		mj_dialogue_sent(&dialogue, length - unsent);
	}
	mj_dialogue_broken(&dialogue, error, "it broke");
}

static void
test_broken(void)
{
	for (int i = 0; i <= 2; i++)
	{
		break_after(i, 0, MJ_SMTP_ERR_LOST);
		check(MJ_SMTP_LOST, MJ_SMTP_ERR_LOST, MJ_DLG_CLOSED,
			  "lost before the content");
		tap_ok(!dialogue.result.stale, "a new connection is not stale");
		break_after(i, 0, MJ_SMTP_ERR_TIMEOUT);
		check(MJ_SMTP_LOST, MJ_SMTP_ERR_TIMEOUT, MJ_DLG_CLOSED,
			  "timed out before the content");
		break_after(i, 0, MJ_SMTP_ERR_INTERRUPTED);
		check(MJ_SMTP_INTERRUPTED, MJ_SMTP_ERR_INTERRUPTED, MJ_DLG_CLOSED,
			  "interrupted before the content");
	}
	break_after(3, 3, MJ_SMTP_ERR_LOST);
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_LOST, MJ_DLG_CLOSED, "lost before the dot");
	break_after(3, 3, MJ_SMTP_ERR_INTERRUPTED);
	check(MJ_SMTP_INTERRUPTED, MJ_SMTP_ERR_INTERRUPTED, MJ_DLG_CLOSED,
		  "interrupted before the dot");
	break_after(3, 2, MJ_SMTP_ERR_LOST);
	check(MJ_SMTP_UNCERTAIN, MJ_SMTP_ERR_LOST, MJ_DLG_CLOSED,
		  "lost with the dot on the way");
	break_after(3, 0, MJ_SMTP_ERR_LOST);
	check(MJ_SMTP_UNCERTAIN, MJ_SMTP_ERR_LOST, MJ_DLG_CLOSED,
		  "lost after the dot");
	break_after(3, 0, MJ_SMTP_ERR_TIMEOUT);
	check(MJ_SMTP_UNCERTAIN, MJ_SMTP_ERR_TIMEOUT, MJ_DLG_CLOSED,
		  "timed out after the dot");
	break_after(3, 0, MJ_SMTP_ERR_INTERRUPTED);
	check(MJ_SMTP_UNCERTAIN, MJ_SMTP_ERR_INTERRUPTED, MJ_DLG_CLOSED,
		  "interrupted after the dot");
	break_after(4, 0, MJ_SMTP_ERR_LOST);
	check(MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE, MJ_DLG_CLOSED,
		  "lost after the reply: accepted");
}

static void
test_stale(void)
{
	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n");
	begin(rcpt_one, 1, "x\r\n");
	listen(100);
	mj_dialogue_broken(&dialogue, MJ_SMTP_ERR_LOST, "it broke");
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_LOST, MJ_DLG_CLOSED, "lost at MAIL");
	tap_ok(dialogue.result.stale, "of a second message: stale");

	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n");
	mj_dialogue_received(&dialogue, "421 bye\r\n", 9);
	check(MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE, MJ_DLG_CLOSED,
		  "a farewell between messages");
	begin(rcpt_one, 1, "x\r\n");
	tap_ok(dialogue.result.stale, "makes the next one stale");
}

static void
test_mismatch(void)
{
	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n250 ok\r\n");
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_PROTOCOL, MJ_DLG_CLOSED,
		  "a reply too many");
	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	mj_dialogue_received(&dialogue, "250 ok\r\n", 8);
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_PROTOCOL, MJ_DLG_CLOSED,
		  "a reply before its command");
	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "250 ok\r\n");
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_PROTOCOL, MJ_DLG_CLOSED, "250 to DATA");
	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "354 go\r\n");
	check(MJ_SMTP_LOST, MJ_SMTP_ERR_PROTOCOL, MJ_DLG_CLOSED, "354 to MAIL");
	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "354 go\r\n");
	check(MJ_SMTP_UNCERTAIN, MJ_SMTP_ERR_PROTOCOL, MJ_DLG_CLOSED,
		  "354 to the dot");
	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "\xff\xfe\r\n");
	check(MJ_SMTP_UNCERTAIN, MJ_SMTP_ERR_PROTOCOL, MJ_DLG_CLOSED,
		  "garbage after the dot");
	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n");
	mj_dialogue_received(&dialogue, "354 go\r\n", 8);
	mj_dialogue_received(&dialogue, "552 too much\r\n", 14);
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED, MJ_DLG_CLOSED,
		  "refused in the middle of the content");
}

int
main(void)
{
	test_replies();
	test_endless();
	test_hello();
	test_message(1);
	test_message(3);
	test_message(10000);
	test_stuffing();
	test_refusals();
	test_local();
	test_broken();
	test_stale();
	test_mismatch();
	return tap_done();
}
