"""Add how uncertain a run is of an image, and three kinds of jobs."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0006", "0005"

TIME = sa.DateTime(timezone=True)
LARGE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KINDS = "kind IN ('generate', 'train', 'evaluate', 'round', 'merge', 'export')"


def upgrade() -> None:
    """Add the table, empty, and the new kinds to the check of the table of jobs."""
    op.create_table(
        "uncertainty",
        sa.Column("picture_id", LARGE, sa.ForeignKey("pictures.id"), primary_key=True, autoincrement=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.drop_index("one_job_at_work", "jobs")
    with op.batch_alter_table("jobs", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.drop_constraint("job_kind_is_known", type_="check")
        table.create_check_constraint("job_kind_is_known", KINDS)
    running = sa.text("state = 'running'")
    op.create_index("one_job_at_work", "jobs", ["host"], unique=True, sqlite_where=running, postgresql_where=running)
