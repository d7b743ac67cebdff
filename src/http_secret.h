/*-------------------------------------------------------------------------
 *
 * http_secret.h
 *	  The secrets of hosts, out of the file that a setting names.
 *
 * A line is a host pattern and a header that every request to such a host gets:
 *
 *		api.example.com		Authorization: Bearer s3cr3t
 *		hooks.example.com	Signing-Key: s3cr3t
 *
 * Signing-Key is not sent: requests to that host are signed with it.  A pattern
 * without a scheme means https, and http to this host itself.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HTTP_SECRET_H
#define MJ_HTTP_SECRET_H

#include "http.h"

#define MJ_HTTP_MAX_SECRETS 20 /* headers of one host */

/* What there is for a host: in memory that stays until the next look. */
typedef struct MjHttpSecrets
{
	int n;
	const char *headers[MJ_HTTP_MAX_SECRETS]; /* "Name: value" */
	const char *key;						  /* NULL: none */
} MjHttpSecrets;

extern int mj_http_secrets_check(MjProblem *problem, int *lines);
extern int mj_http_secrets_find(const MjHttpUrl *url, MjHttpSecrets *secrets,
								MjProblem *problem);
extern void mj_http_secrets_mask(const MjHttpSecrets *secrets, char *text);

#endif /* MJ_HTTP_SECRET_H */
