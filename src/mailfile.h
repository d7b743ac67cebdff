/*-------------------------------------------------------------------------
 *
 * mailfile.h
 *	  Delivery of mail into a directory, one .eml file a message.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAILFILE_H
#define MJ_MAILFILE_H

#include "pure.h"

/*
 * mj_mailfile_open checks url (file:///absolute/existing/directory) and gives
 * the directory's real path in dir[MAXPGPATH].  forbidden_prefix, if not NULL,
 * is a directory (the data directory) that it must not be or lie in.
 *
 * mj_mailfile_write puts one message there, durably and at once as a whole.
 * The file's name is made from id (the Message-ID), so that repeating replaces.
 * On success path[MAXPGPATH], if not NULL, gets the file's name.
 */
extern bool mj_mailfile_open(const char *url, const char *forbidden_prefix,
							 char *dir, MjProblem *problem);
extern bool mj_mailfile_write(const char *dir, const char *id,
							  const char *content, size_t length, char *path,
							  MjProblem *problem);

#endif /* MJ_MAILFILE_H */
