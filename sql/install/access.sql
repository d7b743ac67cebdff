/*
 * access.sql -- levels of rights, and whose rows a view shows
 *
 * A level is a set of plain GRANTs, made by jobs.grant_usage().  EXECUTE on
 * its marker function tells that a role has it, where a right goes further
 * than calling a function.
 */
CREATE FUNCTION jobs.viewer_level() RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'SELECT true';
COMMENT ON FUNCTION jobs.viewer_level() IS 'marker: who may execute it has level viewer, and sees all jobs and their history';

CREATE FUNCTION jobs.user_level() RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'SELECT true';
COMMENT ON FUNCTION jobs.user_level() IS 'marker: who may execute it has level user, and makes jobs that run as roles that it is a member of';

CREATE FUNCTION jobs.operator_level() RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'SELECT true';
COMMENT ON FUNCTION jobs.operator_level() IS 'marker: who may execute it has level operator, and pauses, resumes, runs and cancels any job';

CREATE FUNCTION jobs.mailer_level() RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'SELECT true';
COMMENT ON FUNCTION jobs.mailer_level() IS 'marker: who may execute it has level mailer, and sends mail';

CREATE FUNCTION jobs.grant_usage(role name, level text) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_grant_usage';
COMMENT ON FUNCTION jobs.grant_usage(name, text) IS 'grants a level: viewer, user, operator or mailer';

CREATE FUNCTION jobs.revoke_usage(role name, level text) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_revoke_usage';
COMMENT ON FUNCTION jobs.revoke_usage(name, text) IS 'revokes a level; what the role''s other levels need stays';

CREATE FUNCTION jobs.sees_all() RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_sees_all';
COMMENT ON FUNCTION jobs.sees_all() IS 'whether the current user sees the jobs and history of all roles';

CREATE FUNCTION jobs.sees_role(role name, role_oid oid) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_sees_role';
COMMENT ON FUNCTION jobs.sees_role(name, oid) IS 'whether the current user sees all of what runs as a role; the oid counts, if it is given';

CREATE FUNCTION jobs.operates_role(role name, role_oid oid) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_operates_role';
COMMENT ON FUNCTION jobs.operates_role(name, oid) IS 'whether the current user may pause, resume, run and cancel what runs as a role; the oid counts, if it is given';

CREATE FUNCTION jobs.manages_role(role name, role_oid oid) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_manages_role';
COMMENT ON FUNCTION jobs.manages_role(name, oid) IS 'whether the current user may change and end what runs as a role; the oid counts, if it is given';

CREATE FUNCTION jobs.clock() RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_api_clock';
COMMENT ON FUNCTION jobs.clock() IS 'the time of day that schedules go by';
