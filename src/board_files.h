/*-------------------------------------------------------------------------
 *
 * board_files.h
 *	  The templates of the board: the files of board/, as make has put them
 *	  into the library.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_BOARD_FILES_H
#define MJ_BOARD_FILES_H

#include "pure.h"

/* A file of board/. */
typedef struct MjBoardFile
{
	const char *name; /* without its ending */
	const char *text;
} MjBoardFile;

extern const MjBoardFile mj_board_files[];
extern const int mj_board_nfiles;

#endif /* MJ_BOARD_FILES_H */
