/*-------------------------------------------------------------------------
 *
 * figures_store.h
 *	  What the history of a job comes to: its last run, its last day, its
 *	  failures in a row.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_FIGURES_STORE_H
#define MJ_FIGURES_STORE_H

#include "datatype/timestamp.h"

/* Columns of the figures, as jobs.job_figures() returns them. */
#define MJ_FIGURES 12

typedef struct MjFigures
{
	char *role;	  /* of the job, by name */
	Oid role_oid; /* InvalidOid: not known */
	Datum values[MJ_FIGURES];
	bool nulls[MJ_FIGURES];
} MjFigures;

extern bool mj_figures_of_job(int64 job_id, TimestampTz now,
							  MjFigures *figures);

#endif /* MJ_FIGURES_STORE_H */
