/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The launcher: the one process that is always there, and the only one
 *	  that starts workers.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_LAUNCHER_H
#define MJ_LAUNCHER_H

extern void mj_launcher_register(void);
extern PGDLLEXPORT void mj_launcher_main(Datum main_arg);

#endif /* MJ_LAUNCHER_H */
