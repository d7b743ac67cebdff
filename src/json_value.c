/*-------------------------------------------------------------------------
 *
 * json_value.c
 *	  jsonb as the data of a template.
 *
 * What is truthy is so in JavaScript: null, false, 0 and "" are not; an object
 * is, and a list unless it is empty, which is how the specification of Mustache
 * has it.  Values point into the jsonb, which must stay.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "json_value.h"

/* Is a number zero, however it is written? */
static bool
is_zero(Numeric number)
{
	static Datum zero = (Datum) 0;

	if (zero == (Datum) 0)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		zero = NumericGetDatum(int64_to_numeric(0));
		MemoryContextSwitchTo(old);
	}
	return DatumGetBool(
		DirectFunctionCall2(numeric_eq, NumericGetDatum(number), zero));
}

static void
take_container(JsonbContainer *container, MjValue *value)
{
	bool is_list = JsonContainerIsArray(container);

	value->kind = is_list ? MJ_VALUE_LIST : MJ_VALUE_OBJECT;
	value->node = container;
	value->count = (int) JsonContainerSize(container);
	value->truthy = !is_list || value->count > 0;
}

static void
take_value(const JsonbValue *from, MjValue *value)
{
	memset(value, 0, sizeof(MjValue));
	switch (from->type)
	{
		case jbvBool:
			value->kind = MJ_VALUE_BOOL;
			value->truthy = from->val.boolean;
			break;
		case jbvString:
			value->kind = MJ_VALUE_STRING;
			value->text = from->val.string.val;
			value->length = from->val.string.len;
			value->truthy = value->length > 0;
			break;
		case jbvNumeric:
			value->kind = MJ_VALUE_NUMBER;
			value->node = from->val.numeric;
			value->truthy = !is_zero(from->val.numeric);
			break;
		case jbvBinary:
			take_container(from->val.binary.data, value);
			break;
		default: /* null; nothing else is in stored jsonb */
			break;
	}
}

static void
json_item(const MjValue *list, int i, MjValue *value)
{
	JsonbValue *item =
		getIthJsonbValueFromContainer((JsonbContainer *) list->node, i);

	take_value(item, value);
	pfree(item);
}

static bool
json_member(const MjValue *object, const char *key, int length, MjValue *value)
{
	JsonbValue found;

	CHECK_FOR_INTERRUPTS();
	if (getKeyJsonValueFromContainer((JsonbContainer *) object->node, key,
									 length, &found) == NULL)
		return false;
	take_value(&found, value);
	return true;
}

/* A number as jsonb writes it; a list or an object as JSON. */
static void
json_append(const MjValue *value, StringInfo out)
{
	char *number;

	if (value->kind != MJ_VALUE_NUMBER)
	{
		(void) JsonbToCString(out, (JsonbContainer *) value->node,
							  JsonContainerSize(
								  (JsonbContainer *) value->node));
		return;
	}
	number = DatumGetCString(
		DirectFunctionCall1(numeric_out, PointerGetDatum(value->node)));
	appendStringInfoString(out, number);
	pfree(number);
}

const MjValueSource mj_json_source = { json_member, json_item, json_append };

/* A whole jsonb as a value; NULL is null. */
MjValue
mj_json_value(Jsonb *json)
{
	MjValue value = { 0 };

	if (json != NULL && JB_ROOT_IS_SCALAR(json))
	{
		MjValue root = { 0 };

		take_container(&json->root, &root);
		json_item(&root, 0, &value);
	}
	else if (json != NULL)
		take_container(&json->root, &value);
	return value;
}
