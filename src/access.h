/*-------------------------------------------------------------------------
 *
 * access.h
 *	  Rights: who may see, operate and define jobs, and who may run them.
 *
 * The levels of jobs.grant_usage() are plain GRANTs.  Where a right goes
 * further than calling a function, the level is told by EXECUTE on a marker
 * function.  Everybody here is the current user; all functions need a
 * transaction.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ACCESS_H
#define MJ_ACCESS_H

#include "job_store.h"

/* Why a role cannot run jobs in this database. */
typedef struct MjRoleProblem
{
	int sqlstate;
	char message[256]; /* lower case, no full stop */
	char hint[256];	   /* a full sentence, or empty */
} MjRoleProblem;

extern bool mj_access_role_has_level(Oid role, const char *marker);
extern bool mj_access_is_owner(void);
extern bool mj_access_is_operator(void);
extern bool mj_access_sees_all(void);
extern bool mj_access_is_member(Oid role);
extern bool mj_access_sees_role(Oid role);

extern Oid mj_access_job_role(const MjJob *job);
extern void mj_access_check_see(const MjJob *job);
extern bool mj_access_may_operate(const MjJob *job);
extern void mj_access_check_operate(const MjJob *job);
extern void mj_access_check_manage(const MjJob *job);
extern void mj_access_check_owner(const char *what);

extern bool mj_access_role_can_run(Oid role, const char *name,
								   MjRoleProblem *problem);
extern bool mj_access_job_can_run(const MjJob *job, Oid role,
								  MjRoleProblem *problem);
extern void mj_access_check_run_as(const MjJob *job);

#endif /* MJ_ACCESS_H */
