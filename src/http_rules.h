/*-------------------------------------------------------------------------
 *
 * http_rules.h
 *	  The rules of HTTP: what may be called, and with what.
 *
 * The same rules are asked when something is defined, and again when it is
 * called, as they are then.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HTTP_RULES_H
#define MJ_HTTP_RULES_H

#include "utils/jsonb.h"

#include "http.h"

/* soft: fill *problem and return its SQLSTATE; 0: there is none */
extern int mj_http_check_url(const char *url, bool by_setting,
							 MjHttpUrl *parsed, MjProblem *problem);

/* raise 22023, and 42501 for a host that is not allowed */
extern void mj_http_require_url(const char *option, const char *url);
extern void mj_http_require_method(const char *method);
extern void mj_http_require_headers(Jsonb *headers);

/* the headers of an object, "Name: value" each; palloc'ed */
extern int mj_http_headers(Jsonb *headers, const char ***lines);

#endif /* MJ_HTTP_RULES_H */
