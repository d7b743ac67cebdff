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
static MjSmtpResult result;	   /* of EHLO, or the last message that ended */
static const char *ended = ""; /* its tag */
static char said[256 * 1024];  /* all that the dialogue sent */
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

/* Take what is known of messages. */
static void
collect(void)
{
	void *tag;

	if (dialogue.nmessages == 0)
		result = dialogue.result;
	while (mj_dialogue_take(&dialogue, &tag, &result))
		ended = tag;
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
	collect();
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
	collect();
	mj_dialogue_message(&dialogue, &envelope, "");
}

static void
check(MjSmtpOutcome outcome, MjSmtpError error, MjDialogueState state,
	  const char *name)
{
	bool same;

	collect();
	same = result.outcome == outcome && result.error == error &&
		mj_dialogue_state(&dialogue) == state;

	tap_ok(same, name);
	if (!same)
		printf("# outcome %d (%d), error %d (%d), state %d (%d): %s\n",
			   result.outcome, outcome, result.error, error,
			   mj_dialogue_state(&dialogue), state, result.message);
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
	tap_is(result.reply.text, "2.0.0 queued as 123", "its reply");

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
	tap_is_int(mj_dialogue_state(&dialogue), MJ_DLG_CLOSED,
			   "the end is the end");
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
	tap_is_int(result.recipient, 1, "which recipient");
	tap_is(result.reply.enhanced, "5.1.1", "the enhanced code");
	tap_is(result.message,
		   "SMTP server refused RCPT TO: 550 5.1.1 no such user", "in words");
	tap_is(said,
		   "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nRSET\r\n",
		   "what is said");

	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "452 4.2.2 full\r\n", "250 ok\r\n");
	check(MJ_SMTP_TEMPORARY, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY,
		  "sender refused for now");
	tap_is_int(result.recipient, MJ_SMTP_ABOUT_SENDER, "it was the sender");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "554 no\r\n", "250 ok\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY, "DATA refused");
	tap_is_int(result.recipient, MJ_SMTP_ABOUT_ALL, "it was the message");
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
	tap_ok(result.stale, "which is not the message's fault");

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
									   "c@d\xfc" };

	start("250-hello\r\n250 SIZE 10\r\n");
	begin(rcpt_one, 1, "12345678\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n");
	check(MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE, MJ_DLG_READY, "size that fits");
	tap_ok(strstr(said, "MAIL FROM:<a@b> SIZE=10\r\n") != NULL, "is announced");
	begin(rcpt_one, 1, "123456789\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY,
		  "size that does not fit");
	tap_is(result.reply.enhanced, "5.3.4", "its enhanced code");
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
	listen(100);
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
		tap_ok(!result.stale, "a new connection is not stale");
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
	tap_ok(result.stale, "of a second message: stale");

	start("250 hello\r\n");
	begin(rcpt_one, 1, "x\r\n");
	ANSWER(100, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n");
	mj_dialogue_received(&dialogue, "421 bye\r\n", 9);
	check(MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE, MJ_DLG_CLOSED,
		  "a farewell between messages");
	begin(rcpt_one, 1, "x\r\n");
	collect();
	tap_ok(result.stale, "makes the next one stale");
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

/* ------------------------------------------------------------------------
 * Groups
 * ------------------------------------------------------------------------
 */

#define PIPELINING "250-hello\r\n250 PIPELINING\r\n"
#define ENVELOPE "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"

static const MjEnvelope one = { "a@b", rcpt_one, 1, "1\r\n", 3 };
static const MjEnvelope two = { "a@b", rcpt_one, 1, "2\r\n", 3 };
static const MjEnvelope several = { "a@b", rcpt_three, 3, "3\r\n", 3 };

/* What is said now is this. */
static void
says(const char *wanted, const char *name)
{
	nsaid = 0;
	said[0] = '\0';
	listen(10000);
	tap_is(said, wanted, name);
}

static void
hears(const char *reply)
{
	mj_dialogue_received(&dialogue, reply, strlen(reply));
}

static void
hand(const MjEnvelope *envelope, const char *tag)
{
	mj_dialogue_message(&dialogue, envelope, (void *) tag);
}

/* The next message that ended is this one, and ended so. */
static void
ends(const char *tag, MjSmtpOutcome outcome, bool stale, const char *name)
{
	void *got = "none";
	bool same;

	memset(&result, 0, sizeof(result));
	same = mj_dialogue_take(&dialogue, &got, &result) &&
		strcmp(got, tag) == 0 && result.outcome == outcome &&
		result.stale == stale;
	tap_ok(same, name);
	if (!same)
		printf("# %s: outcome %d (%d), stale %d (%d): %s\n", (char *) got,
			   result.outcome, outcome, result.stale, stale, result.message);
}

static void
ends_nothing(const char *name)
{
	void *got;

	tap_ok(!mj_dialogue_take(&dialogue, &got, &result), name);
}

/* Two messages, the second behind the dot of the first. */
static void
start_two(void)
{
	start(PIPELINING);
	hand(&one, "1");
	listen(10000);
	hears("250 ok\r\n250 ok\r\n354 go\r\n");
	hand(&two, "2");
	listen(10000);
}

static void
test_groups(void)
{
	start(PIPELINING);
	tap_ok(mj_dialogue_wants(&dialogue), "an idle connection takes a message");
	hand(&one, "1");
	says(ENVELOPE, "the envelope is a group");
	tap_ok(!mj_dialogue_wants(&dialogue), "no other one before the content");
	hears("250 ok\r\n250 ok\r\n354 go\r\n");
	tap_ok(mj_dialogue_wants(&dialogue), "but with it");
	hand(&two, "2");
	says("1\r\n.\r\n" ENVELOPE, "the dot is in a group with the next envelope");
	tap_ok(!mj_dialogue_wants(&dialogue), "two are enough");
	hears("250 one\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	ends("1", MJ_SMTP_ACCEPTED, false, "the first is accepted");
	tap_is(result.reply.text, "one", "by its own reply");
	ends_nothing("not the second");
	says("2\r\n.\r\n", "its content");
	hand(&several, "3");
	says("MAIL FROM:<a@b>\r\n"
		 "RCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\n",
		 "an envelope may also come behind the dot; several recipients");
	hears("250 two\r\n250 ok\r\n250 ok\r\n250 ok\r\n");
	says("", "of which one is not answered");
	ends("2", MJ_SMTP_ACCEPTED, false, "the second is accepted");
	hears("250 ok\r\n");
	says("DATA\r\n", "DATA comes when all are");
	hears("354 go\r\n");
	says("3\r\n.\r\n", "and the content");
	hears("250 three\r\n");
	ends("3", MJ_SMTP_ACCEPTED, false, "the third is accepted");
	mj_dialogue_quit(&dialogue);
	says("QUIT\r\n", "the end");
}

static void
test_refused_in_group(void)
{
	start(PIPELINING);
	hand(&one, "1");
	listen(10000);
	hears("250 ok\r\n550 5.1.1 who?\r\n");
	ends("1", MJ_SMTP_PERMANENT, false, "a recipient is refused");
	hand(&two, "2");
	says("", "DATA is to be answered first");
	hears("503 no recipients\r\n");
	says("RSET\r\n" ENVELOPE, "RSET is in a group with the next envelope");
	hears("250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	says("2\r\n.\r\n", "the connection stays");
	hears("250 ok\r\n");
	ends("2", MJ_SMTP_ACCEPTED, false, "the second is accepted");

	start_two();
	hears("452 4.2.2 full\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	ends("1", MJ_SMTP_TEMPORARY, false, "the content is refused");
	says("2\r\n.\r\n", "the next one is not");
	hears("250 ok\r\n");
	ends("2", MJ_SMTP_ACCEPTED, false, "and accepted");

	start_two();
	hears("250 ok\r\n451 later\r\n503 no sender\r\n503 no recipient\r\n");
	ends("1", MJ_SMTP_ACCEPTED, false, "the first is accepted");
	ends("2", MJ_SMTP_TEMPORARY, false, "the second by its first reply");
	tap_is_int(result.reply.code, 451, "which is MAIL's");
	says("RSET\r\n", "RSET also without a next one");
	hears("250 reset\r\n");
	tap_ok(mj_dialogue_usable(&dialogue), "the connection is idle");

	start(PIPELINING);
	hand(&several, "1");
	listen(10000);
	hears("250 ok\r\n250 ok\r\n550 5.1.1 who?\r\n");
	ends("1", MJ_SMTP_PERMANENT, false, "one of several is refused");
	tap_is_int(result.recipient, 1, "which one");
	hears("250 ok\r\n");
	says("RSET\r\n", "RSET, and no DATA");
}

static void
test_void(void)
{
	start(PIPELINING);
	hand(&one, "1");
	listen(10000);
	hears("250 ok\r\n550 5.1.1 who?\r\n354 go\r\n");
	ends("1", MJ_SMTP_PERMANENT, false, "refused, but DATA is answered by 354");
	hand(&two, "2");
	says(".\r\n", "nothing is sent, to nobody");
	hears("554 no valid recipients\r\n");
	says(ENVELOPE, "and the next one is begun");
	hears("250 ok\r\n250 ok\r\n354 go\r\n");
	says("2\r\n.\r\n", "sent");
	hears("250 ok\r\n");
	ends("2", MJ_SMTP_ACCEPTED, false, "and accepted");

	start(PIPELINING);
	hand(&one, "1");
	listen(10000);
	hears("550 no\r\n250 ok\r\n354 go\r\n");
	ends("1", MJ_SMTP_PERMANENT, false,
		 "refused, but there is somebody who would get it");
	says("", "nothing more is said");
	tap_is_int(mj_dialogue_state(&dialogue), MJ_DLG_CLOSED,
			   "the connection is given up");
}

/* One reply too many or too few, at each place of a group. */
static void
test_shifted(void)
{
	static const char *const parts[] = { "250 one\r\n", "250 ok\r\n",
										 "250 ok\r\n", "354 go\r\n" };

	for (int missing = 1; missing <= 2; missing++)
	{
		start_two();
		for (int i = 0; i < 4; i++)
			if (i != missing)
				hears(parts[i]);
		ends("1", MJ_SMTP_ACCEPTED, false, "a reply is missing: the first");
		ends("2", MJ_SMTP_LOST, true, "the second was not offered");
		says("", "its content is kept back");
	}
	for (int more = 0; more <= 2; more++)
	{
		start_two();
		for (int i = 0; i < 4; i++)
		{
			hears(parts[i]);
			if (i == more)
				hears("250 once more\r\n");
		}
		ends("1", MJ_SMTP_ACCEPTED, false, "a reply too many: the first");
		tap_is(result.reply.text, "one", "has its own");
		ends("2", MJ_SMTP_LOST, true, "the second was not offered");
		says("", "its content is kept back");
	}
	start_two();
	hears("354 go\r\n");
	ends("1", MJ_SMTP_UNCERTAIN, false, "354 to the dot: nobody knows");
	ends("2", MJ_SMTP_LOST, true, "the second was not offered");
}

/* The connection ends after n replies to the group behind the first dot. */
static void
test_broken_group(MjSmtpError error)
{
	static const char *const parts[] = { "250 one\r\n", "250 ok\r\n",
										 "250 ok\r\n", "354 go\r\n" };
	bool interrupted = error == MJ_SMTP_ERR_INTERRUPTED;
	MjSmtpOutcome lost = interrupted ? MJ_SMTP_INTERRUPTED : MJ_SMTP_LOST;

	for (int n = 0; n <= 4; n++)
	{
		start_two();
		for (int i = 0; i < n; i++)
			hears(parts[i]);
		tap_ok(mj_dialogue_in_doubt(&dialogue) == (n == 0),
			   "only the first is in doubt");
		mj_dialogue_broken(&dialogue, error, "it broke");
		ends("1", n == 0 ? MJ_SMTP_UNCERTAIN : MJ_SMTP_ACCEPTED, false,
			 "the first, when it broke");
		ends("2", lost, !interrupted && n < 4,
			 "the second is offered by its own 354");
		ends_nothing("no more");
	}
}

static void
test_take_back(void)
{
	void *tag = "none";

	start(PIPELINING);
	hand(&one, "1");
	tap_ok(!mj_dialogue_take_back(&dialogue, &tag),
		   "what is under way is not given back");
	listen(10000);
	hears("250 ok\r\n250 ok\r\n354 go\r\n");
	hand(&two, "2");
	tap_ok(mj_dialogue_take_back(&dialogue, &tag), "what waits is");
	tap_is(tag, "2", "which");
	says("1\r\n.\r\n", "as if it had not been");
	hand(&two, "2");
	says(ENVELOPE, "also if its envelope is out");
	tap_ok(mj_dialogue_take_back(&dialogue, &tag), "it is given back");
	tap_ok(!mj_dialogue_take_back(&dialogue, &tag), "once");
	tap_ok(!mj_dialogue_wants(&dialogue), "no other one comes");
	hears("250 one\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	ends("1", MJ_SMTP_ACCEPTED, false, "the first is accepted");
	ends_nothing("the second is not heard of");
	says("", "nor is its content said");
	tap_is_int(mj_dialogue_state(&dialogue), MJ_DLG_CLOSED,
			   "the connection is closed");
}

static void
test_window(void)
{
	static const char *rcpt[MJ_DLG_WINDOW * 3];
	MjEnvelope many = { "a@b", rcpt, MJ_DLG_WINDOW * 3, "x\r\n", 3 };
	int answered = 0;

	for (int i = 0; i < MJ_DLG_WINDOW * 3; i++)
		rcpt[i] = "somebody.with.a.long.name.indeed.he.has@example.com";
	start(PIPELINING);
	hand(&many, "1");
	for (; answered < 10000 && !dialogue.exchanges[0].go; answered++)
	{
		listen(10000);
		hears(strstr(said, "DATA\r\n") ? "354 go\r\n" : "250 ok\r\n");
	}
	tap_is_int(answered, MJ_DLG_WINDOW * 3 + 2,
			   "as many replies as commands, however many recipients");
	listen(10000);
	hears("250 ok\r\n");
	ends("1", MJ_SMTP_ACCEPTED, false, "it is accepted");
}

static void
test_utf8(void)
{
	static const char *const rcpt[] = { "b\xc3\xbc@d" };

	start("250-hello\r\n250 SMTPUTF8\r\n");
	begin(rcpt, 1, "x\r\n");
	says("MAIL FROM:<a@b> SMTPUTF8\r\n", "an address with SMTPUTF8");
	start("250 hello\r\n");
	begin(rcpt, 1, "x\r\n");
	check(MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED, MJ_DLG_READY, "and without");
	tap_is(result.reply.enhanced, "5.6.7", "its enhanced code");

	start("250-hello\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n");
	begin(rcpt_one, 1, "Reply-To: b\xc3\xbc@d\r\n\r\nx\r\n");
	says("MAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8\r\n",
		 "an address in a header");
	start("250-hello\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n");
	begin(rcpt_one, 1, "To: a\r\n\r\n\xc3\xbc\r\n");
	says("MAIL FROM:<a@b> BODY=8BITMIME\r\n", "a body only");
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
	test_groups();
	test_refused_in_group();
	test_void();
	test_shifted();
	test_broken_group(MJ_SMTP_ERR_LOST);
	test_broken_group(MJ_SMTP_ERR_TIMEOUT);
	test_broken_group(MJ_SMTP_ERR_INTERRUPTED);
	test_take_back();
	test_window();
	test_utf8();
	return tap_done();
}
