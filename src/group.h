/*-------------------------------------------------------------------------
 *
 * group.h
 *	  The group: runs that share a transaction, and its commit.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_GROUP_H
#define MJ_GROUP_H

#include "batch.h"

extern void mj_group_init(MemoryContext context);
extern int mj_group_execute(MjWork *works, int n, MjWork *at_hand);

#endif /* MJ_GROUP_H */
