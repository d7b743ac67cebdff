/*-------------------------------------------------------------------------
 *
 * executor.h
 *	  The executor: a process that serves one lane of one database.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_EXECUTOR_H
#define MJ_EXECUTOR_H

extern PGDLLEXPORT void mj_executor_main(Datum main_arg);

#endif /* MJ_EXECUTOR_H */
