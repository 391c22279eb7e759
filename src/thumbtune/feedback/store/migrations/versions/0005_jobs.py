"""Add the jobs of the studio, as `feedback/store/jobs.py` explains."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0005", "0004"

TIME = sa.DateTime(timezone=True)
LARGE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table, empty, and the index that lets a machine have one job at work."""
    op.create_table(
        "jobs",
        sa.Column("id", LARGE, primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("arguments", sa.String(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("host", sa.String()),
        sa.Column("pid", LARGE),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("sentence", sa.String()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        sa.Column("stop_asked_at", TIME),
        sa.CheckConstraint("kind IN ('generate', 'train', 'evaluate')", name="job_kind_is_known"),
        sa.CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'stopped')", name="job_state_is_known"),
        sqlite_autoincrement=True,
    )
    running = sa.text("state = 'running'")
    op.create_index("one_job_at_work", "jobs", ["host"], unique=True, sqlite_where=running, postgresql_where=running)
