/*-------------------------------------------------------------------------
 *
 * pure.h
 *	  What the pure modules stand on: PostgreSQL's C environment, without
 *	  SPI, catalogs or shared memory.
 *
 * The same files are compiled into the server library and, with -DFRONTEND,
 * into unit tests and fuzz targets that link libpgcommon and libpgport.
 *
 * Layer: pure.  Includes nothing of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_PURE_H
#define MJ_PURE_H

#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "lib/stringinfo.h"

/*
 * Why an input was refused, in PostgreSQL's message style.  A pure function
 * cannot ereport: it fills this and returns false, and the SQL surface turns
 * it into an error.  Empty strings mean "nothing to say".
 */
typedef struct MjProblem
{
	char message[256]; /* lower case, no full stop */
	char detail[512];  /* full sentences */
	char hint[512];	   /* full sentences */
} MjProblem;

#endif /* MJ_PURE_H */
