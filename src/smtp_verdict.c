/*-------------------------------------------------------------------------
 *
 * smtp_verdict.c
 *	  What the end of an SMTP dialogue means: for the mail, for the transport,
 *	  for the recipient.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "smtp_verdict.h"

/* ------------------------------------------------------------------------
 * The verdict
 * ------------------------------------------------------------------------
 */

/* The code of the server's refusal; 0: it was nothing that the server said. */
static int
refusal(const MjSmtpResult *result)
{
	return result->error == MJ_SMTP_ERR_REFUSED ? result->reply.code : 0;
}

/*
 * Did the server refuse whoever sends, not the mail?  530, 534, 535 and 538
 * ask for a login, another one, or TLS (RFC 4954, RFC 3207).
 */
static bool
sender_is_refused(int code)
{
	return code == 530 || code == 534 || code == 535 || code == 538;
}

/* What becomes of a mail whose dialogue ended so. */
MjVerdict
mj_smtp_verdict(const MjSmtpResult *result)
{
	if (sender_is_refused(refusal(result)))
		return MJ_VERDICT_HOPELESS;
	switch (result->outcome)
	{
		case MJ_SMTP_ACCEPTED:
			return MJ_VERDICT_SENT;
		case MJ_SMTP_PERMANENT:
			return MJ_VERDICT_FAILED;
		case MJ_SMTP_UNCERTAIN:
			return MJ_VERDICT_UNCERTAIN;
		default:
			return result->stale || mj_smtp_is_throttled(result) ?
				MJ_VERDICT_AGAIN :
				MJ_VERDICT_RETRY;
	}
}

/*
 * Does the server want less of us?  421 is good-bye, 454 and 4.7.x what is said
 * of too many connections or mails.  Of a recipient 4.7.x mostly means that it
 * is greylisted, which is no matter of the transport, but for the codes by
 * which Google (4.7.28) and Microsoft (4.7.500 on) limit a rate.
 */
bool
mj_smtp_is_throttled(const MjSmtpResult *result)
{
	int code = result->error == MJ_SMTP_ERR_AUTH ? result->reply.code :
												   refusal(result);
	const char *enhanced = result->reply.enhanced;
	int detail;

	if (code == 421 || code == 454)
		return true;
	if (code / 100 != 4 || strncmp(enhanced, "4.7.", 4) != 0)
		return false;
	detail = atoi(enhanced + 4);
	return result->recipient < 0 || detail == 28 || detail >= 500;
}

/*
 * Has the server said that there is no such mailbox: 5.1.1 (none of that name),
 * 5.1.6 (it has moved) or 5.1.10 (its domain takes no mail)?  A mere 550 may be
 * anything; the other 5.1.x are about the domain, the syntax, or the sender.
 */
bool
mj_smtp_mailbox_unknown(const MjSmtpResult *result)
{
	const char *enhanced = result->reply.enhanced;

	return refusal(result) / 100 == 5 &&
		(strcmp(enhanced, "5.1.1") == 0 || strcmp(enhanced, "5.1.6") == 0 ||
		 strcmp(enhanced, "5.1.10") == 0);
}

/* ------------------------------------------------------------------------
 * The server's id
 * ------------------------------------------------------------------------
 */

/* What may be in an id. */
static bool
is_id_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		(c >= 'A' && c <= 'Z') || (c != '\0' && strchr("-_.+=/$@:", c) != NULL);
}

/*
 * Take the id at s, with or without <>, "" or () around it.  What has no digit
 * is a word.
 */
static bool
take_id(const char *s, char *id, size_t size)
{
	size_t length = 0;
	bool digit = false;

	while (*s == ' ' || *s == '<' || *s == '"' || *s == '(')
		s++;
	while (is_id_char(s[length]))
	{
		digit |= s[length] >= '0' && s[length] <= '9';
		length++;
	}
	/* punctuation of the sentence */
	while (length > 0 && strchr(".:=", s[length - 1]) != NULL)
		length--;
	if (!digit || length < 4 || length >= size)
		return false;
	memcpy(id, s, length);
	id[length] = '\0';
	return true;
}

/* The first place of a word, whatever its case; NULL: none. */
static const char *
find_word(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (; *text; text++)
		if (pg_strncasecmp(text, word, length) == 0)
			return text;
	return NULL;
}

/* Past the code and the enhanced code of a reply, and a word of success. */
static const char *
skip_codes(const char *s)
{
	static const char *const words[] = { "ok", "accepted", NULL };
	int i;

	s += strspn(s, "0123456789");
	s += strspn(s, " ");
	if (strspn(s, "0123456789") == 1 && s[1] == '.')
		s += strcspn(s, " ");
	s += strspn(s, " ");
	for (i = 0; words[i] != NULL; i++)
	{
		size_t length = strlen(words[i]);

		if (pg_strncasecmp(s, words[i], length) == 0 && !is_id_char(s[length]))
			return s + length + strspn(s + length, " ,:;");
	}
	return s;
}

/* Is this a single word, to the end? */
static bool
is_single_word(const char *s)
{
	return *s != '\0' && s[strspn(s, " ")] != '\0' &&
		strchr(s + strspn(s, " "), ' ') == NULL;
}

/*
 * The id under which a server has a mail, out of its reply to the dot, such as
 * "250 2.0.0 Ok: queued as 4XyZ": false if it does not say one, or not in a way
 * that is known.
 *
 *	postfix		2.0.0 Ok: queued as 4F1Bq81Zz9
 *	exim		OK id=1rX2Yz-0003Ab-CD
 *	sendmail	2.0.0 40BCdE0a012345 Message accepted for delivery
 *	qmail		ok 1700000000 qp 12345
 *	SES			Ok 0102018c0f1e-...-000000
 *	Exchange	2.6.0 <...> [InternalId=123, Hostname=...] Queued mail for delivery
 *	Google		2.0.0 OK  1700000000 a1-20020a05.12 - gsmtp
 *	SendGrid	Ok: queued as ...
 *	Mailgun		Great success; Postmark, Resend: the id alone
 */
bool
mj_smtp_server_id(const char *reply, char *id, size_t size)
{
	static const char *const marks[] = { "queued as",	"queued with id",
										 "InternalId=", "id=",
										 "queue id",	" qp ",
										 NULL };
	const char *rest;
	const char *end;
	int i;

	for (i = 0; marks[i] != NULL; i++)
	{
		const char *at = find_word(reply, marks[i]);

		if (at != NULL && take_id(at + strlen(marks[i]), id, size))
			return true;
	}
	rest = skip_codes(reply);
	end = find_word(rest, " - gsmtp");
	if (end != NULL)
	{
		while (end > rest && end[-1] != ' ')
			end--;
		return take_id(end, id, size);
	}
	if (is_single_word(rest) || find_word(rest, "message accepted") != NULL)
		return take_id(rest, id, size);
	return false;
}
