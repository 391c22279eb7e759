"""Add two kinds of jobs: to compare the checkpoints of a run, and two runs."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0007", "0006"

KINDS = "kind IN ('generate', 'train', 'evaluate', 'round', 'merge', 'export', 'compare', 'duel')"


def upgrade() -> None:
    """Add the new kinds to the check of the table of jobs."""
    op.drop_index("one_job_at_work", "jobs")
    with op.batch_alter_table("jobs", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.drop_constraint("job_kind_is_known", type_="check")
        table.create_check_constraint("job_kind_is_known", KINDS)
    running = sa.text("state = 'running'")
    op.create_index("one_job_at_work", "jobs", ["host"], unique=True, sqlite_where=running, postgresql_where=running)
