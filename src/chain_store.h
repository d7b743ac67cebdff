/*-------------------------------------------------------------------------
 *
 * chain_store.h
 *	  The chain: which jobs run after which (jobs.job_after), and successes
 *	  that have yet to be told (jobs.success).
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CHAIN_STORE_H
#define MJ_CHAIN_STORE_H

/* definitions: called by the SQL surface */
extern void mj_chain_set(int64 job_id, const int64 *after_ids, int n);
extern char *mj_chain_find_cycle(int64 job_id);
extern char *mj_chain_delete(int64 job_id);

/* runs */
extern void mj_chain_record_success(int64 run_id, int64 job_id);
extern int mj_chain_take_successes(int limit, int *taken, int64 **job_ids);

#endif /* MJ_CHAIN_STORE_H */
