/*
 * doctor.sql -- looking after the installation
 */
CREATE FUNCTION jobs.doctor()
RETURNS TABLE (check_name text, ok boolean, detail text, hint text)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_doctor';
COMMENT ON FUNCTION jobs.doctor() IS 'checks whatever keeps jobs from running and mail from being sent; one row for each thing that is wrong';

CREATE FUNCTION jobs.reload() RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_reload';
COMMENT ON FUNCTION jobs.reload() IS 'has this database''s workers replaced when they are idle, so that they read ALTER DATABASE ... SET afresh';

CREATE FUNCTION jobs.adopt() RETURNS integer
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_adopt';
COMMENT ON FUNCTION jobs.adopt() IS 'makes all jobs this database''s own, as after a copy or restore, due from now on; returns how many were not';
