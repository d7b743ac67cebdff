/*-------------------------------------------------------------------------
 *
 * floor.h
 *	  The floor: how far the claims of an executor have come in its lane.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_FLOOR_H
#define MJ_FLOOR_H

#include "shmem.h"

extern bool mj_floor_begin(MjKey *from);
extern void mj_floor_end(const MjKey *last);
extern void mj_floor_lower(Oid database, const MjKey *arrived);

#endif /* MJ_FLOOR_H */
