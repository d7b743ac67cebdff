/*-------------------------------------------------------------------------
 *
 * host_pattern.h
 *	  Patterns of hosts, in settings and files: which hosts, ports and schemes
 *	  they mean.
 *
 *		example.com				the usual ports, 443 of https and 80 of http
 *		example.com:8443		that port
 *		example.com:*			any port
 *		*.example.com			all hosts below it, not itself
 *		[::1]:8080				an IPv6 address
 *		https://example.com		that scheme only
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HOST_PATTERN_H
#define MJ_HOST_PATTERN_H

#include "pure.h"

/* A pattern. */
typedef struct MjHostPattern
{
	bool http;		/* it means http */
	bool https;		/* and https */
	bool below;		/* all hosts below host */
	int port;		/* 0: any; -1: that of the scheme */
	char host[256]; /* lower case */
} MjHostPattern;

extern bool mj_host_pattern_parse(const char *text, size_t length,
								  MjHostPattern *pattern);
extern bool mj_host_pattern_matches(const MjHostPattern *pattern, bool tls,
									const char *host, int port);

/* lists of patterns, with commas or blanks between them */
extern bool mj_host_list_check(const char *list, char *wrong, size_t size);
extern bool mj_host_list_has(const char *list, bool tls, const char *host,
							 int port);

#endif /* MJ_HOST_PATTERN_H */
