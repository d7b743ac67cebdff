/*-------------------------------------------------------------------------
 *
 * gate_store.h
 *	  The gate: which held runs of jobs.queue may become ready.
 *
 * All functions need a transaction, and only the scheduler's may call them:
 * what depends on more than one run is decided in one place.  They open their
 * own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_GATE_STORE_H
#define MJ_GATE_STORE_H

#include "queue_store.h"

extern bool mj_gate_any_held(void);
extern int mj_gate_take_replaced(MjRun **runs);
extern int mj_gate_replaced_running(int64 **run_ids);
extern int mj_gate_admit(void);
extern int mj_gate_take_surplus(MjRun **runs);

#endif /* MJ_GATE_STORE_H */
