"""What Alembic runs: the steps, on the connection and in the transaction that `schema.py` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
