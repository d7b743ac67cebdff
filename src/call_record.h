/*-------------------------------------------------------------------------
 *
 * call_record.h
 *	  The record of HTTP runs that were claimed: what became of them.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CALL_RECORD_H
#define MJ_CALL_RECORD_H

#include "batch.h"
#include "call_store.h"
#include "http_transport.h"

/* A run in hand: of a job, or a call of the extension itself. */
typedef struct MjErrand
{
	MjHttpParcel parcel;
	dlist_node node; /* of all that are in hand */
	MjWork work;	 /* of a call, job has what bears on retries */
	bool is_call;
	MjCall call;
	MjHttpDraft draft;
	int sqlstate; /* of why it cannot be sent; 0: it can */
	MjProblem problem;
	bool cancelled;
	char reason[MJ_REASON_SIZE];
	int place;	 /* of its flight */
	void *claim; /* the caller's own */
} MjErrand;

extern void mj_call_record(MjErrand *const *errands, int n);

#endif /* MJ_CALL_RECORD_H */
