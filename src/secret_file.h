/*-------------------------------------------------------------------------
 *
 * secret_file.h
 *	  A file with a secret: whose it is, who else may read it, what it says.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_SECRET_FILE_H
#define MJ_SECRET_FILE_H

#include "pure.h"

extern int mj_secret_file_read(const char *what, const char *path, char *to,
							   size_t size, size_t *length, MjProblem *problem);

#endif /* MJ_SECRET_FILE_H */
