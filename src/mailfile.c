/*-------------------------------------------------------------------------
 *
 * mailfile.c
 *	  Delivery of mail into a directory, one .eml file a message.
 *
 * For development and tests.  A file appears under its final name only when it
 * is complete and on disk.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailfile.h"

#define MAX_NAME_LENGTH 160 /* of the part made from the id */

static bool refuse(MjProblem *problem, const char *fmt, ...)
	pg_attribute_printf(2, 3);

static bool
refuse(MjProblem *problem, const char *fmt, ...)
{
	va_list args;

	memset(problem, 0, sizeof(*problem));
	va_start(args, fmt);
	vsnprintf(problem->message, sizeof(problem->message), fmt, args);
	va_end(args);
	return false;
}

/*
 * As refuse, after a failed system call; the detail gives its error.
 */
static bool
refuse_errno(MjProblem *problem, const char *message)
{
	int save_errno = errno;

	refuse(problem, "%s", message);
	snprintf(problem->detail, sizeof(problem->detail),
			 "The system's error is: %s.", strerror(save_errno));
	return false;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * Decode the %XX of a URL's path.
 */
static bool
decode_path(const char *from, char *to, MjProblem *problem)
{
	size_t n = 0;

	for (; *from; from++)
	{
		char c = *from;

		if (c == '%')
		{
			int high = hex_value(from[1]);
			int low = high < 0 ? -1 : hex_value(from[2]);

			if (low < 0)
				return refuse(problem,
							  "mail directory has a malformed %% code");
			c = (char) (high * 16 + low);
			from += 2;
		}
		if ((unsigned char) c < 0x20 || c == 0x7f)
			return refuse(problem,
						  "mail directory contains a control character");
		if (n >= MAXPGPATH - 1)
			return refuse(problem, "mail directory's name is too long");
		to[n++] = c;
	}
	to[n] = '\0';
	return true;
}

/*
 * The canonical name of a path; false with errno if there is none.
 */
static bool
real_path(const char *path, char *real)
{
	char *resolved = realpath(path, NULL);
	bool fits;

	if (resolved == NULL)
		return false;
	fits = strlcpy(real, resolved, MAXPGPATH) < MAXPGPATH;
	free(resolved);
	if (!fits)
		errno = ENAMETOOLONG;
	return fits;
}

/*
 * Is path the directory, or in it?  Both are canonical.
 */
static bool
is_within(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	if (length > 0 && directory[length - 1] == '/')
		length--;
	return strncmp(path, directory, length) == 0 &&
		(path[length] == '/' || path[length] == '\0');
}

/*
 * See mailfile.h.  Touches the file system, writes nothing.
 */
bool
mj_mailfile_open(const char *url, const char *forbidden_prefix, char *dir,
				 MjProblem *problem)
{
	static const char prefix[] = "file://";
	char path[MAXPGPATH];
	char forbidden[MAXPGPATH];
	struct stat st;

	if (strncmp(url, prefix, sizeof(prefix) - 1) != 0 ||
		url[sizeof(prefix) - 1] != '/')
	{
		refuse(problem, "mail directory must be an absolute path");
		strlcpy(problem->hint, "Write file:///absolute/directory.",
				sizeof(problem->hint));
		return false;
	}
	if (!decode_path(url + sizeof(prefix) - 1, path, problem))
		return false;
	if (!real_path(path, dir) || stat(dir, &st) != 0)
		return refuse_errno(problem, "could not open mail directory");
	if (!S_ISDIR(st.st_mode))
		return refuse(problem, "mail directory is not a directory");
	if (forbidden_prefix == NULL)
		return true;
	if (!real_path(forbidden_prefix, forbidden))
		return refuse_errno(problem, "could not check mail directory");
	if (is_within(dir, forbidden))
		return refuse(problem,
					  "mail directory must not be in the data directory");
	return true;
}

/*
 * FNV-1a, 64 bits, to keep the names of long ids apart
 */
static uint64
hash_id(const char *id)
{
	uint64 hash = UINT64CONST(0xcbf29ce484222325);

	for (; *id; id++)
		hash = (hash ^ (unsigned char) *id) * UINT64CONST(0x100000001b3);
	return hash;
}

static bool
is_name_char(char c, bool first)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		(c >= 'a' && c <= 'z') || c == '@' || c == '_' ||
		(!first && (c == '.' || c == '-'));
}

/*
 * Make a file name from an id: a Message-ID's angle brackets go, other
 * characters that could mean something become %XX, so that different ids have
 * different names.  A long one is cut and told apart by a hash.
 */
static void
name_from_id(const char *id, char *name, size_t size)
{
	size_t length = strlen(id);
	size_t n = 0;
	size_t i = 0;

	if (length >= 2 && id[0] == '<' && id[length - 1] == '>')
	{
		i = 1;
		length--;
	}
	for (; i < length && n < MAX_NAME_LENGTH; i++)
	{
		if (is_name_char(id[i], n == 0))
			name[n++] = id[i];
		else
			n += snprintf(name + n, size - n, "%%%02X", (unsigned char) id[i]);
	}
	name[n] = '\0';
	if (i < length)
		snprintf(name + n, size - n, "~%08x%08x", (uint32) (hash_id(id) >> 32),
				 (uint32) hash_id(id));
}

static bool
write_all(int fd, const char *content, size_t length)
{
	while (length > 0)
	{
		ssize_t n = write(fd, content, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ENOSPC;
		if (n <= 0)
			return false;
		content += n;
		length -= n;
	}
	return true;
}

/*
 * Write a new file and bring it to disk; on failure none is left, and errno
 * tells why.  Its mode follows the process's umask.
 */
static bool
write_file(const char *path, const char *content, size_t length)
{
	int fd;
	bool ok;
	int save_errno;

	/* a leftover of a process that died */
	(void) unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (fd < 0)
		return false;
	ok = write_all(fd, content, length) && fsync(fd) == 0;
	save_errno = errno;
	if (close(fd) != 0 && ok)
	{
		ok = false;
		save_errno = errno;
	}
	if (!ok)
		(void) unlink(path);
	errno = save_errno;
	return ok;
}

/*
 * Bring a directory's entries to disk.
 */
static bool
sync_directory(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok;
	int save_errno;

	if (fd < 0)
		return false;
	ok = fsync(fd) == 0;
	save_errno = errno;
	close(fd);
	errno = save_errno;
	return ok;
}

/*
 * See mailfile.h.  Blocks on the disk only; leaves no file descriptor and no
 * temporary file behind, unless the process dies.
 */
bool
mj_mailfile_write(const char *dir, const char *id, const char *content,
				  size_t length, char *path, MjProblem *problem)
{
	char name[MAX_NAME_LENGTH + 32];
	char final[MAXPGPATH + sizeof(name) + 8];
	char temporary[MAXPGPATH + sizeof(name) + 32];

	name_from_id(id, name, sizeof(name));
	if (name[0] == '\0')
		return refuse(problem, "mail without an id cannot be written");
	snprintf(final, sizeof(final), "%s/%s.eml", dir, name);
	snprintf(temporary, sizeof(temporary), "%s/.%s.%d.tmp", dir, name,
			 (int) getpid());
	if (strlen(final) >= MAXPGPATH)
		return refuse(problem, "mail directory's name is too long");
	if (!write_file(temporary, content, length))
		return refuse_errno(problem, "could not write mail file");
	if (rename(temporary, final) != 0)
	{
		refuse_errno(problem, "could not rename mail file");
		(void) unlink(temporary);
		return false;
	}
	if (!sync_directory(dir))
		return refuse_errno(problem, "could not sync mail directory");
	if (path)
		strlcpy(path, final, MAXPGPATH);
	return true;
}
