/*-------------------------------------------------------------------------
 *
 * http_request.h
 *	  The request of a run: its headers, its body, its signature.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HTTP_REQUEST_H
#define MJ_HTTP_REQUEST_H

#include "utils/jsonb.h"

#include "http_secret.h"
#include "queue_store.h"

/* What a run calls. */
typedef struct MjHttpTarget
{
	const char *name; /* of its job; NULL: of none */
	const char *url;
	const char *method;		  /* NULL: POST */
	Jsonb *headers;			  /* NULL: none of its own */
	const char *body;		  /* in the database's encoding; NULL: none */
	const char *content_type; /* of it */
	bool too_long;			  /* there would be a body, but for its length */
	bool by_setting;		  /* its host need not be allowed */
	int timeout_ms;			  /* of all of it; 0: as the setting says */
} MjHttpTarget;

/* A request that can be sent, more than once. */
typedef struct MjHttpDraft
{
	MjHttpRequest request;
	MjHttpUrl url;
	MjHttpSecrets secrets;
	const char **headers;
} MjHttpDraft;

#define MJ_HTTP_MAX_BODY (10 * 1024 * 1024) /* bytes that are sent */

extern char *mj_http_args_text(const MjRun *run);
extern int mj_http_draft(const MjHttpTarget *target, const MjRun *run,
						 const char *instance_id, MjHttpDraft *draft,
						 MjProblem *problem);
extern void mj_http_sign(MjHttpDraft *draft, TimestampTz now);

#endif /* MJ_HTTP_REQUEST_H */
