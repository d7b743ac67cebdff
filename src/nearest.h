/*-------------------------------------------------------------------------
 *
 * nearest.h
 *	  The names that are near to one that does not exist.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_NEAREST_H
#define MJ_NEAREST_H

/* May the caller be told of a name, by its number? */
typedef bool (*MjMayKnow)(int i, void *arg);

extern const char *mj_nearest_hint(const char *given, const char **names,
								   int nnames, MjMayKnow may_know, void *arg,
								   const char *otherwise);

#endif /* MJ_NEAREST_H */
