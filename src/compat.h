/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the server's major versions, all of them.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_COMPAT_H
#define MJ_COMPAT_H

#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"

#if PG_VERSION_NUM < 150000
#error "motionify_jobs needs PostgreSQL 15 or newer"
#endif

/* 17: PGPROCs are known by number, no longer by a field of their own. */
#if PG_VERSION_NUM >= 170000
#define MJ_MY_PROCNO ((int) MyProcNumber)
#else
#define MJ_MY_PROCNO (MyProc->pgprocno)
#endif

/* 16: ownership checks go through one function. */
#if PG_VERSION_NUM >= 160000
#define MJ_OWNS_DATABASE(oid, role) \
	object_ownercheck(DatabaseRelationId, (oid), (role))
#define MJ_OWNS_EXTENSION(oid, role) \
	object_ownercheck(ExtensionRelationId, (oid), (role))
#else
#define MJ_OWNS_DATABASE(oid, role) pg_database_ownercheck((oid), (role))
#define MJ_OWNS_EXTENSION(oid, role) pg_extension_ownercheck((oid), (role))
#endif

/* 16: what a GUC check hook allocates lies in a context of its own. */
#if PG_VERSION_NUM >= 160000
#define MJ_GUC_MALLOC(size) guc_malloc(LOG, (size))
#else
#define MJ_GUC_MALLOC(size) malloc(size)
#endif

/* 18: the flag run_once is gone. */
#if PG_VERSION_NUM >= 180000
#define MJ_PORTAL_RUN(portal, top_level, dest, completion) \
	((void) PortalRun((portal), FETCH_ALL, (top_level), (dest), (dest), \
					  (completion)))
#else
#define MJ_PORTAL_RUN(portal, top_level, dest, completion) \
	((void) PortalRun((portal), FETCH_ALL, (top_level), true, (dest), (dest), \
					  (completion)))
#endif

/* 17: a wait event set belongs to a resource owner, not a memory context. */
#if PG_VERSION_NUM >= 170000
#define MJ_CREATE_WAIT_EVENT_SET(nevents) CreateWaitEventSet(NULL, (nevents))
#else
#define MJ_CREATE_WAIT_EVENT_SET(nevents) \
	CreateWaitEventSet(CurrentMemoryContext, (nevents))
#endif

/* 16: memberships differ, and only those with SET let one act as the role. */
#if PG_VERSION_NUM >= 160000
#define MJ_ACT_AS "SET"
#else
#define MJ_ACT_AS "MEMBER"
#endif

/* 16: JSON callbacks return a result; 17: the lexer's struct comes first. */
#if PG_VERSION_NUM >= 160000
#define MJ_JSON_RESULT JsonParseErrorType
#define MJ_JSON_RETURN return JSON_SUCCESS
#else
#define MJ_JSON_RESULT void
#define MJ_JSON_RETURN return
#endif
#if PG_VERSION_NUM >= 170000
#define MJ_JSON_LEXER(text) \
	makeJsonLexContextCstringLen(NULL, (text), strlen(text), PG_UTF8, true)
#else
#define MJ_JSON_LEXER(text) \
	makeJsonLexContextCstringLen((text), strlen(text), PG_UTF8, true)
#endif

/* 17: replication slots of a session may be told apart by who made them. */
#if PG_VERSION_NUM >= 170000
#define MJ_DROP_TEMPORARY_SLOTS() ReplicationSlotCleanup(false)
#else
#define MJ_DROP_TEMPORARY_SLOTS() ReplicationSlotCleanup()
#endif

/* 16: a recheck may be told of which result relations it is. */
#if PG_VERSION_NUM >= 160000
#define MJ_EVAL_PLAN_QUAL_INIT(epq, estate) \
	EvalPlanQualInit((epq), (estate), NULL, NIL, -1, NIL)
#else
#define MJ_EVAL_PLAN_QUAL_INIT(epq, estate) \
	EvalPlanQualInit((epq), (estate), NULL, NIL, -1)
#endif

/* the index of a table's primary key */
#if PG_VERSION_NUM >= 180000
#define MJ_PRIMARY_KEY_INDEX(relation) \
	RelationGetPrimaryKeyIndex(relation, false)
#else
#define MJ_PRIMARY_KEY_INDEX(relation) RelationGetPrimaryKeyIndex(relation)
#endif

#endif /* MJ_COMPAT_H */
