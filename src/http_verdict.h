/*-------------------------------------------------------------------------
 *
 * http_verdict.h
 *	  What an answer over HTTP means: done, to be tried again, or not.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HTTP_VERDICT_H
#define MJ_HTTP_VERDICT_H

#include "http.h"

/* What is to become of a call. */
typedef enum MjHttpVerdict
{
	MJ_HTTP_DONE,  /* 2xx */
	MJ_HTTP_RETRY, /* it may do another time */
	MJ_HTTP_FINAL  /* it will not */
} MjHttpVerdict;

/* A wait that a server asks for is cut to this. */
#define MJ_HTTP_MAX_WAIT_S 86400

extern MjHttpVerdict mj_http_verdict(const MjHttpResponse *response);
extern int64 mj_http_wait_s(const MjHttpResponse *response); /* -1: not said */
extern void mj_http_sqlstate(const MjHttpResponse *response, char sqlstate[6]);
extern void mj_http_explain(const MjHttpResponse *response, MjProblem *problem);

#endif /* MJ_HTTP_VERDICT_H */
