/*-------------------------------------------------------------------------
 *
 * mustache_json.h
 *	  Data for the tests of templates: JSON text as a source of values.
 *
 * What is read is never freed, but all at once: json_reset().
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MUSTACHE_JSON_H
#define MJ_MUSTACHE_JSON_H

#include "mustache.h"

typedef struct Json
{
	MjValue value; /* its node is this */
	const char *key;
	int key_length;
	struct Json *first; /* of what is in it */
	struct Json *last;
	struct Json *next;
	struct Json **index; /* of a list */
	const char *raw;	 /* as it was written */
	int raw_length;
} Json;

typedef struct JsonArena
{
	struct JsonArena *next;
	char bytes[FLEXIBLE_ARRAY_MEMBER];
} JsonArena;

static JsonArena *json_arena = NULL;

/* What a test leaves is the end's. */
extern const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

static void *
json_alloc(size_t size)
{
	JsonArena *arena = palloc0(offsetof(JsonArena, bytes) + size);

	arena->next = json_arena;
	json_arena = arena;
	return arena->bytes;
}

static void
json_reset(void)
{
	while (json_arena)
	{
		JsonArena *next = json_arena->next;

		pfree(json_arena);
		json_arena = next;
	}
}

static void
json_blanks(const char **at)
{
	while (**at && strchr(" \t\r\n", **at))
		(*at)++;
}

/* A code point as UTF-8; returns how many bytes. */
static int
json_utf8(unsigned int c, char *to)
{
	if (c < 0x80)
		return to[0] = c, 1;
	if (c < 0x800)
		return to[0] = 0xc0 | (c >> 6), to[1] = 0x80 | (c & 0x3f), 2;
	if (c < 0x10000)
		return to[0] = 0xe0 | (c >> 12), to[1] = 0x80 | ((c >> 6) & 0x3f),
			   to[2] = 0x80 | (c & 0x3f), 3;
	return to[0] = 0xf0 | (c >> 18), to[1] = 0x80 | ((c >> 12) & 0x3f),
		   to[2] = 0x80 | ((c >> 6) & 0x3f), to[3] = 0x80 | (c & 0x3f), 4;
}

static unsigned int
json_hex(const char **at)
{
	char digits[5] = "";

	strlcpy(digits, *at, sizeof(digits));
	*at += strlen(digits);
	return strtoul(digits, NULL, 16);
}

/* A string; *at is behind its opening quote. */
static const char *
json_string(const char **at, int *length)
{
	const char *end = *at;
	char *to;
	char *start;

	while (*end && *end != '"')
		end += *end == '\\' && end[1] ? 2 : 1;
	start = to = json_alloc(end - *at + 4);
	while (**at && **at != '"')
	{
		const char *escapes = "nrtbf\n\r\t\b\f";
		const char *escape;

		if (**at != '\\')
		{
			*to++ = *(*at)++;
			continue;
		}
		(*at)++;
		if (**at == 'u')
		{
			unsigned int c;

			(*at)++;
			c = json_hex(at);
			if (c >= 0xd800 && c < 0xdc00 && (*at)[0] == '\\' &&
				(*at)[1] == 'u')
			{
				*at += 2;
				c = 0x10000 + ((c - 0xd800) << 10) + (json_hex(at) - 0xdc00);
			}
			to += json_utf8(c, to);
			continue;
		}
		escape = **at ? memchr(escapes, **at, 5) : NULL;
		*to++ = escape ? escape[5] : **at;
		if (**at)
			(*at)++;
	}
	if (**at)
		(*at)++;
	*length = (int) (to - start);
	return start;
}

static Json *json_parse(const char **at);

/* What is in a list or an object; *at is behind its opening bracket. */
static void
json_members(const char **at, Json *json, char close)
{
	Json *member;
	int i = 0;

	for (json_blanks(at); **at && **at != close; json_blanks(at))
	{
		const char *key = NULL;
		int key_length = 0;

		if (**at == ',')
		{
			(*at)++;
			continue;
		}
		if (close == '}')
		{
			(*at)++;
			key = json_string(at, &key_length);
			json_blanks(at);
			*at += **at != '\0'; /* the colon */
		}
		member = json_parse(at);
		member->key = key;
		member->key_length = key_length;
		if (json->last)
			json->last->next = member;
		else
			json->first = member;
		json->last = member;
		json->value.count++;
	}
	if (**at)
		(*at)++;
	json->index = json_alloc((json->value.count + 1) * sizeof(Json *));
	for (member = json->first; member; member = member->next)
		json->index[i++] = member;
}

static Json *
json_scalar(const char **at, Json *json)
{
	size_t n = strcspn(*at, ",]} \t\r\n");
	const char *text = *at;

	*at += n > 0 || *text == '\0' ? n : 1;
	if (strchr("tf", *text))
	{
		json->value.kind = MJ_VALUE_BOOL;
		json->value.truthy = *text == 't';
	}
	else if (n > 0 && strspn(text, "0123456789.+-eE") == n)
	{
		json->value.kind = MJ_VALUE_NUMBER;
		json->value.truthy = strtod(text, NULL) != 0;
	}
	return json;
}

/* The value at *at, which it moves on.  The text is taken to be good JSON. */
static Json *
json_parse(const char **at)
{
	Json *json = json_alloc(sizeof(Json));

	json_blanks(at);
	json->raw = *at;
	json->value.node = json;
	if (**at == '{' || **at == '[')
	{
		bool is_list = *(*at)++ == '[';

		json->value.kind = is_list ? MJ_VALUE_LIST : MJ_VALUE_OBJECT;
		json_members(at, json, is_list ? ']' : '}');
		json->value.truthy = !is_list || json->value.count > 0;
	}
	else if (**at == '"')
	{
		(*at)++;
		json->value.kind = MJ_VALUE_STRING;
		json->value.text = json_string(at, &json->value.length);
		json->value.truthy = json->value.length > 0;
	}
	else
		json_scalar(at, json);
	json->raw_length = (int) (*at - json->raw);
	return json;
}

static Json *
json_read(const char *text)
{
	return json_parse(&text);
}

/* The last of a key counts, as in jsonb. */
static const Json *
json_get(const Json *object, const char *key, int length)
{
	const Json *found = NULL;

	for (const Json *json = object->first; json; json = json->next)
		if (json->key_length == length && memcmp(json->key, key, length) == 0)
			found = json;
	return found;
}

static bool
json_member(const MjValue *object, const char *key, int length, MjValue *value)
{
	const Json *found = json_get(object->node, key, length);

	if (found)
		*value = found->value;
	return found != NULL;
}

static void
json_item(const MjValue *list, int i, MjValue *value)
{
	*value = ((const Json *) list->node)->index[i]->value;
}

static void
json_append(const MjValue *value, StringInfo out)
{
	const Json *json = value->node;

	appendBinaryStringInfo(out, json->raw, json->raw_length);
}

static const MjValueSource json_source = { json_member, json_item,
										   json_append };

#endif /* MJ_MUSTACHE_JSON_H */
