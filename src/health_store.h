/*-------------------------------------------------------------------------
 *
 * health_store.h
 *	  What the checklist comes to (jobs.health()).
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HEALTH_STORE_H
#define MJ_HEALTH_STORE_H

extern char *mj_health_failing(void);

#endif /* MJ_HEALTH_STORE_H */
