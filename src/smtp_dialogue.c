/*-------------------------------------------------------------------------
 *
 * smtp_dialogue.c
 *	  The SMTP dialogue as a state machine: bytes in, bytes out, no socket.
 *
 * A message is all or nothing: the first recipient that is refused decides the
 * outcome of the whole, and RSET makes the connection ready for the next one.
 * (Delivering to the others would deliver to them again at a retry.)
 *
 *	READY --hello--> EHLO --> READY		EHLO --5xx--> HELO --> READY
 *	READY --message--> MAIL --> RCPT ... --> DATA --> BODY --> DOT --> READY
 *	MAIL, RCPT, DATA --4xx, 5xx--> RSET --> READY
 *	anything --421, not SMTP, broken--> CLOSED
 *
 * Follows RFC 5321, 1870 (SIZE), 6152 (8BITMIME), 2034 (enhanced codes).
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "smtp_dialogue.h"

/* What a state waits for, and where it leads */
typedef struct StateRule
{
	const char *verb;		 /* for messages */
	char wanted;			 /* first digit of the good reply; 0: none, any
								 * reply is wrong here */
	MjDialogueState refused; /* after 4xx or 5xx */
} StateRule;

static const StateRule rules[] = {
	[MJ_DLG_READY] = { "", 0, MJ_DLG_CLOSED },
	[MJ_DLG_EHLO] = { "EHLO", '2', MJ_DLG_CLOSED },
	[MJ_DLG_HELO] = { "HELO", '2', MJ_DLG_CLOSED },
	[MJ_DLG_MAIL] = { "MAIL FROM", '2', MJ_DLG_RSET },
	[MJ_DLG_RCPT] = { "RCPT TO", '2', MJ_DLG_RSET },
	[MJ_DLG_DATA] = { "DATA", '3', MJ_DLG_RSET },
	[MJ_DLG_BODY] = { "the message", 0, MJ_DLG_CLOSED },
	[MJ_DLG_DOT] = { "the message", '2', MJ_DLG_READY },
	[MJ_DLG_RSET] = { "RSET", '2', MJ_DLG_CLOSED },
	[MJ_DLG_QUIT] = { "QUIT", '2', MJ_DLG_CLOSED },
	[MJ_DLG_CLOSED] = { "", 0, MJ_DLG_CLOSED },
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
 * Outcomes
 * ------------------------------------------------------------------------
 */

static void
init_result(MjSmtpResult *result)
{
	memset(result, 0, sizeof(*result));
	result->outcome = MJ_SMTP_LOST;
	result->recipient = -1;
}

static void
decide(MjDialogue *dialogue, MjSmtpOutcome outcome, MjSmtpError error)
{
	dialogue->result.outcome = outcome;
	dialogue->result.error = error;
	dialogue->decided = true;
}

/*
 * Could the server have seen the whole message?  Two bytes less than all are
 * enough for a lenient server to take the dot for the end.
 */
static bool
dot_may_be_seen(const MjDialogue *dialogue)
{
	return dialogue->state == MJ_DLG_DOT ||
		(dialogue->state == MJ_DLG_BODY && dialogue->dot_taken &&
		 dialogue->out_length - dialogue->out_at <= 2);
}

/*
 * The connection is of no more use, for this reason: the wait was interrupted
 * or timed out, the peer closed, or it does not speak SMTP.  Whatever was
 * under way gets its outcome; what already has one keeps it.
 */
void
mj_dialogue_broken(MjDialogue *dialogue, MjSmtpError error, const char *message)
{
	MjSmtpOutcome outcome = MJ_SMTP_LOST;
	bool busy = mj_dialogue_busy(dialogue);

	if (busy && !dialogue->decided)
	{
		if (dot_may_be_seen(dialogue))
			outcome = MJ_SMTP_UNCERTAIN;
		else if (error == MJ_SMTP_ERR_INTERRUPTED)
			outcome = MJ_SMTP_INTERRUPTED;
		/* a kept connection that died idle says nothing about the message */
		dialogue->result.stale = error == MJ_SMTP_ERR_LOST &&
			dialogue->state == MJ_DLG_MAIL && dialogue->nmessages > 1;
		decide(dialogue, outcome, error);
		snprintf(dialogue->result.message, sizeof(dialogue->result.message),
				 "%s", message);
		snprintf(
			dialogue->result.detail, sizeof(dialogue->result.detail),
			outcome == MJ_SMTP_UNCERTAIN ?
				"The message was sent completely, but the server did not confirm it." :
				"This happened at %s.",
			rules[dialogue->state].verb);
	}
	dialogue->state = MJ_DLG_CLOSED;
}

static void
bad_reply(MjDialogue *dialogue, const char *why)
{
	char message[128];

	snprintf(message, sizeof(message), "SMTP server broke the protocol: %s",
			 why);
	mj_dialogue_broken(dialogue, MJ_SMTP_ERR_PROTOCOL, message);
}

/*
 * Record a refusal by the server, or one of ours in its form.
 */
static void
decide_refused(MjDialogue *dialogue, const char *verb)
{
	MjSmtpResult *result = &dialogue->result;

	decide(dialogue,
		   result->reply.code >= 500 ? MJ_SMTP_PERMANENT : MJ_SMTP_TEMPORARY,
		   MJ_SMTP_ERR_REFUSED);
	if (dialogue->state == MJ_DLG_RCPT)
		result->recipient = dialogue->rcpt;
	snprintf(result->message, sizeof(result->message),
			 "SMTP server refused %s: %d %s", verb, result->reply.code,
			 result->reply.text);
}

/* ------------------------------------------------------------------------
 * Commands
 * ------------------------------------------------------------------------
 */

static void command(MjDialogue *dialogue, MjDialogueState state,
					const char *fmt, ...) pg_attribute_printf(3, 4);

/*
 * Queue a command for output and enter the state that waits for its reply.
 */
static void
command(MjDialogue *dialogue, MjDialogueState state, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(dialogue->out, sizeof(dialogue->out), fmt, args);
	va_end(args);
	strlcat(dialogue->out, "\r\n", sizeof(dialogue->out));
	dialogue->out_at = 0;
	dialogue->out_length = (int) strlen(dialogue->out);
	dialogue->state = state;
}

static void
command_mail(MjDialogue *dialogue)
{
	const MjEnvelope *envelope = dialogue->envelope;
	char size[40] = "";

	if (dialogue->extensions.size)
		snprintf(size, sizeof(size), " SIZE=%zu", envelope->length);
	command(dialogue, MJ_DLG_MAIL, "MAIL FROM:<%s>%s%s", envelope->from, size,
			dialogue->eightbit ? " BODY=8BITMIME" : "");
}

static void
command_rcpt(MjDialogue *dialogue)
{
	command(dialogue, MJ_DLG_RCPT, "RCPT TO:<%s>",
			dialogue->envelope->recipients[dialogue->rcpt]);
}

static void
start_body(MjDialogue *dialogue)
{
	dialogue->out_at = 0;
	dialogue->out_length = 0;
	dialogue->state = MJ_DLG_BODY;
}

/*
 * Take the next piece of the content into out, doubling dots at line starts,
 * and at the end the final dot.
 */
static void
fill_body(MjDialogue *dialogue)
{
	const MjEnvelope *envelope = dialogue->envelope;
	/* room for a doubled dot, and for the end */
	int room = (int) sizeof(dialogue->out) - 8;
	int n = 0;

	while (n < room && dialogue->content_at < envelope->length)
	{
		char c = envelope->content[dialogue->content_at++];

		if (dialogue->line_start && c == '.')
			dialogue->out[n++] = '.';
		dialogue->out[n++] = c;
		dialogue->line_start = c == '\n';
	}
	if (dialogue->content_at == envelope->length)
	{
		const char *end = dialogue->line_start ? ".\r\n" : "\r\n.\r\n";

		memcpy(dialogue->out + n, end, strlen(end));
		n += (int) strlen(end);
		dialogue->dot_taken = true;
	}
	dialogue->out_at = 0;
	dialogue->out_length = n;
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
 * Replies to commands
 * ------------------------------------------------------------------------
 */

/*
 * The command under way succeeded: go on.
 */
static void
advance(MjDialogue *dialogue)
{
	switch (dialogue->state)
	{
		case MJ_DLG_EHLO:
		case MJ_DLG_HELO:
		case MJ_DLG_DOT:
			decide(dialogue, MJ_SMTP_ACCEPTED, MJ_SMTP_ERR_NONE);
			dialogue->state = MJ_DLG_READY;
			break;
		case MJ_DLG_MAIL:
			dialogue->rcpt = 0;
			command_rcpt(dialogue);
			break;
		case MJ_DLG_RCPT:
			if (++dialogue->rcpt < dialogue->envelope->nrecipients)
				command_rcpt(dialogue);
			else
				command(dialogue, MJ_DLG_DATA, "DATA");
			break;
		case MJ_DLG_DATA:
			start_body(dialogue);
			break;
		case MJ_DLG_RSET:
			dialogue->state = MJ_DLG_READY;
			break;
		default:
			dialogue->state = MJ_DLG_CLOSED;
			break;
	}
}

/*
 * The command under way was refused with the reply in result.
 */
static void
back_out(MjDialogue *dialogue)
{
	const StateRule *rule = &rules[dialogue->state];
	int code = dialogue->parser.reply.code;

	if (dialogue->state == MJ_DLG_EHLO && code >= 500)
	{
		command(dialogue, MJ_DLG_HELO, "HELO %s", dialogue->helo);
		return;
	}
	if (!dialogue->decided)
	{
		decide_refused(dialogue, rule->verb);
		/* without a message there is nothing to keep or to give up */
		if (dialogue->envelope == NULL)
			dialogue->result.outcome = MJ_SMTP_LOST;
	}
	if (code == 421 || rule->refused == MJ_DLG_CLOSED)
		dialogue->state = MJ_DLG_CLOSED;
	else if (rule->refused == MJ_DLG_RSET)
		command(dialogue, MJ_DLG_RSET, "RSET");
	else
		dialogue->state = rule->refused;
}

/*
 * A complete reply is in the parser; "more" if bytes follow it.
 */
static void
take_reply(MjDialogue *dialogue, bool more)
{
	const StateRule *rule = &rules[dialogue->state];
	const MjSmtpReply *reply = &dialogue->parser.reply;
	bool early = dialogue->out_at < dialogue->out_length;

	dialogue->nreplies++;
	if (!dialogue->decided)
		dialogue->result.reply = *reply;
	if (early && dialogue->state != MJ_DLG_BODY)
		bad_reply(dialogue, "reply without a command");
	else if (rule->wanted == '0' + reply->code / 100)
		advance(dialogue);
	else if (reply->code >= 400)
		back_out(dialogue);
	else
		bad_reply(dialogue, "unexpected reply");
	if (more && mj_dialogue_busy(dialogue))
		bad_reply(dialogue, "reply without a command");
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
	dialogue->state = MJ_DLG_READY;
}

/*
 * Begin with EHLO, to learn what the server offers; helo is this host's name.
 */
void
mj_dialogue_hello(MjDialogue *dialogue, const char *helo)
{
	init_result(&dialogue->result);
	dialogue->decided = false;
	dialogue->envelope = NULL;
	memset(&dialogue->extensions, 0, sizeof(dialogue->extensions));
	strlcpy(dialogue->helo, helo, sizeof(dialogue->helo));
	command(dialogue, MJ_DLG_EHLO, "EHLO %s", dialogue->helo);
}

/*
 * Could this address break out of its command?  Its syntax is mime's matter.
 */
static bool
is_safe_address(const char *address)
{
	if (strlen(address) > 320)
		return false;
	for (const char *p = address; *p; p++)
	{
		if (*p <= 0x20 || *p >= 0x7f || *p == '<' || *p == '>')
			return false;
	}
	return true;
}

/*
 * Look through the content once.  Line ends other than CRLF could end the
 * message early for some servers (smuggling), and are refused.
 */
static const char *
scan_content(const MjEnvelope *envelope, bool *eightbit)
{
	const char *s = envelope->content;
	size_t length = envelope->length;

	*eightbit = false;
	for (size_t i = 0; i < length; i++)
	{
		if ((unsigned char) s[i] >= 0x80)
			*eightbit = true;
		else if (s[i] == '\0')
			return "message contains a zero byte";
		else if ((s[i] == '\r' && (i + 1 == length || s[i + 1] != '\n')) ||
				 (s[i] == '\n' && (i == 0 || s[i - 1] != '\r')))
			return "message contains a line end that is not CRLF";
	}
	return NULL;
}

static const char *
check_envelope(const MjEnvelope *envelope, bool *eightbit)
{
	if (!is_safe_address(envelope->from))
		return "invalid sender address";
	if (envelope->nrecipients <= 0)
		return "message has no recipient";
	for (int i = 0; i < envelope->nrecipients; i++)
	{
		if (envelope->recipients[i][0] == '\0' ||
			!is_safe_address(envelope->recipients[i]))
			return "invalid recipient address";
	}
	return scan_content(envelope, eightbit);
}

static void
refuse_locally(MjDialogue *dialogue, int code, const char *enhanced,
			   const char *why)
{
	MjSmtpReply *reply = &dialogue->result.reply;

	reply->code = code;
	strlcpy(reply->enhanced, enhanced, sizeof(reply->enhanced));
	snprintf(reply->text, sizeof(reply->text), "%s %s", enhanced, why);
	decide(dialogue, MJ_SMTP_PERMANENT, MJ_SMTP_ERR_REFUSED);
	strlcpy(dialogue->result.message, why, sizeof(dialogue->result.message));
}

/*
 * Refuse what the server announced that it would refuse.
 */
static bool
fits_server(MjDialogue *dialogue)
{
	const MjExtensions *extensions = &dialogue->extensions;

	if (extensions->size_limit > 0 &&
		dialogue->envelope->length > extensions->size_limit)
		refuse_locally(dialogue, 552, "5.3.4",
					   "message is larger than the SMTP server permits");
	else if (dialogue->eightbit && !extensions->eightbitmime)
		refuse_locally(
			dialogue, 554, "5.6.3",
			"message has 8-bit content, which the SMTP server does not take");
	return !dialogue->decided;
}

/*
 * Begin a message.  The envelope must stay until the dialogue is not busy any
 * more; then result tells what became of it.  If it cannot even begin, the
 * dialogue is not busy after this.
 */
void
mj_dialogue_message(MjDialogue *dialogue, const MjEnvelope *envelope)
{
	const char *problem;

	init_result(&dialogue->result);
	dialogue->decided = false;
	dialogue->envelope = envelope;
	if (dialogue->state != MJ_DLG_READY)
	{
		decide(dialogue, MJ_SMTP_LOST, MJ_SMTP_ERR_LOST);
		dialogue->result.stale = true;
		strlcpy(dialogue->result.message, "SMTP connection is closed",
				sizeof(dialogue->result.message));
		dialogue->state = MJ_DLG_CLOSED;
		return;
	}
	problem = check_envelope(envelope, &dialogue->eightbit);
	if (problem)
	{
		decide(dialogue, MJ_SMTP_PERMANENT, MJ_SMTP_ERR_CONFIG);
		strlcpy(dialogue->result.message, problem,
				sizeof(dialogue->result.message));
		return;
	}
	if (!fits_server(dialogue))
		return;
	dialogue->nmessages++;
	dialogue->content_at = 0;
	dialogue->line_start = true;
	dialogue->dot_taken = false;
	command_mail(dialogue);
}

/*
 * Say good-bye, if the connection is idle; the result is of no interest.
 */
void
mj_dialogue_quit(MjDialogue *dialogue)
{
	if (dialogue->state != MJ_DLG_READY)
		return;
	dialogue->decided = true;
	dialogue->envelope = NULL;
	command(dialogue, MJ_DLG_QUIT, "QUIT");
}

/*
 * What is to be sent now; 0: nothing, wait for the server.  The bytes stay
 * where they are until mj_dialogue_sent says that they went out.
 */
size_t
mj_dialogue_output(MjDialogue *dialogue, const char **bytes)
{
	if (!mj_dialogue_busy(dialogue))
		return 0;
	if (dialogue->state == MJ_DLG_BODY && !dialogue->dot_taken &&
		dialogue->out_at == dialogue->out_length)
		fill_body(dialogue);
	*bytes = dialogue->out + dialogue->out_at;
	return dialogue->out_length - dialogue->out_at;
}

void
mj_dialogue_sent(MjDialogue *dialogue, size_t length)
{
	dialogue->out_at += (int) length;
	Assert(dialogue->out_at <= dialogue->out_length);
	if (dialogue->state == MJ_DLG_BODY && dialogue->dot_taken &&
		dialogue->out_at == dialogue->out_length)
		dialogue->state = MJ_DLG_DOT;
}

/*
 * Bytes came from the server.  What comes while nothing is under way is a
 * farewell (421) or nonsense: the connection is closed either way.
 */
void
mj_dialogue_received(MjDialogue *dialogue, const char *bytes, size_t length)
{
	while (length > 0 && dialogue->state != MJ_DLG_CLOSED)
	{
		size_t consumed;
		MjReplyStatus status;

		if (dialogue->state == MJ_DLG_READY)
		{
			dialogue->state = MJ_DLG_CLOSED;
			break;
		}
		status = mj_reply_feed(&dialogue->parser, bytes, length, &consumed);
		bytes += consumed;
		length -= consumed;
		if (status == MJ_REPLY_BAD)
			bad_reply(dialogue, dialogue->parser.complaint);
		if (dialogue->state == MJ_DLG_EHLO && dialogue->parser.nlines > 1 &&
			dialogue->parser.reply.code / 100 == 2 && status != MJ_REPLY_MORE)
			take_extension(&dialogue->extensions, dialogue->parser.line_text);
		if (status == MJ_REPLY_DONE)
		{
			take_reply(dialogue, length > 0);
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
	return dialogue->state != MJ_DLG_READY && dialogue->state != MJ_DLG_CLOSED;
}

/*
 * Can the connection take another message?
 */
bool
mj_dialogue_usable(const MjDialogue *dialogue)
{
	return dialogue->state == MJ_DLG_READY;
}
