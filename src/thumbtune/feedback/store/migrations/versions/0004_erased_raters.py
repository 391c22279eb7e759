"""Add the keyed hashes of erased raters, as `feedback/store/erased_raters.py` explains."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0004", "0003"


def upgrade() -> None:
    """Add the tables, empty: nobody knows who was erased before."""
    op.create_table("erased", sa.Column("digest", sa.String(64), primary_key=True))
    op.create_table(
        "erasure_key",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.CheckConstraint("id = 1", name="there_is_one_key"),
    )
