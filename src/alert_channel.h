/*-------------------------------------------------------------------------
 *
 * alert_channel.h
 *	  The channel of an alert, as text: mail:address, webhook:https://...,
 *	  notify:channel, log, none.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ALERT_CHANNEL_H
#define MJ_ALERT_CHANNEL_H

#include "pure.h"

typedef enum MjChannelKind
{
	MJ_CHANNEL_LOG,		/* the server log */
	MJ_CHANNEL_MAIL,	/* target: an address */
	MJ_CHANNEL_WEBHOOK, /* target: a URL */
	MJ_CHANNEL_NOTIFY,	/* target: a channel of NOTIFY */
	MJ_CHANNEL_NONE		/* nobody */
} MjChannelKind;

typedef struct MjChannel
{
	MjChannelKind kind;
	const char *target; /* within the text that was parsed */
} MjChannel;

extern bool mj_alert_channel_parse(const char *text, MjChannel *channel,
								   MjProblem *problem);

#endif /* MJ_ALERT_CHANNEL_H */
