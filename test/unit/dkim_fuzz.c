/*-------------------------------------------------------------------------
 *
 * dkim_fuzz.c
 *	  Fuzz target: whatever a message looks like, its canonical forms are
 *	  canonical, and it can be signed; the message follows its signature
 *	  unchanged, and a second signature is the same.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "dkim.h"

extern int LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

#define CHECK(condition) \
	do \
	{ \
		if (!(condition)) \
			abort(); \
	} while (0)

/* Of RFC 8463, published */
static const char pem[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
	"-----END PRIVATE KEY-----\n";

/* Relaxing what is relaxed changes nothing. */
static void
check_body(const char *s, size_t length)
{
	StringInfoData once;
	StringInfoData twice;

	initStringInfo(&once);
	initStringInfo(&twice);
	mj_dkim_relax_body(&once, s, length);
	mj_dkim_relax_body(&twice, once.data, once.len);
	CHECK(once.len == twice.len &&
		  memcmp(once.data, twice.data, once.len) == 0);
	CHECK(once.len == 0 || memcmp(once.data + once.len - 2, "\r\n", 2) == 0);
	CHECK((size_t) once.len <= 2 * length + 2);
	pfree(once.data);
	pfree(twice.data);
}

static void
check_header(const char *s, size_t length)
{
	StringInfoData once;
	StringInfoData twice;

	initStringInfo(&once);
	initStringInfo(&twice);
	mj_dkim_relax_header(&once, s, length);
	mj_dkim_relax_header(&twice, once.data, once.len);
	CHECK(once.len == twice.len &&
		  memcmp(once.data, twice.data, once.len) == 0);
	pfree(once.data);
	pfree(twice.data);
}

static void
check_signature(const MjDkimSigner *signer, const char *s, size_t length)
{
	StringInfoData first;
	StringInfoData second;

	initStringInfo(&first);
	initStringInfo(&second);
	appendBinaryStringInfo(&first, s, (int) length);
	appendBinaryStringInfo(&second, s, (int) length);
	CHECK(mj_dkim_sign(signer, &first) && mj_dkim_sign(signer, &second));
	CHECK(first.len == second.len &&
		  memcmp(first.data, second.data, first.len) == 0);
	CHECK(memcmp(first.data + first.len - length, s, length) == 0);
	pfree(first.data);
	pfree(second.data);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static MjDkimKey *key = NULL;
	const char *s = (const char *) data;
	MjDkimSigner signer = { .domain = "example.com",
							.selector = "s",
							.time = 1 };
	MjProblem problem;

	if (key == NULL)
		key = mj_dkim_load_key(pem, sizeof(pem) - 1, &problem);
	signer.key = key;
	check_body(s, size);
	check_header(s, size);
	check_signature(&signer, s, size);
	mj_dkim_free_key(mj_dkim_load_key(s, size, &problem));
	return 0;
}
