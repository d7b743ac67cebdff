/*-------------------------------------------------------------------------
 *
 * scheduler.h
 *	  The scheduler: decides for one database what is to run.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_SCHEDULER_H
#define MJ_SCHEDULER_H

extern PGDLLEXPORT void mj_scheduler_main(Datum main_arg);

#endif /* MJ_SCHEDULER_H */
