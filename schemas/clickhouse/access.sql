-- Who may do what in ClickHouse: two roles, to be given to users of your own.
-- `{database}` stands for the database's name. Run by an administrator; running it again changes nothing.
--
--   millstream_writer    inserts and reads, and deletes rows of customers who were erased (it looks
--                        whether such a deletion is under way); makes and changes nothing. What `millstream
--                        run` connects as. (`millstream migrate` connects as an administrator.)
--   millstream_analyst   reads the database's tables and views, within limits; no files, no URLs, no
--                        other servers, no settings of its own.

CREATE SETTINGS PROFILE IF NOT EXISTS millstream_analyst_limits SETTINGS
    readonly = 1,
    max_execution_time = 60,
    max_memory_usage = 1073741824,
    max_rows_to_read = 1000000000,
    max_result_rows = 1000000,
    result_overflow_mode = 'throw',
    max_concurrent_queries_for_user = 8;

CREATE ROLE IF NOT EXISTS millstream_writer;
GRANT SELECT, INSERT, ALTER DELETE ON {database}.* TO millstream_writer;
GRANT SELECT ON system.mutations TO millstream_writer;

CREATE ROLE IF NOT EXISTS millstream_analyst SETTINGS PROFILE millstream_analyst_limits;
GRANT SELECT ON {database}.* TO millstream_analyst;
