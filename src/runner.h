/*-------------------------------------------------------------------------
 *
 * runner.h
 *	  The command: executes a job's SQL text, on one path whatever it is.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_RUNNER_H
#define MJ_RUNNER_H

#include "datatype/timestamp.h"

/* A command to execute. */
typedef struct MjCommand
{
	int64 job_id; /* plans are kept by job and version */
	int32 version;
	const char *text;
	Datum args; /* jsonb, $1 of the command */
	bool args_isnull;
	Size max_result; /* bytes; a longer result is cut */
} MjCommand;

/* What it came to.  result in the context that was current at the call. */
typedef struct MjCommandResult
{
	char *result; /* the one value, else the command tag */
	int64 rows_affected;
	bool rows_isnull; /* the tag counts nothing */
} MjCommandResult;

extern void mj_runner_execute(const MjCommand *command,
							  MjCommandResult *result);
extern void mj_runner_reset_objects(void);
extern void mj_runner_reset_session(void);
extern char *mj_runner_cut(const char *value, Size max_length);

#endif /* MJ_RUNNER_H */
