/*-------------------------------------------------------------------------
 *
 * motionify_jobs.c
 *	  The front door: settings, hooks, and the launcher.
 *
 * Nothing else is here; src/README.md tells where things are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "clock.h"
#include "guc.h"
#include "launcher.h"
#include "shmem.h"
#include "utility.h"
#include "xact.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/*
 * Called when the library is loaded.  Only a preloaded library gets shared
 * memory, hooks and workers; loaded later it serves the functions that need
 * none of them.
 */
void
_PG_init(void)
{
	mj_clock_init();
	mj_guc_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
	mj_shmem_init();
	mj_xact_init();
	mj_utility_init();
	mj_launcher_register();
}
