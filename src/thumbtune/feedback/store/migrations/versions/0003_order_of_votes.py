"""Add the order of votes where it is not that of their times, as `feedback/store/order.py` explains."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"

SQLITE = (
    "CREATE TRIGGER votes_refuse_update BEFORE UPDATE ON votes BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END"
)
POSTGRESQL = (
    "CREATE TRIGGER votes_refuse_update BEFORE UPDATE ON votes FOR EACH ROW EXECUTE FUNCTION refuse_vote_change()"
)


def upgrade() -> None:
    """Add the column; votes keep the order that they had, and those from the future lie at today's end of it."""
    sqlite, now = op.get_bind().dialect.name == "sqlite", datetime.now(UTC)
    op.add_column("votes", sa.Column("ordered_at", sa.DateTime(timezone=True)))
    op.execute("DROP TRIGGER votes_refuse_update" + ("" if sqlite else " ON votes"))
    votes = sa.table(
        "votes",
        sa.column("created_at", sa.DateTime(timezone=True)),
        sa.column("ordered_at", sa.DateTime(timezone=True)),
    )
    op.execute(sa.update(votes).where(votes.c.created_at > now).values(ordered_at=now))
    op.execute(SQLITE if sqlite else POSTGRESQL)
