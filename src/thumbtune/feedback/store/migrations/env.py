"""Run the upgrades, on the connection and in the transaction of `schema.py`; Alembic runs this file."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
