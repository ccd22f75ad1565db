"""The database: engine, unit of work, prepared statements, pipeline, pool, row-level security."""
