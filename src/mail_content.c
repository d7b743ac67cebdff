/*-------------------------------------------------------------------------
 *
 * mail_content.c
 *	  The content of a mail: from a row of jobs.mail to a checked message,
 *	  and on to bytes and envelope.
 *
 * What converts between encodings needs a transaction; what renders does not.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "address.h"
#include "guc.h"
#include "mail_content.h"
#include "mail_signer.h"

#define MAX_ID_DOMAIN 190	 /* bytes, so that the Message-ID has room */
#define MAX_ORIGINAL_TO 1000 /* bytes of it, then it is cut */

/*
 * A string in UTF-8.  What is in a database without an encoding is taken for
 * that, and refused by its field's name if it is not.
 */
static const char *
to_utf8(const char *string)
{
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return string;
	return pg_server_to_any(string, strlen(string), PG_UTF8);
}

/* A string in UTF-8; NULL and the empty string give NULL. */
static const char *
utf8(const char *string)
{
	return string == NULL || *string == '\0' ? NULL : to_utf8(string);
}

/* A string in UTF-8; an empty one is one. */
static const char *
utf8_body(const char *body)
{
	return body == NULL ? NULL : to_utf8(body);
}

/* A string of a jsonb value, in UTF-8. */
static const char *
json_string(const JsonbValue *value)
{
	return to_utf8(pnstrdup(value->val.string.val, value->val.string.len));
}

/* Of the name only printable ASCII is shown, which fits into any encoding. */
static bool
refuse_headers(MjProblem *problem, const char *name)
{
	char shown[65];
	size_t n;

	memset(problem, 0, sizeof(*problem));
	for (n = 0; name && name[n] && n < sizeof(shown) - 1; n++)
		shown[n] = name[n] >= 0x20 && name[n] < 0x7f ? name[n] : '?';
	shown[n] = '\0';
	if (name)
		snprintf(problem->message, sizeof(problem->message),
				 "value of header \"%s\" is not a string", shown);
	else
		strlcpy(problem->message, "\"headers\" are not a JSON object",
				sizeof(problem->message));
	strlcpy(problem->hint, "Write them as {\"X-Name\": \"value\"}.",
			sizeof(problem->hint));
	return false;
}

/* Take the extra headers out of their jsonb. */
static bool
take_headers(Datum headers, MjMessage *message, MjProblem *problem)
{
	Jsonb *object = DatumGetJsonbP(headers);
	JsonbIterator *iterator;
	JsonbValue value;
	JsonbIteratorToken token;
	MjHeader *header;

	if (!JB_ROOT_IS_OBJECT(object))
		return refuse_headers(problem, NULL);
	header = palloc((JB_ROOT_COUNT(object) + 1) * sizeof(MjHeader));
	message->headers = header;
	iterator = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			header->name = json_string(&value);
		if (token != WJB_VALUE)
			continue;
		if (value.type != jbvString)
			return refuse_headers(problem, header->name);
		header->value = json_string(&value);
		header++;
		message->nheaders++;
	}
	return true;
}

/*
 * Send everything to one address instead, and say in a header who would have
 * got it.
 */
static void
redirect_content(MjMailContent *content, const char *to)
{
	MjMessage *message = &content->message;
	int length = pg_encoding_mbcliplen(PG_UTF8, content->to,
									   strlen(content->to), MAX_ORIGINAL_TO);

	message->original_to = pnstrdup(content->to, length);
	content->to = to;
	content->nsuppressed = 0;
	message->cc.nitems = 0;
	message->bcc.nitems = 0;
}

/* The attachments, with what is text in them in UTF-8. */
static void
take_attachments(const MjMail *mail, MjMessage *message)
{
	MjAttachment *to = palloc(mail->nattachments * sizeof(MjAttachment));
	int i;

	for (i = 0; i < mail->nattachments; i++)
	{
		const MjMailAttachment *from = &mail->attachments[i];

		to[i].filename = utf8_body(from->filename);
		to[i].content_type = utf8(from->content_type);
		to[i].content_id = utf8_body(from->content_id);
		to[i].content = VARDATA_ANY(from->content);
		to[i].length = VARSIZE_ANY_EXHDR(from->content);
	}
	message->attachments = to;
	message->nattachments = mail->nattachments;
}

static void
set_list(MjAddressList *list, const char **item, const char *value)
{
	*item = utf8(value);
	list->items = item;
	list->nitems = *item ? 1 : 0;
}

/*
 * A setting, for as long as the message: its own memory is freed when the
 * configuration is read again, which may be while the mail is on its way.
 */
static const char *
setting(const char *value)
{
	return utf8(pstrdup(value));
}

/*
 * Make a message of a mail, with the defaults of the settings, in the current
 * memory context; redirect: as motionify_jobs.mail_redirect_to says.  NULL
 * with a problem if the headers are not what they must be; nothing else is
 * checked.  Needs a transaction.
 */
MjMailContent *
mj_mail_content(const MjMail *mail, TimestampTz date, bool redirect,
				MjProblem *problem)
{
	MjMailContent *content = palloc0(sizeof(MjMailContent));
	MjMessage *message = &content->message;
	const char *redirect_to = redirect ? setting(mj_mail_redirect_to) : NULL;

	message->from = mail->sender ? utf8(mail->sender) : setting(mj_mail_from);
	message->reply_to =
		mail->reply_to ? utf8(mail->reply_to) : setting(mj_mail_reply_to);
	set_list(&message->to, &content->to, mail->recipient);
	set_list(&message->cc, &content->cc, mail->cc);
	set_list(&message->bcc, &content->bcc, mail->bcc);
	message->subject = utf8_body(mail->subject);
	message->text = utf8_body(mail->body_text);
	message->html = utf8_body(mail->body_html);
	message->unsubscribe = utf8_body(mail->unsubscribe);
	message->message_id = mail->message_id;
	message->date = (int64) timestamptz_to_time_t(date);
	content->suppressed = mail->suppressed;
	content->nsuppressed = mail->nsuppressed;
	if (!mail->headers_isnull && !take_headers(mail->headers, message, problem))
		return NULL;
	if (mail->nattachments > 0)
		take_attachments(mail, message);
	if (redirect_to && content->to)
		redirect_content(content, redirect_to);
	return content;
}

/* Check addresses under the name of the argument that they came in. */
static bool
check_addresses(const char *field, const char *value, MjProblem *problem)
{
	const char *list = value ? utf8_body(value) : NULL;

	return list == NULL || mj_mime_check_address(field, list, problem);
}

static bool
check_mailbox(const char *field, const char *value, MjProblem *problem)
{
	MjMailbox mailbox;

	return mj_mime_parse_mailbox(field, utf8_body(value), &mailbox, problem);
}

/* The argument that most of a message's size is owed to. */
static const char *
largest_part(const MjMessage *message)
{
	size_t text = message->text ? strlen(message->text) : 0;
	size_t html = message->html ? strlen(message->html) : 0;
	size_t files = 0;
	int i;

	for (i = 0; i < message->nattachments; i++)
		files += message->attachments[i].length;
	if (files >= text && files >= html)
		return "attachments";
	return text >= html ? "body_text" : "body_html";
}

static bool
refuse_size(const MjMessage *message, size_t size, MjProblem *problem)
{
	memset(problem, 0, sizeof(*problem));
	snprintf(problem->message, sizeof(problem->message),
			 "\"%s\" makes the mail too large", largest_part(message));
	snprintf(problem->detail, sizeof(problem->detail),
			 "It has %zu bytes; motionify_jobs.mail_max_size allows %zu.", size,
			 (size_t) mj_mail_max_size_kb * 1024);
	strlcpy(problem->hint, "Put large files where a link can lead to them.",
			sizeof(problem->hint));
	return false;
}

/*
 * Check the size of a message as it will be sent; it is rendered only if that
 * could matter.  What it is signed with is not counted.
 */
static bool
check_size(const MjMessage *message, MjProblem *problem)
{
	size_t limit = (size_t) mj_mail_max_size_kb * 1024;
	MjMessage sample = *message;
	StringInfoData bytes;
	size_t files = 0;
	size_t size;
	int i;

	if (mj_mime_size_bound(message) <= limit)
		return true;
	for (i = 0; i < message->nattachments; i++)
		files += message->attachments[i].length;
	if (files > limit)
		return refuse_size(message, files, problem);
	sample.message_id = "<0@mail.invalid>";
	initStringInfo(&bytes);
	if (!mj_mime_render(&sample, &bytes, problem))
		return false;
	size = bytes.len;
	pfree(bytes.data);
	return size <= limit || refuse_size(message, size, problem);
}

/*
 * Check all of a mail as it will be sent.  False with a problem that names
 * the argument of jobs.send_mail().  Needs a transaction.
 */
bool
mj_mail_check(const MjMail *mail, TimestampTz date, MjProblem *problem)
{
	MjMailContent *content;

	if (!check_addresses("recipient", mail->recipient, problem) ||
		!check_addresses("cc", mail->cc, problem) ||
		!check_addresses("bcc", mail->bcc, problem) ||
		!check_addresses("reply_to", mail->reply_to, problem) ||
		(mail->sender && !check_mailbox("sender", mail->sender, problem)))
		return false;
	content = mj_mail_content(mail, date, false, problem);
	return content != NULL &&
		mj_mime_check_message(&content->message, problem) &&
		check_size(&content->message, problem);
}

/*
 * Check the addresses in the settings, which could otherwise spoil any mail.
 * Needs a transaction.
 */
bool
mj_mail_check_defaults(MjProblem *problem)
{
	return (*mj_mail_from == '\0' ||
			check_mailbox("motionify_jobs.mail_from", mj_mail_from, problem)) &&
		(*mj_mail_reply_to == '\0' ||
		 check_addresses("motionify_jobs.mail_reply_to", mj_mail_reply_to,
						 problem)) &&
		(*mj_mail_redirect_to == '\0' ||
		 check_addresses("motionify_jobs.mail_redirect_to", mj_mail_redirect_to,
						 problem));
}

/*
 * A Message-ID, palloc'ed: random, so that no other installation's is the
 * same, and under the sender's domain.  The sender has been checked.
 */
char *
mj_mail_message_id(int64 mail_id, const char *sender)
{
	MjMailbox mailbox;
	MjProblem problem;
	const char *domain = NULL;
	uint64 noise[2];

	if (mj_mime_parse_mailbox("sender", utf8_body(sender), &mailbox, &problem))
		domain = strrchr(mailbox.address, '@');
	if (domain == NULL || strlen(domain) > MAX_ID_DOMAIN)
		domain = "@mail.invalid";
	if (!pg_strong_random(noise, sizeof(noise)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	return psprintf("<%016llx%016llx.%lld%s>", (unsigned long long) noise[0],
					(unsigned long long) noise[1], (long long) mail_id, domain);
}

/* Is an address among some that are folded? */
static bool
is_suppressed(const char *address, const char *const *suppressed,
			  int nsuppressed)
{
	char folded[MJ_MIME_MAX_ADDRESS + 1];
	int i;

	if (nsuppressed == 0)
		return false;
	mj_address_fold(address, folded, sizeof(folded));
	for (i = 0; i < nsuppressed; i++)
		if (strcmp(suppressed[i], folded) == 0)
			return true;
	return false;
}

/* Add an address to a list of n unless it is there; returns the new n. */
static int
add_recipient(const char **recipients, int n, const char *address)
{
	int i;

	for (i = 0; i < n; i++)
		if (strcmp(recipients[i], address) == 0)
			return n;
	recipients[n] = pstrdup(address);
	return n + 1;
}

/*
 * The recipients of a message, each once and but for those that are
 * suppressed, into recipients[MJ_MIME_MAX_RECIPIENTS]; returns how many, or -1
 * with a problem.
 */
static int
list_recipients(const MjMailContent *content, const char **recipients,
				MjProblem *problem)
{
	const MjMessage *message = &content->message;
	const MjAddressList *lists[] = { &message->to, &message->cc,
									 &message->bcc };
	MjMailbox *mailbox = palloc(sizeof(MjMailbox));
	int n = 0;
	int i;

	for (i = 0; i < lengthof(lists); i++)
	{
		const char *cursor = lists[i]->nitems ? lists[i]->items[0] : "";
		int got;

		while (n < MJ_MIME_MAX_RECIPIENTS &&
			   (got = mj_mime_next_mailbox("to", &cursor, mailbox, problem)) !=
				   0)
		{
			if (got < 0)
				return -1;
			if (!is_suppressed(mailbox->address, content->suppressed,
							   content->nsuppressed))
				n = add_recipient(recipients, n, mailbox->address);
		}
	}
	return n;
}

/* How many recipients a message has at most: there is a comma between two. */
static int
most_recipients(const MjMessage *message)
{
	const MjAddressList *lists[] = { &message->to, &message->cc,
									 &message->bcc };
	int n = 0;
	int i;

	for (i = 0; i < lengthof(lists); i++)
	{
		const char *s = lists[i]->nitems ? lists[i]->items[0] : NULL;

		for (; s != NULL; s = strchr(s + 1, ','))
			n++;
	}
	return Min(n, MJ_MIME_MAX_RECIPIENTS);
}

/*
 * The recipients of a mail in the order of its envelope, where it is not
 * redirected; returns how many, 0 if they are not what they must be.  Needs a
 * transaction.
 */
int
mj_mail_recipients(const MjMail *mail, const char ***addresses)
{
	MjMailContent content = { 0 };
	MjMessage *message = &content.message;
	MjProblem problem;

	set_list(&message->to, &content.to, mail->recipient);
	set_list(&message->cc, &content.cc, mail->cc);
	set_list(&message->bcc, &content.bcc, mail->bcc);
	content.suppressed = mail->suppressed;
	content.nsuppressed = mail->nsuppressed;
	*addresses = palloc(Max(most_recipients(message), 1) * sizeof(char *));
	return Max(0, list_recipients(&content, *addresses, &problem));
}

/*
 * The domain of the first mailbox of a list, palloc'ed; NULL if it is not what it
 * must be.  Needs a transaction.
 */
char *
mj_mail_first_domain(const char *list)
{
	const char *cursor = to_utf8(list);
	MjMailbox mailbox;
	MjProblem problem;
	const char *at;

	if (mj_mime_next_mailbox("to", &cursor, &mailbox, &problem) <= 0)
		return NULL;
	at = strrchr(mailbox.address, '@');
	return at ? pstrdup(at + 1) : NULL;
}

/* The envelope: addresses of to, cc and bcc, each once. */
static bool
fill_envelope(const MjMailContent *content, MjEnvelope *envelope,
			  MjProblem *problem)
{
	const char **recipients = palloc(MJ_MIME_MAX_RECIPIENTS * sizeof(char *));
	MjMailbox *mailbox = palloc(sizeof(MjMailbox));

	if (!mj_mime_parse_mailbox("from", content->message.from, mailbox, problem))
		return false;
	envelope->from = pstrdup(mailbox->address);
	envelope->recipients = recipients;
	envelope->nrecipients = list_recipients(content, recipients, problem);
	return envelope->nrecipients >= 0;
}

/*
 * Render and sign a message, and make its envelope, in the current memory context.
 * False with a problem if it cannot be sent.  Needs no transaction.
 */
bool
mj_mail_draft(const MjMailContent *content, MjMailDraft *draft,
			  MjProblem *problem)
{
	const MjMessage *message = &content->message;

	memset(draft, 0, sizeof(*draft));
	initStringInfo(&draft->bytes);
	if (!mj_mime_render(message, &draft->bytes, problem) ||
		!fill_envelope(content, &draft->envelope, problem))
		return false;
	mj_mail_signer_sign(&draft->bytes, draft->envelope.from, message->date);
	draft->envelope.content = draft->bytes.data;
	draft->envelope.length = draft->bytes.len;
	return true;
}
