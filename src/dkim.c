/*-------------------------------------------------------------------------
 *
 * dkim.c
 *	  DKIM signatures of messages (RFC 6376, 8463), by OpenSSL.
 *
 * Both canonicalizations are "relaxed", so that a relay that folds a header
 * anew, or trims blanks, does not break the signature.  The headers that say
 * from whom a message is and what it is are signed once more than they occur
 * ("oversigned"): one that is added on the way breaks it.
 *
 * The time in a signature is the caller's, and both algorithms are
 * deterministic: the same message gets the same signature again.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "dkim.h"

#define LINE 72			   /* of our header, where it can be folded */
#define MIN_RSA_BITS 1024  /* RFC 8301 */
#define MAX_SIGNATURE 1024 /* bytes: RSA with 8192 bits */
#define MAX_SIGNED 64	   /* names in h= */

struct MjDkimKey
{
	EVP_PKEY *pkey;
	bool is_rsa;
};

/* A header field of a message: its lines, without the last line's end */
typedef struct Field
{
	const char *start;
	size_t length;
	size_t name_length;
	bool taken; /* by a name in h= */
} Field;

typedef struct Head
{
	Field *fields;
	int nfields;
	const char *body;
	size_t body_length;
} Head;

/*
 * What is signed, in this order, if it is there; and whether one more of it
 * must not be added.  Not what relays change: Content-Transfer-Encoding, and
 * extra headers, which some of them consume.
 */
static const struct
{
	const char *name;
	bool oversigned;
} signed_headers[] = { { "From", true },
					   { "Reply-To", true },
					   { "To", true },
					   { "Cc", true },
					   { "Subject", true },
					   { "Date", true },
					   { "Message-ID", true },
					   { "MIME-Version", true },
					   { "Content-Type", true },
					   { "Sender", false },
					   { "In-Reply-To", false },
					   { "References", false },
					   { "List-Id", false },
					   { "List-Unsubscribe", false },
					   { "List-Unsubscribe-Post", false } };

/* ------------------------------------------------------------------------
 * Keys
 * ------------------------------------------------------------------------
 */

static bool
refuse(MjProblem *problem, const char *message, const char *hint)
{
	memset(problem, 0, sizeof(*problem));
	strlcpy(problem->message, message, sizeof(problem->message));
	strlcpy(problem->hint, hint, sizeof(problem->hint));
	return false;
}

/* PEM's callback: a key that needs a password is not asked for one. */
static int
no_password(char *buffer, int size, int writing, void *arg)
{
	return -1;
}

/* Is this a key that receivers know? */
static bool
check_key(EVP_PKEY *pkey, MjProblem *problem)
{
	int type = EVP_PKEY_base_id(pkey);

	if (type == EVP_PKEY_ED25519)
		return true;
	if (type != EVP_PKEY_RSA)
		return refuse(problem, "the key is neither RSA nor Ed25519",
					  "Make one with: openssl genrsa -out FILE 2048");
	if (EVP_PKEY_bits(pkey) < MIN_RSA_BITS ||
		EVP_PKEY_size(pkey) > MAX_SIGNATURE)
		return refuse(problem, "the RSA key has too few or too many bits",
					  "Make one with: openssl genrsa -out FILE 2048");
	return true;
}

/*
 * Read a private key in PEM form, RSA or Ed25519.  NULL with a problem, which
 * shows nothing of it, if it is none.
 */
MjDkimKey *
mj_dkim_load_key(const char *pem, size_t length, MjProblem *problem)
{
	BIO *bio = BIO_new_mem_buf(pem, (int) length);
	EVP_PKEY *pkey = NULL;
	MjDkimKey *key = NULL;

	if (bio != NULL)
		pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	BIO_free(bio);
	if (pkey == NULL)
		refuse(problem, "there is no private key in PEM form",
			   "It must not be encrypted with a password.");
	else if (check_key(pkey, problem))
		key = malloc(sizeof(MjDkimKey));
	if (key != NULL)
	{
		key->pkey = pkey;
		key->is_rsa = EVP_PKEY_base_id(pkey) == EVP_PKEY_RSA;
	}
	else
		EVP_PKEY_free(pkey);
	/* others in this process expect an empty queue */
	ERR_clear_error();
	return key;
}

/* Free a key; NULL is none. */
void
mj_dkim_free_key(MjDkimKey *key)
{
	if (key == NULL)
		return;
	EVP_PKEY_free(key->pkey);
	free(key);
}

/* The algorithm as a= names it */
const char *
mj_dkim_algorithm(const MjDkimKey *key)
{
	return key->is_rsa ? "rsa-sha256" : "ed25519-sha256";
}

/*
 * Is this a name as domains and selectors have it: labels of letters, digits,
 * hyphens and underscores, separated by dots?
 */
bool
mj_dkim_is_name(const char *name)
{
	size_t label = 0;
	size_t length = strlen(name);

	for (size_t i = 0; i < length; i++)
	{
		char c = name[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '_';

		if (c == '.' && label == 0)
			return false;
		if (c != '.' && !plain && (c != '-' || label == 0))
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return label > 0 && length <= 253;
}

/* ------------------------------------------------------------------------
 * Canonical forms (RFC 6376, 3.4)
 * ------------------------------------------------------------------------
 */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * Append a header field, which is unfolded and given a line end: name in lower
 * case, blanks as one, none at the ends of the value.
 */
void
mj_dkim_relax_header(StringInfo out, const char *field, size_t length)
{
	const char *end = field + length;
	const char *p = field;
	bool blank = false;
	int start;

	for (; p < end && *p != ':'; p++)
	{
		if (!is_blank(*p))
			appendStringInfoChar(out, (char) pg_ascii_tolower(*p));
	}
	appendStringInfoChar(out, ':');
	p = p < end ? p + 1 : end;
	start = out->len;
	for (; p < end; p++)
	{
		if (*p == '\r' || *p == '\n')
			continue;
		if (is_blank(*p))
		{
			blank = true;
			continue;
		}
		if (blank && out->len > start)
			appendStringInfoChar(out, ' ');
		blank = false;
		appendStringInfoChar(out, *p);
	}
	appendBinaryStringInfo(out, "\r\n", 2);
}

/* Append one line of a body, which does not end in blanks: blanks as one. */
static void
relax_line(StringInfo out, const char *line, size_t length)
{
	size_t at = 0;

	while (at < length)
	{
		size_t n = at;

		while (n < length && !is_blank(line[n]))
			n++;
		appendBinaryStringInfo(out, line + at, (int) (n - at));
		at = n;
		while (at < length && is_blank(line[at]))
			at++;
		if (at > n)
			appendStringInfoChar(out, ' ');
	}
	appendBinaryStringInfo(out, "\r\n", 2);
}

/*
 * Append a body, whose lines end in CRLF: lines relaxed, no empty ones at the
 * end.
 */
void
mj_dkim_relax_body(StringInfo out, const char *body, size_t length)
{
	const char *end = body + length;
	size_t nempty = 0;

	enlargeStringInfo(out, (int) length + 2);
	while (body < end)
	{
		const char *newline = memchr(body, '\n', end - body);
		const char *stop = newline ? newline : end;

		if (stop > body && stop[-1] == '\r')
			stop--;
		while (stop > body && is_blank(stop[-1]))
			stop--;
		if (stop == body)
			nempty++;
		else
		{
			for (; nempty > 0; nempty--)
				appendBinaryStringInfo(out, "\r\n", 2);
			relax_line(out, body, stop - body);
		}
		body = newline ? newline + 1 : end;
	}
}

/* ------------------------------------------------------------------------
 * Messages
 * ------------------------------------------------------------------------
 */

/* The end of the header field that begins at p: its last line's end. */
static const char *
field_end(const char *p, const char *end)
{
	while (p < end)
	{
		const char *newline = memchr(p, '\n', end - p);

		if (newline == NULL)
			return end;
		if (newline + 1 >= end || !is_blank(newline[1]))
			return newline + 1;
		p = newline + 1;
	}
	return end;
}

/* Take a message apart; the fields are allocated. */
static void
take_head(const char *message, size_t length, Head *head)
{
	const char *end = message + length;
	const char *p = message;
	int size = 32;

	head->nfields = 0;
	head->fields = palloc(size * sizeof(Field));
	while (p < end && *p != '\r' && *p != '\n')
	{
		const char *next = field_end(p, end);
		Field *field;
		size_t n;

		if (head->nfields == size)
			head->fields = repalloc(head->fields, (size *= 2) * sizeof(Field));
		field = &head->fields[head->nfields++];
		field->start = p;
		field->length = next - p;
		field->taken = false;
		for (n = 0; n < field->length && p[n] != ':' && !is_blank(p[n]); n++)
			;
		field->name_length = n;
		p = next;
	}
	if (p < end && *p == '\r')
		p++;
	if (p < end && *p == '\n')
		p++;
	head->body = p;
	head->body_length = end - p;
}

static bool
has_name(const Field *field, const char *name)
{
	return field->name_length == strlen(name) &&
		pg_strncasecmp(field->start, name, field->name_length) == 0;
}

static int
count_fields(const Head *head, const char *name)
{
	int count = 0;

	for (int i = 0; i < head->nfields; i++)
		count += has_name(&head->fields[i], name);
	return count;
}

/*
 * Append what is signed: for each name the last field of it that was not
 * taken, nothing if there is none.
 */
static void
put_signed_fields(StringInfo out, Head *head, const char *const *names,
				  int nnames)
{
	for (int i = 0; i < nnames; i++)
	{
		for (int j = head->nfields - 1; j >= 0; j--)
		{
			Field *field = &head->fields[j];

			if (field->taken || !has_name(field, names[i]))
				continue;
			field->taken = true;
			mj_dkim_relax_header(out, field->start, field->length);
			break;
		}
	}
}

/* ------------------------------------------------------------------------
 * Signatures
 * ------------------------------------------------------------------------
 */

static bool
digest(const char *data, size_t length, unsigned char *hash)
{
	return EVP_Digest(data, length, hash, NULL, EVP_sha256(), NULL) == 1;
}

/*
 * Sign the SHA-256 of data: for RSA OpenSSL makes it, Ed25519 signs it as it
 * would sign any 32 bytes (RFC 8463).
 */
static bool
sign_data(const MjDkimKey *key, const char *data, size_t length,
		  unsigned char *signature, size_t *size)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char hash[32];
	bool ok = context != NULL;

	if (ok && !key->is_rsa)
	{
		ok = digest(data, length, hash);
		data = (const char *) hash;
		length = sizeof(hash);
	}
	ok = ok &&
		EVP_DigestSignInit(context, NULL, key->is_rsa ? EVP_sha256() : NULL,
						   NULL, key->pkey) == 1 &&
		EVP_DigestSign(context, signature, size, (const unsigned char *) data,
					   length) == 1;
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return ok;
}

/* Append base64, broken into lines that begin with a blank. */
static void
put_base64(StringInfo out, const unsigned char *bytes, size_t length)
{
	unsigned char text[MAX_SIGNATURE * 4 / 3 + 8];
	int size = EVP_EncodeBlock(text, bytes, (int) length);

	for (int at = 0; at < size; at += LINE - 4)
	{
		if (at > 0)
			appendStringInfoString(out, "\r\n ");
		appendBinaryStringInfo(out, (const char *) text + at,
							   Min(LINE - 4, size - at));
	}
}

/*
 * Complete a header DKIM-Signature, which ends in "b=", by the signature over
 * the message's fields with these names, and over itself.  False if OpenSSL
 * fails, which it does when memory runs out.
 */
bool
mj_dkim_put_signature(const MjDkimKey *key, const char *message, size_t length,
					  const char *const *names, int nnames, StringInfo field)
{
	unsigned char signature[MAX_SIGNATURE];
	size_t size = sizeof(signature);
	StringInfoData data;
	Head head;
	bool ok;

	initStringInfo(&data);
	take_head(message, length, &head);
	put_signed_fields(&data, &head, names, nnames);
	mj_dkim_relax_header(&data, field->data, field->len);
	/* of the last field the line's end is not signed */
	ok = sign_data(key, data.data, data.len - 2, signature, &size);
	if (ok)
		put_base64(field, signature, size);
	pfree(head.fields);
	pfree(data.data);
	return ok;
}

/* The names for h=, into names[MAX_SIGNED]; returns how many. */
static int
choose_names(const Head *head, const char **names)
{
	int n = 0;

	for (size_t i = 0; i < lengthof(signed_headers); i++)
	{
		int count = count_fields(head, signed_headers[i].name) +
			(signed_headers[i].oversigned ? 1 : 0);

		while (count-- > 0 && n < MAX_SIGNED)
			names[n++] = signed_headers[i].name;
	}
	return n;
}

/* Append a tag, or a name in h=, on a new line where this one is full. */
static void
put_tag(StringInfo out, int *column, const char *separator, const char *text)
{
	appendStringInfoString(out, separator);
	*column += (int) strlen(separator);
	if (*column + strlen(text) > LINE)
	{
		appendStringInfoString(out, "\r\n");
		*column = 0;
	}
	if (*column == 0 || *separator != ':')
	{
		appendStringInfoChar(out, ' ');
		(*column)++;
	}
	appendStringInfoString(out, text);
	*column += (int) strlen(text);
}

/* Begin the header: all of it but the value of b=. */
static void
put_tags(StringInfo out, const MjDkimSigner *signer, const char *const *names,
		 int nnames, const unsigned char *body_hash)
{
	char text[512];
	int column = 0;

	appendStringInfo(out, "DKIM-Signature: v=1; a=%s; c=relaxed/relaxed",
					 mj_dkim_algorithm(signer->key));
	column = out->len;
	snprintf(text, sizeof(text), "d=%s", signer->domain);
	put_tag(out, &column, ";", text);
	snprintf(text, sizeof(text), "s=%s", signer->selector);
	put_tag(out, &column, ";", text);
	snprintf(text, sizeof(text), "t=%lld", (long long) signer->time);
	put_tag(out, &column, ";", text);
	for (int i = 0; i < nnames; i++)
	{
		snprintf(text, sizeof(text), "%s%s", i == 0 ? "h=" : "", names[i]);
		put_tag(out, &column, i == 0 ? ";" : ":", text);
	}
	appendStringInfoString(out, ";\r\n bh=");
	put_base64(out, body_hash, 32);
	appendStringInfoString(out, ";\r\n b=");
}

/* The signature as a header with its line end. */
static bool
make_signature(const MjDkimSigner *signer, const char *message, size_t length,
			   StringInfo field)
{
	const char *names[MAX_SIGNED];
	unsigned char body_hash[32];
	StringInfoData body;
	Head head;
	int nnames;
	bool ok;

	take_head(message, length, &head);
	nnames = choose_names(&head, names);
	pfree(head.fields);
	initStringInfo(&body);
	mj_dkim_relax_body(&body, head.body, head.body_length);
	ok = digest(body.data, body.len, body_hash);
	pfree(body.data);
	if (!ok)
		return false;
	put_tags(field, signer, names, nnames, body_hash);
	if (!mj_dkim_put_signature(signer->key, message, length, names, nnames,
							   field))
		return false;
	appendBinaryStringInfo(field, "\r\n", 2);
	return true;
}

/*
 * Sign a message, whose lines end in CRLF: puts the header DKIM-Signature
 * before it.  False, with the message as it was, if OpenSSL fails, which it
 * does when memory runs out.
 */
bool
mj_dkim_sign(const MjDkimSigner *signer, StringInfo message)
{
	StringInfoData field;
	bool ok;

	initStringInfo(&field);
	ok = make_signature(signer, message->data, message->len, &field);
	if (ok)
	{
		enlargeStringInfo(message, field.len);
		memmove(message->data + field.len, message->data, message->len + 1);
		memcpy(message->data, field.data, field.len);
		message->len += field.len;
	}
	pfree(field.data);
	return ok;
}
