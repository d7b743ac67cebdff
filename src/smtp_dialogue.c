/*-------------------------------------------------------------------------
 *
 * smtp_dialogue.c
 *	  The SMTP dialogue as a state machine: bytes in, bytes out, no socket.
 *
 * Two sides.  What is said follows from how far each message is: say_next().
 * What a reply means follows from the command that it answers, which is the
 * oldest one without a reply, and its first digit: the table below.
 *
 * Where the server announces PIPELINING, commands go out in groups, and the
 * envelope of the next message goes out with the final dot of the one before
 * (RFC 2920), so that a message costs one round trip:
 *
 *	content, dot, MAIL, RCPT, DATA --> <-- 250 250 250 354
 *
 * Without, each command waits for the reply to the last.
 *
 * A message is all or nothing: the first recipient that is refused decides the
 * outcome of the whole, and RSET makes the connection ready for the next one.
 * (Delivering to the others would deliver to them again at a retry.)  Nothing
 * but the end of the connection could take back a DATA once it is answered by
 * 354: so DATA is in the group of a message with one recipient, and waits for
 * the recipients' replies where there are several.  If 354 comes although the
 * one recipient was refused, an empty content is sent, to nobody.
 *
 * A message that is behind another was not offered before its own 354: if the
 * connection ends, it is stale, and can be sent over another one.
 *
 * Follows RFC 5321, 1870 (SIZE), 2034 (enhanced codes), 2920 (PIPELINING), 6152
 * (8BITMIME), 6531 (SMTPUTF8).
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mb/pg_wchar.h"
#include "smtp_dialogue.h"

/* Room in out that any one command needs. */
#define COMMAND_ROOM 1024

/* What a reply leads to */
typedef enum Action
{
	GO_ON,		/* the next command's turn */
	HELLO_OK,	/* the server is ready for messages */
	HELLO_OLD,	/* try HELO */
	HELLO_FAIL, /* it does not want to talk to us */
	RCPT_OK,	/* a recipient is accepted */
	SEND,		/* send the content */
	SEND_VOID,	/* a dot only */
	ACCEPT,		/* the message is accepted */
	REFUSE,		/* it is refused; RSET is to follow */
	REFUSE_ALL, /* it is refused with its content, nothing is to follow */
	REFUSE_NOW, /* it is refused in its midst, and the connection of no use */
	LEAVE,		/* the connection ends, which is nobody's fault */
	BREAK		/* no reply that could be right */
} Action;

static const Action actions[][4] = {
	/* command			 2xx		3xx		   4xx		   5xx */
	[MJ_DLG_READY] = { LEAVE, LEAVE, LEAVE, LEAVE },
	[MJ_DLG_EHLO] = { HELLO_OK, BREAK, HELLO_FAIL, HELLO_OLD },
	[MJ_DLG_HELO] = { HELLO_OK, BREAK, HELLO_FAIL, HELLO_FAIL },
	[MJ_DLG_MAIL] = { GO_ON, BREAK, REFUSE, REFUSE },
	[MJ_DLG_RCPT] = { RCPT_OK, BREAK, REFUSE, REFUSE },
	[MJ_DLG_DATA] = { BREAK, SEND, REFUSE, REFUSE },
	[MJ_DLG_BODY] = { BREAK, BREAK, REFUSE_NOW, REFUSE_NOW },
	[MJ_DLG_DOT] = { ACCEPT, BREAK, REFUSE_ALL, REFUSE_ALL },
	[MJ_DLG_VOID_RCPT] = { RCPT_OK, BREAK, GO_ON, GO_ON },
	[MJ_DLG_VOID_DATA] = { BREAK, SEND_VOID, GO_ON, GO_ON },
	[MJ_DLG_VOID_DOT] = { GO_ON, BREAK, GO_ON, GO_ON },
	[MJ_DLG_RSET] = { GO_ON, BREAK, LEAVE, LEAVE },
	[MJ_DLG_QUIT] = { LEAVE, LEAVE, LEAVE, LEAVE },
	[MJ_DLG_CLOSED] = { LEAVE, LEAVE, LEAVE, LEAVE },
};

/* Commands in words */
static const char *const verbs[] = {
	[MJ_DLG_READY] = "the beginning",
	[MJ_DLG_EHLO] = "EHLO",
	[MJ_DLG_HELO] = "HELO",
	[MJ_DLG_MAIL] = "MAIL FROM",
	[MJ_DLG_RCPT] = "RCPT TO",
	[MJ_DLG_DATA] = "DATA",
	[MJ_DLG_BODY] = "the message",
	[MJ_DLG_DOT] = "the message",
	[MJ_DLG_VOID_RCPT] = "RCPT TO",
	[MJ_DLG_VOID_DATA] = "DATA",
	[MJ_DLG_VOID_DOT] = "the end of a refused message",
	[MJ_DLG_RSET] = "RSET",
	[MJ_DLG_QUIT] = "QUIT",
	[MJ_DLG_CLOSED] = "the end",
};

/* ------------------------------------------------------------------------
 * Replies
 * ------------------------------------------------------------------------
 */

/*
 * Copy what a server said, bounded, with everything that is not printable
 * ASCII replaced, so that it fits into any log, encoding and column.
 */
void
mj_smtp_printable(char *to, size_t size, const char *from, size_t length)
{
	size_t n = Min(length, size - 1);

	for (size_t i = 0; i < n; i++)
		to[i] = (from[i] >= 0x20 && from[i] < 0x7f) ? from[i] : '?';
	to[n] = '\0';
}

/*
 * Make the parser ready for a reply.  Needed before each one.
 */
void
mj_reply_init(MjReplyParser *parser)
{
	memset(&parser->reply, 0, sizeof(parser->reply));
	parser->nlines = 0;
	parser->length = 0;
	parser->line_text = "";
	parser->complaint = NULL;
}

static MjReplyStatus
complain(MjReplyParser *parser, const char *complaint)
{
	parser->complaint = complaint;
	return MJ_REPLY_BAD;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Take the enhanced status code (RFC 2034) off a reply's text, if it has one
 * and its class agrees with the code's.
 */
static void
take_enhanced(MjSmtpReply *reply, const char *text)
{
	size_t n = 1;

	if (text[0] - '0' != reply->code / 100 || strchr("245", text[0]) == NULL)
		return;
	for (int part = 0; part < 2; part++)
	{
		size_t digits;

		if (text[n++] != '.')
			return;
		digits = strspn(text + n, "0123456789");
		if (digits < 1 || digits > 3)
			return;
		n += digits;
	}
	if (text[n] != ' ' && text[n] != '\0')
		return;
	memcpy(reply->enhanced, text, n);
	reply->enhanced[n] = '\0';
}

static void
append_text(MjSmtpReply *reply, const char *text, size_t length)
{
	size_t used = strlen(reply->text);

	if (used > 0 && used < sizeof(reply->text) - 1)
		reply->text[used++] = ' ';
	mj_smtp_printable(reply->text + used, sizeof(reply->text) - used, text,
					  length);
}

/*
 * Judge a complete line: code, then "-" if more lines follow, else a blank or
 * nothing.
 */
static MjReplyStatus
take_line(MjReplyParser *parser)
{
	const char *line = parser->line;
	int code;
	bool more;

	if (parser->length > 0 && line[parser->length - 1] == '\r')
		parser->length--;
	parser->line[parser->length] = '\0';
	if (parser->length < 3 || line[0] < '2' || line[0] > '5' ||
		!is_digit(line[1]) || !is_digit(line[2]) ||
		(line[3] != '\0' && line[3] != ' ' && line[3] != '-'))
		return complain(parser, "not an SMTP reply");
	if (++parser->nlines > MJ_SMTP_MAX_REPLY_LINES)
		return complain(parser, "reply of too many lines");

	code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
	if (parser->nlines > 1 && code != parser->reply.code)
		return complain(parser, "reply whose lines differ in their codes");
	parser->reply.code = code;
	more = line[3] == '-';
	parser->line_text = line[3] == '\0' ? line + 3 : line + 4;
	if (parser->nlines == 1)
		take_enhanced(&parser->reply, parser->line_text);
	append_text(&parser->reply, parser->line_text,
				parser->length - (parser->line_text - line));
	parser->length = 0;
	return more ? MJ_REPLY_LINE : MJ_REPLY_DONE;
}

/*
 * Feed bytes, up to the end of a line; *consumed tells how many were taken.
 * After MJ_REPLY_LINE feed on; after MJ_REPLY_DONE take the reply and
 * initialise; after MJ_REPLY_BAD give up the connection.  A line may end with
 * a bare LF, as some servers do.
 */
MjReplyStatus
mj_reply_feed(MjReplyParser *parser, const char *bytes, size_t length,
			  size_t *consumed)
{
	const char *lf = memchr(bytes, '\n', length);
	size_t n = lf ? (size_t) (lf - bytes) : length;

	*consumed = lf ? n + 1 : n;
	if (n > (size_t) (MJ_SMTP_MAX_REPLY_LINE - parser->length))
		return complain(parser, "reply line is too long");
	memcpy(parser->line + parser->length, bytes, n);
	parser->length += (int) n;
	return lf ? take_line(parser) : MJ_REPLY_MORE;
}

/* ------------------------------------------------------------------------
 * Where it stands
 * ------------------------------------------------------------------------
 */

/* The oldest command without a reply; NULL if there is none. */
static const MjPending *
oldest(const MjDialogue *dialogue)
{
	return dialogue->npending > 0 ?
		&dialogue->pending[dialogue->first_pending] :
		NULL;
}

/* Does any command of a message wait for its reply? */
static bool
is_awaited(const MjDialogue *dialogue, const MjExchange *exchange)
{
	for (int i = 0; i < dialogue->npending; i++)
	{
		int at = (dialogue->first_pending + i) % MJ_DLG_WINDOW;

		if (dialogue->pending[at].message == exchange->number)
			return true;
	}
	return false;
}

/* Is there no more to come of a message? */
static bool
is_over(const MjDialogue *dialogue, const MjExchange *exchange)
{
	return exchange->decided && !exchange->void_dot &&
		!is_awaited(dialogue, exchange);
}

/* The message that a command is about; NULL if it was taken back, or of none. */
static MjExchange *
exchange_of(MjDialogue *dialogue, const MjPending *pending)
{
	for (int i = 0; pending && i < dialogue->nexchanges; i++)
		if (dialogue->exchanges[i].number == pending->message)
			return &dialogue->exchanges[i];
	return NULL;
}

/* The message that is under way, or is to be; NULL if there is none. */
static MjExchange *
current(const MjDialogue *dialogue)
{
	for (int i = 0; i < dialogue->nexchanges; i++)
		if (!dialogue->exchanges[i].decided)
			return (MjExchange *) &dialogue->exchanges[i];
	return NULL;
}

/*
 * What is awaited: the reply to the oldest command without one; or the end of
 * the content, if that is not out.
 */
MjDialogueState
mj_dialogue_state(const MjDialogue *dialogue)
{
	const MjPending *pending = oldest(dialogue);
	const MjExchange *exchange = current(dialogue);

	if (dialogue->closed)
		return MJ_DLG_CLOSED;
	if (pending == NULL)
		return exchange && exchange->go ? MJ_DLG_BODY : MJ_DLG_READY;
	if (pending->state == MJ_DLG_DOT && dialogue->sent < pending->end)
		return MJ_DLG_BODY;
	return pending->state;
}

/* The same, with what is void told apart. */
static MjDialogueState
state_of_reply(MjDialogue *dialogue)
{
	MjDialogueState state = mj_dialogue_state(dialogue);
	const MjExchange *exchange = exchange_of(dialogue, oldest(dialogue));

	if (exchange && exchange->decided && state == MJ_DLG_RCPT)
		return MJ_DLG_VOID_RCPT;
	if (exchange && exchange->decided && state == MJ_DLG_DATA)
		return MJ_DLG_VOID_DATA;
	return state;
}

/* ------------------------------------------------------------------------
 * Outcomes
 * ------------------------------------------------------------------------
 */

static void
init_result(MjSmtpResult *result)
{
	memset(result, 0, sizeof(*result));
	result->outcome = MJ_SMTP_LOST;
	result->recipient = MJ_SMTP_ABOUT_ALL;
}

static void
decide(MjExchange *exchange, MjSmtpOutcome outcome, MjSmtpError error)
{
	exchange->result.outcome = outcome;
	exchange->result.error = error;
	exchange->decided = true;
}

/*
 * Could the server have seen the whole message?  Two bytes less than all are
 * enough for a lenient server to take the dot for the end.
 */
static bool
dot_may_be_seen(const MjDialogue *dialogue, const MjExchange *exchange)
{
	return exchange->said == MJ_DLG_DOT &&
		dialogue->sent + 2 >= exchange->dot_end;
}

/*
 * Was the message not even begun, or was it kept from that by something that is
 * not its own: the one before it, or a kept connection that died idle?
 */
static bool
is_stale(const MjExchange *exchange, MjSmtpError error)
{
	if (exchange->said == MJ_DLG_READY)
		return true;
	if (exchange->behind)
		return !exchange->go;
	return error == MJ_SMTP_ERR_LOST && exchange->number > 1 &&
		!exchange->heard;
}

/* A message whose connection is of no more use gets its outcome. */
static void
decide_broken(MjDialogue *dialogue, MjExchange *exchange, MjSmtpError error,
			  const char *message, const char *verb)
{
	MjSmtpResult *result = &exchange->result;
	MjSmtpOutcome outcome = MJ_SMTP_LOST;

	if (dot_may_be_seen(dialogue, exchange))
		outcome = MJ_SMTP_UNCERTAIN;
	else if (error == MJ_SMTP_ERR_INTERRUPTED)
		outcome = MJ_SMTP_INTERRUPTED;
	decide(exchange, outcome, error);
	result->stale = outcome == MJ_SMTP_LOST && is_stale(exchange, error);
	strlcpy(result->message, message, sizeof(result->message));
	if (outcome == MJ_SMTP_UNCERTAIN)
		strlcpy(
			result->detail,
			"The message was sent completely, but the server did not confirm it.",
			sizeof(result->detail));
	else
		snprintf(result->detail, sizeof(result->detail), "This happened at %s.",
				 verb);
}

/*
 * The connection is of no more use, for this reason: the wait was interrupted
 * or timed out, the peer closed, or it does not speak SMTP.  Whatever was
 * under way gets its outcome; what already has one keeps it.
 */
void
mj_dialogue_broken(MjDialogue *dialogue, MjSmtpError error, const char *message)
{
	MjDialogueState state = mj_dialogue_state(dialogue);

	if (state == MJ_DLG_EHLO || state == MJ_DLG_HELO)
	{
		dialogue->result.outcome = error == MJ_SMTP_ERR_INTERRUPTED ?
			MJ_SMTP_INTERRUPTED :
			MJ_SMTP_LOST;
		dialogue->result.error = error;
		strlcpy(dialogue->result.message, message,
				sizeof(dialogue->result.message));
		snprintf(dialogue->result.detail, sizeof(dialogue->result.detail),
				 "This happened at %s.", verbs[state]);
	}
	for (int i = 0; i < dialogue->nexchanges; i++)
		if (!dialogue->exchanges[i].decided)
			decide_broken(dialogue, &dialogue->exchanges[i], error, message,
						  verbs[state]);
	dialogue->closed = true;
}

static void
bad_reply(MjDialogue *dialogue, const char *why)
{
	char message[128];

	snprintf(message, sizeof(message), "SMTP server broke the protocol: %s",
			 why);
	mj_dialogue_broken(dialogue, MJ_SMTP_ERR_PROTOCOL, message);
}

/* The server leaves: what is under way is lost with it. */
static void
leave(MjDialogue *dialogue)
{
	mj_dialogue_broken(dialogue, MJ_SMTP_ERR_LOST,
					   "SMTP server closed the connection");
}

/* Note a refusal by the server in a result. */
static void
refuse_result(MjSmtpResult *result, const MjSmtpReply *reply, const char *verb)
{
	result->reply = *reply;
	snprintf(result->message, sizeof(result->message),
			 "SMTP server refused %s: %d %s", verb, reply->code, reply->text);
}

/* A message is refused by the reply at hand. */
static void
refuse(MjDialogue *dialogue, MjExchange *exchange, MjDialogueState state,
	   int rcpt)
{
	const MjSmtpReply *reply = &dialogue->parser.reply;

	decide(exchange, reply->code >= 500 ? MJ_SMTP_PERMANENT : MJ_SMTP_TEMPORARY,
		   MJ_SMTP_ERR_REFUSED);
	refuse_result(&exchange->result, reply, verbs[state]);
	if (state == MJ_DLG_RCPT)
		exchange->result.recipient = rcpt;
	else if (state == MJ_DLG_MAIL)
		exchange->result.recipient = MJ_SMTP_ABOUT_SENDER;
}

/* ------------------------------------------------------------------------
 * What is said
 * ------------------------------------------------------------------------
 */

static void command(MjDialogue *dialogue, MjDialogueState state,
					MjExchange *exchange, const char *fmt, ...)
	pg_attribute_printf(4, 5);

static int
room(const MjDialogue *dialogue)
{
	return (int) sizeof(dialogue->out) - dialogue->out_length;
}

/* What was just taken into out waits for a reply. */
static void
await(MjDialogue *dialogue, MjDialogueState state, MjExchange *exchange)
{
	int at = (dialogue->first_pending + dialogue->npending++) % MJ_DLG_WINDOW;

	dialogue->pending[at].state = state;
	dialogue->pending[at].message = exchange ? exchange->number : 0;
	dialogue->pending[at].rcpt = exchange ? exchange->rcpt - 1 : -1;
	dialogue->pending[at].end = dialogue->said;
}

/* Take bytes into out, which has the room. */
static void
say_bytes(MjDialogue *dialogue, const char *bytes, size_t length)
{
	memcpy(dialogue->out + dialogue->out_length, bytes, length);
	dialogue->out_length += (int) length;
	dialogue->said += length;
}

/* Say a command, about a message or none. */
static void
command(MjDialogue *dialogue, MjDialogueState state, MjExchange *exchange,
		const char *fmt, ...)
{
	char line[COMMAND_ROOM];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line) - 2, fmt, args);
	va_end(args);
	strlcat(line, "\r\n", sizeof(line));
	say_bytes(dialogue, line, strlen(line));
	if (exchange)
		exchange->said = state;
	await(dialogue, state, exchange);
}

/* May another command go out before all are answered? */
static bool
may_say(const MjDialogue *dialogue)
{
	if (!dialogue->extensions.pipelining)
		return dialogue->npending == 0;
	return dialogue->npending < MJ_DLG_WINDOW;
}

static void
say_mail(MjDialogue *dialogue, MjExchange *exchange)
{
	const MjEnvelope *envelope = exchange->envelope;
	char size[40] = "";

	if (dialogue->extensions.size)
		snprintf(size, sizeof(size), " SIZE=%zu", envelope->length);
	exchange->behind = exchange != current(dialogue);
	command(dialogue, MJ_DLG_MAIL, exchange, "MAIL FROM:<%s>%s%s%s",
			envelope->from, size, exchange->eightbit ? " BODY=8BITMIME" : "",
			exchange->utf8 ? " SMTPUTF8" : "");
}

/*
 * Take the next piece of the content into out, doubling dots at line starts,
 * and at the end the final dot.
 */
static void
say_content(MjDialogue *dialogue, MjExchange *exchange)
{
	const MjEnvelope *envelope = exchange->envelope;

	exchange->said = MJ_DLG_BODY;
	while (room(dialogue) > 8 && exchange->content_at < envelope->length)
	{
		const char *from = envelope->content + exchange->content_at;
		size_t length = Min(envelope->length - exchange->content_at,
							(size_t) room(dialogue) - 8);
		const char *lf = memchr(from, '\n', length);

		if (exchange->line_start && *from == '.')
			say_bytes(dialogue, ".", 1);
		if (lf)
			length = lf - from + 1;
		say_bytes(dialogue, from, length);
		exchange->content_at += length;
		exchange->line_start = lf != NULL;
	}
	if (exchange->content_at < envelope->length || room(dialogue) < 8)
		return;
	if (exchange->line_start)
		say_bytes(dialogue, ".\r\n", 3);
	else
		say_bytes(dialogue, "\r\n.\r\n", 5);
	exchange->said = MJ_DLG_DOT;
	exchange->dot_end = dialogue->said;
	await(dialogue, MJ_DLG_DOT, exchange);
}

/* Say what comes next for a message; false: nothing now. */
static bool
say_for(MjDialogue *dialogue, MjExchange *exchange)
{
	const MjEnvelope *envelope = exchange->envelope;
	bool grouped =
		dialogue->extensions.pipelining && envelope->nrecipients == 1;

	if (exchange->go)
		say_content(dialogue, exchange);
	else if (exchange->said == MJ_DLG_DATA || !may_say(dialogue))
		return false;
	else if (exchange->said == MJ_DLG_READY)
		say_mail(dialogue, exchange);
	else if (exchange->rcpt < envelope->nrecipients)
	{
		exchange->rcpt++;
		command(dialogue, MJ_DLG_RCPT, exchange, "RCPT TO:<%s>",
				envelope->recipients[exchange->rcpt - 1]);
	}
	else if (grouped || !is_awaited(dialogue, exchange))
		command(dialogue, MJ_DLG_DATA, exchange, "DATA");
	else
		return false;
	return true;
}

/* Say what a message that is decided still needs; false: nothing now. */
static bool
say_rest(MjDialogue *dialogue, MjExchange *exchange)
{
	if (!exchange->void_dot)
		return false;
	exchange->void_dot = false;
	say_bytes(dialogue, ".\r\n", 3);
	await(dialogue, MJ_DLG_VOID_DOT, exchange);
	return true;
}

/* Say what comes next; false: nothing now. */
static bool
say_next(MjDialogue *dialogue)
{
	if (dialogue->reset_due)
	{
		if (!may_say(dialogue))
			return false;
		dialogue->reset_due = false;
		command(dialogue, MJ_DLG_RSET, NULL, "RSET");
		return true;
	}
	for (int i = 0; i < dialogue->nexchanges; i++)
	{
		MjExchange *exchange = &dialogue->exchanges[i];

		if (exchange->decided)
		{
			if (!is_over(dialogue, exchange))
				return say_rest(dialogue, exchange);
		}
		else if (exchange->said != MJ_DLG_DOT)
			return !dialogue->condemned && say_for(dialogue, exchange);
		else if (!dialogue->extensions.pipelining)
			return false;
	}
	if (!dialogue->leaving || current(dialogue) || dialogue->npending > 0)
		return false;
	command(dialogue, MJ_DLG_QUIT, NULL, "QUIT");
	return true;
}

/* ------------------------------------------------------------------------
 * Extensions
 * ------------------------------------------------------------------------
 */

/*
 * Is the first word of line this keyword?
 */
static bool
has_keyword(const char *line, const char *keyword)
{
	size_t n = strlen(keyword);

	return pg_strncasecmp(line, keyword, n) == 0 &&
		(line[n] == '\0' || line[n] == ' ');
}

/*
 * Learn from one line of EHLO's reply.
 */
static void
take_extension(MjExtensions *extensions, const char *line)
{
	size_t used = strlen(extensions->list);

	if (has_keyword(line, "SIZE"))
	{
		extensions->size = true;
		if (line[4] == ' ')
			extensions->size_limit = strtoull(line + 5, NULL, 10);
	}
	extensions->eightbitmime |= has_keyword(line, "8BITMIME");
	extensions->pipelining |= has_keyword(line, "PIPELINING");
	extensions->smtputf8 |= has_keyword(line, "SMTPUTF8");
	extensions->starttls |= has_keyword(line, "STARTTLS");
	extensions->enhanced |= has_keyword(line, "ENHANCEDSTATUSCODES");

	if (used > 0 && used < sizeof(extensions->list) - 1)
		extensions->list[used++] = ' ';
	mj_smtp_printable(extensions->list + used, sizeof(extensions->list) - used,
					  line, strcspn(line, " "));
}

/* ------------------------------------------------------------------------
 * What is heard
 * ------------------------------------------------------------------------
 */

/* The server refuses to talk to us. */
static void
fail_hello(MjDialogue *dialogue, MjDialogueState state)
{
	dialogue->result.outcome = MJ_SMTP_LOST;
	dialogue->result.error = MJ_SMTP_ERR_REFUSED;
	refuse_result(&dialogue->result, &dialogue->parser.reply, verbs[state]);
	dialogue->closed = true;
}

/* The server is ready for messages. */
static void
succeed_hello(MjDialogue *dialogue)
{
	dialogue->result.outcome = MJ_SMTP_ACCEPTED;
	dialogue->result.reply = dialogue->parser.reply;
	dialogue->greeted = true;
}

/*
 * The content may come although the message is refused: end it at once.  If
 * there is somebody who would get that, there is only one way out.
 */
static void
send_void(MjDialogue *dialogue, MjExchange *exchange)
{
	exchange->reset = false;
	exchange->void_dot = exchange->accepted == 0;
	if (exchange->accepted > 0)
		leave(dialogue);
}

/* Do what the table says.  The exchange is NULL if the reply is about none. */
static void
perform(MjDialogue *dialogue, Action action, MjExchange *exchange,
		MjDialogueState state, int rcpt)
{
	switch (action)
	{
		case GO_ON:
			break;
		case HELLO_OK:
			succeed_hello(dialogue);
			break;
		case HELLO_OLD:
			command(dialogue, MJ_DLG_HELO, NULL, "HELO %s", dialogue->helo);
			break;
		case HELLO_FAIL:
			fail_hello(dialogue, state);
			break;
		case RCPT_OK:
			exchange->accepted++;
			break;
		case SEND:
			exchange->go = true;
			break;
		case SEND_VOID:
			send_void(dialogue, exchange);
			break;
		case ACCEPT:
			decide(exchange, MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE);
			exchange->result.reply = dialogue->parser.reply;
			break;
		case REFUSE:
			exchange->reset = true;
			refuse(dialogue, exchange, state, rcpt);
			break;
		case REFUSE_ALL:
			refuse(dialogue, exchange, state, rcpt);
			break;
		case REFUSE_NOW:
			refuse(dialogue, exchange, state, rcpt);
			leave(dialogue);
			break;
		case LEAVE:
			leave(dialogue);
			break;
		case BREAK:
			bad_reply(dialogue, "unexpected reply");
			break;
	}
}

/* A message is over: RSET may have to follow, or the end of the connection. */
static void
end_exchanges(MjDialogue *dialogue)
{
	for (int i = 0; i < dialogue->nexchanges; i++)
	{
		MjExchange *exchange = &dialogue->exchanges[i];

		if (!is_over(dialogue, exchange))
			break;
		dialogue->reset_due |= exchange->reset;
		exchange->reset = false;
	}
	if (dialogue->condemned && current(dialogue) == NULL)
		dialogue->closed = true;
}

/* The oldest command is answered. */
static void
pop_pending(MjDialogue *dialogue)
{
	if (dialogue->npending == 0)
		return;
	dialogue->first_pending = (dialogue->first_pending + 1) % MJ_DLG_WINDOW;
	dialogue->npending--;
}

/* Is a reply one that no command can have caused? */
static bool
is_early(const MjDialogue *dialogue, MjDialogueState state)
{
	const MjPending *pending = oldest(dialogue);

	if (state == MJ_DLG_BODY)
		return false;
	if (pending == NULL)
		return current(dialogue) != NULL && dialogue->parser.reply.code != 421;
	return dialogue->sent < pending->end;
}

/* A complete reply is in the parser. */
static void
take_reply(MjDialogue *dialogue)
{
	int code = dialogue->parser.reply.code;
	MjDialogueState state = state_of_reply(dialogue);
	const MjPending *pending = oldest(dialogue);
	MjExchange *exchange = exchange_of(dialogue, pending);

	dialogue->nreplies++;
	if (state == MJ_DLG_BODY)
		exchange = current(dialogue);
	if (is_early(dialogue, state))
	{
		bad_reply(dialogue, "reply without a command");
		return;
	}
	if (exchange == NULL && state >= MJ_DLG_MAIL && state <= MJ_DLG_VOID_DOT)
	{
		leave(dialogue); /* it was taken back: who answers is not listened to */
		return;
	}
	if (exchange)
		exchange->heard = true;
	perform(dialogue, actions[state][code / 100 - 2], exchange, state,
			pending ? pending->rcpt : -1);
	if (code == 421 && !dialogue->closed)
		leave(dialogue);
	pop_pending(dialogue);
	end_exchanges(dialogue);
}

/* ------------------------------------------------------------------------
 * Interface
 * ------------------------------------------------------------------------
 */

/*
 * A new connection, greeting already consumed.
 */
void
mj_dialogue_init(MjDialogue *dialogue)
{
	memset(dialogue, 0, offsetof(MjDialogue, out));
	init_result(&dialogue->result);
	mj_reply_init(&dialogue->parser);
}

/*
 * Begin with EHLO, to learn what the server offers; helo is this host's name.
 * What came of it is in the result of the dialogue when that is not busy.
 */
void
mj_dialogue_hello(MjDialogue *dialogue, const char *helo)
{
	strlcpy(dialogue->helo, helo, sizeof(dialogue->helo));
	command(dialogue, MJ_DLG_EHLO, NULL, "EHLO %s", dialogue->helo);
}

/*
 * Could this address break out of its command?  Its syntax is mime's matter.
 */
static bool
is_safe_address(const char *address, bool *utf8)
{
	size_t length = strlen(address);

	if (length > 320)
		return false;
	for (const char *p = address; *p; p++)
	{
		if ((unsigned char) *p <= 0x20 || *p == 0x7f || *p == '<' || *p == '>')
			return false;
		*utf8 |= (unsigned char) *p >= 0x80;
	}
	return pg_encoding_verifymbstr(PG_UTF8, address, (int) length) ==
		(int) length;
}

/* The first byte over 127, or the end. */
static size_t
ascii_length(const char *s, size_t length)
{
	size_t i = 0;

	for (; i + sizeof(uint64) <= length; i += sizeof(uint64))
	{
		uint64 word;

		memcpy(&word, s + i, sizeof(word));
		if (word & UINT64CONST(0x8080808080808080))
			break;
	}
	while (i < length && (unsigned char) s[i] < 0x80)
		i++;
	return i;
}

/*
 * Look through the content once.  Line ends other than CRLF could end the
 * message early for some servers (smuggling), and are refused.
 */
static const char *
scan_content(const MjEnvelope *envelope, bool *eightbit)
{
	const char *at = envelope->content;
	const char *end = at + envelope->length;

	*eightbit = ascii_length(at, envelope->length) < envelope->length;
	if (memchr(at, '\0', envelope->length) != NULL)
		return "message contains a zero byte";
	while (at < end)
	{
		const char *lf = memchr(at, '\n', end - at);
		const char *cr = memchr(at, '\r', (lf ? lf : end) - at);

		if (lf ? cr != lf - 1 || lf == at : cr != NULL)
			return "message contains a line end that is not CRLF";
		at = lf ? lf + 1 : end;
	}
	return NULL;
}

/* Has the head of the content bytes over 127?  Addresses that are not ASCII. */
static bool
has_utf8_head(const MjEnvelope *envelope)
{
	const char *content = envelope->content;
	const char *cr = memchr(content, '\r', envelope->length);
	const char *end = content + envelope->length;

	while (cr && cr + 4 <= end && memcmp(cr, "\r\n\r\n", 4) != 0)
		cr = memchr(cr + 1, '\r', end - cr - 1);
	return cr && cr + 4 <= end &&
		ascii_length(content, cr - content) < (size_t) (cr - content);
}

static const char *
check_envelope(const MjEnvelope *envelope, bool *eightbit, bool *utf8)
{
	const char *problem;

	*utf8 = false;
	if (!is_safe_address(envelope->from, utf8))
		return "invalid sender address";
	if (envelope->nrecipients <= 0)
		return "message has no recipient";
	for (int i = 0; i < envelope->nrecipients; i++)
	{
		if (envelope->recipients[i][0] == '\0' ||
			!is_safe_address(envelope->recipients[i], utf8))
			return "invalid recipient address";
	}
	problem = scan_content(envelope, eightbit);
	*utf8 |= *eightbit && has_utf8_head(envelope);
	return problem;
}

static void
refuse_locally(MjExchange *exchange, int code, const char *enhanced,
			   const char *why)
{
	MjSmtpReply *reply = &exchange->result.reply;

	reply->code = code;
	strlcpy(reply->enhanced, enhanced, sizeof(reply->enhanced));
	snprintf(reply->text, sizeof(reply->text), "%s %s", enhanced, why);
	decide(exchange, MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED);
	strlcpy(exchange->result.message, why, sizeof(exchange->result.message));
}

/*
 * Refuse what the server announced that it would refuse.
 */
static void
check_server(const MjDialogue *dialogue, MjExchange *exchange)
{
	const MjExtensions *extensions = &dialogue->extensions;

	if (extensions->size_limit > 0 &&
		exchange->envelope->length > extensions->size_limit)
		refuse_locally(exchange, 552, "5.3.4",
					   "message is larger than the SMTP server permits");
	else if (exchange->eightbit && !extensions->eightbitmime)
		refuse_locally(
			exchange, 554, "5.6.3",
			"message has 8-bit content, which the SMTP server does not take");
	else if (exchange->utf8 && !extensions->smtputf8)
		refuse_locally(
			exchange, 553, "5.6.7",
			"address is not ASCII, which the SMTP server does not take");
}

/*
 * Does the connection take another message?  While one is under way only where
 * its envelope can go out behind the dot of that, and not before the content's
 * turn has come: until then others may be quicker.
 */
bool
mj_dialogue_wants(const MjDialogue *dialogue)
{
	const MjExchange *exchange = current(dialogue);

	if (dialogue->closed || !dialogue->greeted || dialogue->leaving ||
		dialogue->condemned || dialogue->nexchanges == MJ_DLG_MESSAGES)
		return false;
	return exchange == NULL ||
		(exchange->go && dialogue->extensions.pipelining);
}

/*
 * Begin a message; mj_dialogue_wants() has said so, or the dialogue is not
 * busy.  The envelope must stay until mj_dialogue_take() tells what became of
 * it, or mj_dialogue_take_back() gives it back, both by its tag.  If it cannot
 * even begin, it is decided after this.
 */
void
mj_dialogue_message(MjDialogue *dialogue, const MjEnvelope *envelope, void *tag)
{
	MjExchange *exchange = &dialogue->exchanges[dialogue->nexchanges++];
	const char *problem;

	Assert(dialogue->nexchanges <= MJ_DLG_MESSAGES);
	memset(exchange, 0, offsetof(MjExchange, result));
	init_result(&exchange->result);
	exchange->number = ++dialogue->nmessages;
	exchange->envelope = envelope;
	exchange->tag = tag;
	exchange->line_start = true;
	if (dialogue->closed || !dialogue->greeted)
	{
		decide(exchange, MJ_SMTP_LOST, MJ_SMTP_ERR_LOST);
		exchange->result.stale = true;
		strlcpy(exchange->result.message, "SMTP connection is closed",
				sizeof(exchange->result.message));
		return;
	}
	problem = check_envelope(envelope, &exchange->eightbit, &exchange->utf8);
	if (problem)
	{
		decide(exchange, MJ_SMTP_PERMANENT, MJ_SMTP_ERR_CONFIG);
		strlcpy(exchange->result.message, problem,
				sizeof(exchange->result.message));
	}
	else
		check_server(dialogue, exchange);
}

/* Forget a message. */
static void
remove_exchange(MjDialogue *dialogue, int i)
{
	dialogue->nexchanges--;
	memmove(&dialogue->exchanges[i], &dialogue->exchanges[i + 1],
			(dialogue->nexchanges - i) * sizeof(MjExchange));
}

/* Forget messages that are through and known to be. */
static void
retire(MjDialogue *dialogue)
{
	while (dialogue->nexchanges > 0 && dialogue->exchanges[0].taken &&
		   (dialogue->closed || is_over(dialogue, &dialogue->exchanges[0])))
		remove_exchange(dialogue, 0);
}

/*
 * What became of a message, each once, in their order; false: no more is known.
 */
bool
mj_dialogue_take(MjDialogue *dialogue, void **tag, MjSmtpResult *result)
{
	bool found = false;

	for (int i = 0; i < dialogue->nexchanges && !found; i++)
	{
		MjExchange *exchange = &dialogue->exchanges[i];

		if (exchange->taken)
			continue;
		if (!exchange->decided)
			break;
		*tag = exchange->tag;
		*result = exchange->result;
		exchange->taken = found = true;
	}
	retire(dialogue);
	return found;
}

/*
 * Give a message back that waits behind another, and is not offered; false:
 * there is none.  If its envelope is out, the connection will be closed when the
 * one before it is decided: that ends it for the server.
 */
bool
mj_dialogue_take_back(MjDialogue *dialogue, void **tag)
{
	int i = dialogue->nexchanges - 1;
	MjExchange *exchange = i >= 0 ? &dialogue->exchanges[i] : NULL;

	if (exchange == NULL || exchange->decided || exchange->go ||
		exchange == current(dialogue))
		return false;
	*tag = exchange->tag;
	dialogue->condemned |= exchange->said != MJ_DLG_READY;
	remove_exchange(dialogue, i);
	return true;
}

/*
 * Say good-bye, when all that is under way is through; the reply is of no
 * interest.
 */
void
mj_dialogue_quit(MjDialogue *dialogue)
{
	dialogue->leaving = true;
}

/*
 * What is to be sent now; 0: nothing, wait for the server.  The bytes stay
 * where they are until mj_dialogue_sent says that they went out.
 */
size_t
mj_dialogue_output(MjDialogue *dialogue, const char **bytes)
{
	if (dialogue->closed)
		return 0;
	if (dialogue->out_at == dialogue->out_length)
		dialogue->out_at = dialogue->out_length = 0;
	while (room(dialogue) >= COMMAND_ROOM && say_next(dialogue))
		;
	*bytes = dialogue->out + dialogue->out_at;
	return dialogue->out_length - dialogue->out_at;
}

void
mj_dialogue_sent(MjDialogue *dialogue, size_t length)
{
	dialogue->out_at += (int) length;
	dialogue->sent += length;
	Assert(dialogue->out_at <= dialogue->out_length);
}

/*
 * Bytes came from the server.  What comes while nothing is under way is a
 * farewell (421) or nonsense: the connection is closed either way.
 */
void
mj_dialogue_received(MjDialogue *dialogue, const char *bytes, size_t length)
{
	while (length > 0 && !dialogue->closed)
	{
		size_t consumed;
		MjReplyStatus status =
			mj_reply_feed(&dialogue->parser, bytes, length, &consumed);

		bytes += consumed;
		length -= consumed;
		if (status == MJ_REPLY_BAD)
			bad_reply(dialogue, dialogue->parser.complaint);
		if (mj_dialogue_state(dialogue) == MJ_DLG_EHLO &&
			dialogue->parser.nlines > 1 &&
			dialogue->parser.reply.code / 100 == 2 && status != MJ_REPLY_MORE)
			take_extension(&dialogue->extensions, dialogue->parser.line_text);
		if (status == MJ_REPLY_DONE)
		{
			take_reply(dialogue);
			mj_reply_init(&dialogue->parser);
		}
	}
}

/*
 * Is there more to send or to wait for?
 */
bool
mj_dialogue_busy(const MjDialogue *dialogue)
{
	if (dialogue->closed)
		return false;
	return dialogue->npending > 0 || current(dialogue) != NULL ||
		dialogue->reset_due || dialogue->leaving ||
		dialogue->out_at < dialogue->out_length;
}

/*
 * Is the connection idle, and can it take a message?
 */
bool
mj_dialogue_usable(const MjDialogue *dialogue)
{
	return !dialogue->closed && dialogue->greeted &&
		!mj_dialogue_busy(dialogue);
}

/*
 * Is the reply to a final dot awaited?  Until it comes nobody knows whether the
 * server has taken the message.
 */
bool
mj_dialogue_in_doubt(const MjDialogue *dialogue)
{
	const MjExchange *exchange = current(dialogue);

	return !dialogue->closed && exchange && dot_may_be_seen(dialogue, exchange);
}
