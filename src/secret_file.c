/*-------------------------------------------------------------------------
 *
 * secret_file.c
 *	  A file with a secret: whose it is, who else may read it, what it says.
 *
 * What is read is in no message.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret_file.h"

static int refuse(MjProblem *problem, int sqlstate, const char *hint,
				  const char *fmt, ...) pg_attribute_printf(4, 5);

/* Fill in a problem, and return its sqlstate. */
static int
refuse(MjProblem *problem, int sqlstate, const char *hint, const char *fmt, ...)
{
	va_list args;

	memset(problem, 0, sizeof(*problem));
	va_start(args, fmt);
	vsnprintf(problem->message, sizeof(problem->message), fmt, args);
	va_end(args);
	if (hint)
		strlcpy(problem->hint, hint, sizeof(problem->hint));
	return sqlstate;
}

/* Whose file it is, and who else may read it. */
static int
check_file(const char *what, const char *path, int fd, MjProblem *problem)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return refuse(problem, ERRCODE_IO_ERROR, NULL,
					  "could not stat %s \"%s\": %s", what, path,
					  strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(problem, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
					  "%s \"%s\" is not a regular file", what, path);
	if (st.st_uid != geteuid())
		return refuse(
			problem, ERRCODE_INSUFFICIENT_PRIVILEGE,
			"Use chown to give it to the operating system user that the database server runs as.",
			"%s \"%s\" belongs to another user", what, path);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return refuse(problem, ERRCODE_INSUFFICIENT_PRIVILEGE,
					  "Use chmod 0600 on it: only its owner may have access.",
					  "%s \"%s\" has group or world access", what, path);
	return 0;
}

/*
 * Read a file with a secret into to[size]; *length is size if there is more of
 * it.  "what" says what it is, "SMTP password file".  Returns 0, or the
 * SQLSTATE of the problem.  The caller wipes what was read.  Any process, any
 * time.
 */
int
mj_secret_file_read(const char *what, const char *path, char *to, size_t size,
					size_t *length, MjProblem *problem)
{
	/* not to hang at a named pipe */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t got = 0;
	int sqlstate;

	if (fd < 0)
		return refuse(problem, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
					  "could not open %s \"%s\": %s", what, path,
					  strerror(errno));
	sqlstate = check_file(what, path, fd, problem);
	if (sqlstate == 0 && (got = read(fd, to, size)) < 0)
		sqlstate =
			refuse(problem, ERRCODE_IO_ERROR, NULL,
				   "could not read %s \"%s\": %s", what, path, strerror(errno));
	close(fd);
	*length = Max(got, 0);
	return sqlstate;
}
