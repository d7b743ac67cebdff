/*-------------------------------------------------------------------------
 *
 * call.h
 *	  A call: an HTTP request that the extension itself wants made, no job's.
 *
 * Pings, and the webhooks of alerts, are calls.  A call is a row of jobs.call and
 * a run in the lane of HTTP, so the executor of that lane makes it after the
 * commit, tries it again if it fails, and says in jobs.calls what became of it.
 * Host rules, secrets and signatures are those of all HTTP: see doc/http.md.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CALL_H
#define MJ_CALL_H

#include "call_store.h"

/*
 * Queue a call in the current transaction, and return its run id.  The caller
 * fills in purpose and url, and what else it does not want as it is by default:
 *
 *	MjCall call = { .purpose = "alert", .url = url, .body = json };
 *	int64 run_id = mj_call_queue(&call);
 *
 * Raises nothing about the URL: one that must not be called fails as a call, so
 * that a transaction that has better things to do is not undone.  Who takes a URL
 * from a user checks it before, by mj_http_check_url() of http_rules.h.
 */
extern int64 mj_call_queue(const MjCall *call);

#endif /* MJ_CALL_H */
