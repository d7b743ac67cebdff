/*-------------------------------------------------------------------------
 *
 * alert_channel.c
 *	  The channel of an alert, as text.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "alert_channel.h"
#include "mime.h"

static const struct
{
	const char *prefix; /* a whole word, unless it ends in a colon */
	MjChannelKind kind;
} kinds[] = {
	{ "mail:", MJ_CHANNEL_MAIL },	  { "webhook:", MJ_CHANNEL_WEBHOOK },
	{ "notify:", MJ_CHANNEL_NOTIFY }, { "log", MJ_CHANNEL_LOG },
	{ "none", MJ_CHANNEL_NONE },
};

/* Say what is wrong; false. */
static bool
refuse(MjProblem *problem, const char *text, const char *hint)
{
	snprintf(problem->message, sizeof(problem->message),
			 "invalid channel of alerts: \"%.200s\"", text);
	strlcpy(problem->hint, hint, sizeof(problem->hint));
	return false;
}

/* Is it an URL that a webhook can have?  What hosts are allowed is not asked. */
static bool
is_url(const char *url)
{
	const char *c;

	if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
		return false;
	for (c = url; *c != '\0'; c++)
		if ((unsigned char) *c <= ' ' || *c == 0x7f)
			return false;
	return strlen(url) > 8 && strlen(url) <= 2000;
}

/* Is what follows the kind what it takes? */
static bool
check_target(const char *text, const MjChannel *channel, MjProblem *problem)
{
	MjMailbox mailbox;

	switch (channel->kind)
	{
		case MJ_CHANNEL_MAIL:
			return mj_mime_parse_mailbox("channel", channel->target, &mailbox,
										 problem);
		case MJ_CHANNEL_WEBHOOK:
			if (is_url(channel->target))
				return true;
			return refuse(problem, text,
						  "For example \"webhook:https://host/path\".");
		case MJ_CHANNEL_NOTIFY:
			if (*channel->target != '\0' &&
				strlen(channel->target) < NAMEDATALEN)
				return true;
			return refuse(problem, text,
						  "After \"notify:\" comes the name to LISTEN to.");
		default:
			return true;
	}
}

/*
 * Take a channel apart.  Fills *problem and returns false for what is none; the
 * target is UTF-8 as far as it is an address.
 */
bool
mj_alert_channel_parse(const char *text, MjChannel *channel, MjProblem *problem)
{
	int i;

	memset(problem, 0, sizeof(MjProblem));
	for (i = 0; i < lengthof(kinds); i++)
	{
		size_t length = strlen(kinds[i].prefix);
		bool whole = kinds[i].prefix[length - 1] != ':';

		if (whole ? strcmp(text, kinds[i].prefix) != 0 :
					strncmp(text, kinds[i].prefix, length) != 0)
			continue;
		channel->kind = kinds[i].kind;
		channel->target = text + length;
		return check_target(text, channel, problem);
	}
	return refuse(problem, text,
				  "Channels are mail:ADDRESS, webhook:URL, notify:NAME, log "
				  "and none.");
}
