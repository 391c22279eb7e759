"""Add images, and votes that are only ever added."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None

SQLITE = (
    "CREATE TRIGGER votes_refuse_{name} BEFORE {verb} ON votes BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END"
)
POSTGRESQL = (
    "CREATE FUNCTION refuse_vote_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'votes are append-only'; END $$",
    "CREATE TRIGGER votes_refuse_update BEFORE UPDATE ON votes FOR EACH ROW EXECUTE FUNCTION refuse_vote_change()",
    "CREATE TRIGGER votes_refuse_delete BEFORE DELETE ON votes FOR EACH ROW EXECUTE FUNCTION refuse_vote_change()",
)


def upgrade() -> None:
    """Create both tables, and triggers that refuse to change or remove a vote."""
    large = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "pictures",
        sa.Column("id", large, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("prompt", sa.String(), nullable=False),
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
        sa.Column("model", sa.String()),
        sa.Column("source", sa.String()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("sha256", "prompt", name="uq_pictures_sha256"),
    )
    op.create_table(
        "votes",
        sa.Column("sequence", large, primary_key=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("picture_id", large, sa.ForeignKey("pictures.id"), nullable=False),
        sa.Column("rater", sa.String(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("undoes", sa.String(36), sa.ForeignKey("votes.id")),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("grade", sa.Float()),
        sa.Column("reason", sa.String()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('like', 'dislike', 'skip', 'undo')", name="kind_is_known"),
        sa.CheckConstraint("(kind = 'undo') = (undoes IS NOT NULL)", name="undo_names_a_vote"),
        sa.CheckConstraint("weight >= 0", name="weight_is_not_negative"),
        sa.CheckConstraint("grade IS NULL OR (grade >= 0 AND grade <= 1)", name="grade_is_a_fraction"),
        sqlite_autoincrement=True,
    )
    op.create_index("votes_by_picture_and_rater", "votes", ["picture_id", "rater", "sequence"])
    op.create_index("ix_votes_undoes", "votes", ["undoes"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(SQLITE.format(name=verb.lower(), verb=verb))
    else:
        for statement in POSTGRESQL:
            op.execute(statement)
