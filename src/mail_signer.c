/*-------------------------------------------------------------------------
 *
 * mail_signer.c
 *	  The DKIM key of this process, as the settings name it.
 *
 * It is loaded when mail is sent for the first time, and again when a setting
 * or the file is another one; kept until then, for that costs more than a
 * signature.  What the last check found is in force until the next one, so
 * that the mails of a batch are all signed, or none.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "dkim.h"
#include "guc.h"
#include "mail_signer.h"
#include "secret_file.h"

#define KEY_FILE "DKIM key file"
#define MAX_KEY_FILE (32 * 1024) /* bytes */

/* What was loaded; key NULL: nothing is signed. */
static struct
{
	MjDkimKey *key;
	char path[MAXPGPATH];
	struct stat file;
	char domain[256]; /* empty: the sender's */
	char selector[256];
} signer;

/* Fill in the trouble, and return false. */
static bool
refuse(MjMailTrouble *trouble, int sqlstate, const MjProblem *problem)
{
	trouble->sqlstate = sqlstate;
	trouble->problem = *problem;
	return false;
}

/* Is the file the one that was loaded, as far as can be told? */
static bool
is_loaded(const char *path)
{
	struct stat now;

	return signer.key != NULL && strcmp(signer.path, path) == 0 &&
		stat(path, &now) == 0 && now.st_ino == signer.file.st_ino &&
		now.st_dev == signer.file.st_dev &&
		now.st_size == signer.file.st_size &&
		now.st_uid == signer.file.st_uid &&
		now.st_mode == signer.file.st_mode &&
		now.st_mtim.tv_sec == signer.file.st_mtim.tv_sec &&
		now.st_mtim.tv_nsec == signer.file.st_mtim.tv_nsec;
}

static void
forget_key(void)
{
	mj_dkim_free_key(signer.key);
	signer.key = NULL;
}

/* Does it sign?  OpenSSL may forbid what the key is for, by its policy. */
static bool
key_signs(const MjDkimKey *key)
{
	MjDkimSigner trial = { key, "example.com", "s", 0 };
	StringInfoData message;
	bool ok;

	initStringInfo(&message);
	appendStringInfoString(&message, "From: a@example.com\r\n\r\n");
	ok = mj_dkim_sign(&trial, &message);
	pfree(message.data);
	return ok;
}

/* Make a key of what the file says. */
static bool
take_key(const char *path, const char *pem, size_t length,
		 MjMailTrouble *trouble)
{
	MjProblem problem = { 0 };
	MjDkimKey *key = NULL;

	if (length < MAX_KEY_FILE)
		key = mj_dkim_load_key(pem, length, &problem);
	else
		strlcpy(problem.message, "it is too large for a key",
				sizeof(problem.message));
	if (key != NULL && !key_signs(key))
	{
		mj_dkim_free_key(key);
		key = NULL;
		strlcpy(problem.message, "OpenSSL does not sign with the key",
				sizeof(problem.message));
	}
	signer.key = key;
	if (key != NULL)
		return true;
	refuse(trouble, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, &problem);
	snprintf(trouble->problem.message, sizeof(trouble->problem.message),
			 KEY_FILE " \"%s\" cannot be used: %s", path, problem.message);
	return false;
}

/* Load the key of a file.  Leaves the trouble alone if there is none. */
static bool
load_key(const char *path, MjMailTrouble *trouble)
{
	char *pem = palloc(MAX_KEY_FILE);
	size_t length = 0;
	MjProblem problem;
	int sqlstate;
	bool ok;

	forget_key();
	strlcpy(signer.path, path, sizeof(signer.path));
	if (stat(path, &signer.file) != 0)
		memset(&signer.file, 0, sizeof(signer.file));
	sqlstate = mj_secret_file_read(KEY_FILE, path, pem, MAX_KEY_FILE, &length,
								   &problem);
	ok = sqlstate == 0 ? take_key(path, pem, length, trouble) :
						 refuse(trouble, sqlstate, &problem);
	explicit_bzero(pem, MAX_KEY_FILE);
	pfree(pem);
	return ok;
}

/*
 * Make ready to sign as the settings say, or not to sign.  False with the
 * trouble if what they name cannot be used: then nothing may be sent; else it
 * is left alone.  Any process, any time; reads the key only when it is another one.
 */
bool
mj_mail_signer_check(MjMailTrouble *trouble)
{
	if (*mj_dkim_key_file == '\0')
	{
		forget_key();
		return true;
	}
	if (*mj_dkim_selector == '\0')
	{
		MjProblem problem = { 0 };

		strlcpy(problem.message,
				"motionify_jobs.dkim_key_file is set, but no dkim_selector",
				sizeof(problem.message));
		strlcpy(
			problem.hint,
			"Set motionify_jobs.dkim_selector to the name of the key's DNS record, the part before \"._domainkey\".",
			sizeof(problem.hint));
		return refuse(trouble, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					  &problem);
	}
	strlcpy(signer.domain, mj_dkim_domain, sizeof(signer.domain));
	strlcpy(signer.selector, mj_dkim_selector, sizeof(signer.selector));
	return is_loaded(mj_dkim_key_file) || load_key(mj_dkim_key_file, trouble);
}

/*
 * Sign a rendered message as the last check has it; sender is its address.  A
 * sender whose domain is an address literal has no key to be found, and is not
 * signed for.  An error if memory runs out.
 */
void
mj_mail_signer_sign(StringInfo message, const char *sender, int64 date)
{
	const char *at = strrchr(sender, '@');
	MjDkimSigner as = { .key = signer.key,
						.domain = signer.domain,
						.selector = signer.selector,
						.time = date };

	if (signer.key == NULL)
		return;
	if (*as.domain == '\0')
		as.domain = at ? at + 1 : "";
	if (mj_dkim_is_name(as.domain) && !mj_dkim_sign(&as, message))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory for a DKIM signature")));
}
