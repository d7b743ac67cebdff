/*-------------------------------------------------------------------------
 *
 * suppression_store.h
 *	  Addresses that nothing is sent to (jobs.mail_suppression).
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_SUPPRESSION_STORE_H
#define MJ_SUPPRESSION_STORE_H

#include "datatype/timestamp.h"

/* An entry.  Its address, as all here, is UTF-8 and folded, see address.h. */
typedef struct MjSuppression
{
	const char *address;
	const char *reason;
	TimestampTz since;
	bool by_server; /* else by a role */
	const char *role;
	int64 mail_id; /* that the server refused; 0: none */
} MjSuppression;

extern bool mj_suppression_add(const MjSuppression *entry);
extern bool mj_suppression_remove(const char *address);
extern int mj_suppression_find(const char *const *addresses, int n,
							   const char ***found);

#endif /* MJ_SUPPRESSION_STORE_H */
