/*-------------------------------------------------------------------------
 *
 * json_value.h
 *	  jsonb as the data of a template.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_JSON_VALUE_H
#define MJ_JSON_VALUE_H

#include "utils/jsonb.h"

#include "mustache.h"

extern const MjValueSource mj_json_source;

extern MjValue mj_json_value(Jsonb *json);

#endif /* MJ_JSON_VALUE_H */
