/*-------------------------------------------------------------------------
 *
 * alert_store.h
 *	  Alerts: rules, what becomes of them, whom they tell; downtimes.
 *
 * What a rule finds, and when an alert opens and ends, is SQL of the extension:
 * sql/install/alert.sql.  All functions need a transaction.  They open their own
 * store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ALERT_STORE_H
#define MJ_ALERT_STORE_H

#include "datatype/timestamp.h"

/* Messages of one rule, event and channel: they are passed on as one. */
typedef struct MjAlertMessage
{
	Datum message_ids;	/* bigint[] */
	int64 first_id;		/* of these */
	char *event;		/* opened, repeated, resolved */
	char *channel;		/* as the rule or the setting has it */
	char *severity;		/* info, warning, critical */
	char *summary;		/* one line */
	char *body;			/* several */
	char *payload;		/* a JSON object */
	char *payload_head; /* the same without the details of alerts */
} MjAlertMessage;

/* Options of a rule as they are given; NULL: not given. */
typedef struct MjAlertRule
{
	const char *name;
	const char *kind;
	const char *job;	   /* empty: all */
	const char *job_group; /* empty: all */
	Datum threshold;	   /* numeric */
	Interval *for_interval;
	const char *severity;
	Datum channels;			   /* text[]; empty: those of the setting */
	Datum enabled;			   /* boolean */
	Interval *repeat_interval; /* 0: never */
	Interval *resolve_after;
	const char *description; /* empty: none */
	bool has_threshold;
	bool has_channels;
	bool has_enabled;
	const char *role; /* who writes it */
} MjAlertRule;

/* A time without a scheduler. */
typedef struct MjDowntime
{
	TimestampTz since; /* first instant that was missed */
	TimestampTz until;
	TimestampTz last_seen; /* 0: not known */
	int jobs;
	int64 instants;
	const char *detail;
} MjDowntime;

/* What became of an alert that was to be acknowledged. */
typedef enum MjAcknowledged
{
	MJ_ACKNOWLEDGED,
	MJ_ACKNOWLEDGED_ALREADY, /* or it has ended, or not opened */
	MJ_ACKNOWLEDGED_NOTHING	 /* there is no such alert */
} MjAcknowledged;

/* the scheduler */
extern TimestampTz mj_alert_evaluate(TimestampTz now);
extern bool mj_alert_next_message(int64 after, MjAlertMessage *message);
extern int64 mj_alert_queue_mail(const MjAlertMessage *message,
								 const char *address, const char *subject);
extern void mj_alert_notify(const char *channel, const char *payload);
extern void mj_alert_mark(Datum message_ids, const char *state, int64 run_id,
						  const char *error, TimestampTz ended_at);
extern void mj_alert_add_downtime(const MjDowntime *downtime);
extern int64 mj_alert_prune(TimestampTz before, int limit);

/* who defines rules */
extern bool mj_alert_rule_find(const char *name, char **kind);
extern void mj_alert_rule_set(const MjAlertRule *rule, TimestampTz now);
extern bool mj_alert_rule_delete(const char *name);
extern MjAcknowledged mj_alert_acknowledge(int64 alert_id, const char *role,
										   const char *note, TimestampTz now);

/* who asks how it is */
extern char *mj_alert_critical(void);
extern int64 mj_alert_failures(TimestampTz since, char **kind, char **error);

/* who runs a portal's job */
extern void mj_alert_note_backlog(int64 run_id, int64 pending, TimestampTz now);

#endif /* MJ_ALERT_STORE_H */
