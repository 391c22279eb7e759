"""Add a key and a location for images, pairs of votes, and a way to erase a rater from append-only votes."""

import sqlalchemy as sa
from alembic import op

from thumbtune.files import sha256

revision, down_revision = "0002", "0001"

AT_ONCE = 1000
SQLITE = (
    "CREATE TRIGGER votes_refuse_delete BEFORE DELETE ON votes "
    "WHEN NOT EXISTS (SELECT 1 FROM erasing WHERE erasing.rater = OLD.rater) "
    "BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END"
)
POSTGRESQL = (
    "CREATE FUNCTION refuse_vote_removal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF NOT EXISTS (SELECT 1 FROM erasing WHERE erasing.rater = OLD.rater) THEN "
    "RAISE EXCEPTION 'votes are append-only'; END IF; RETURN OLD; END $$",
    "CREATE TRIGGER votes_refuse_delete BEFORE DELETE ON votes FOR EACH ROW EXECUTE FUNCTION refuse_vote_removal()",
)


def upgrade() -> None:
    """Add the columns, tables and triggers.

    The key is a hash of image and prompt, since a unique index in PostgreSQL takes only prompts up to some 2,700 bytes.
    """
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "place",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("images", sa.String(), nullable=False),
        sa.CheckConstraint("id = 1", name="there_is_one_place"),
    )
    op.create_table("erasing", sa.Column("rater", sa.String(), primary_key=True))
    op.add_column("votes", sa.Column("pair", sa.String()))
    op.execute("DROP TRIGGER votes_refuse_delete" + ("" if sqlite else " ON votes"))
    for statement in (SQLITE,) if sqlite else POSTGRESQL:
        op.execute(statement)

    op.add_column("pictures", sa.Column("key", sa.String(64)))
    _fill_keys(op.get_bind())
    naming = {"uq": "uq_%(table_name)s_%(column_0_name)s"}  # the first version did not name the constraint
    with op.batch_alter_table("pictures", naming_convention=naming) as table:
        table.alter_column("key", existing_type=sa.String(64), nullable=False)
        table.drop_constraint("uq_pictures_sha256", type_="unique")
        table.create_unique_constraint("uq_pictures_key", ["key"])


def _fill_keys(connection: sa.Connection) -> None:
    """Fill in the key of all rows, as `votes.key_of` does for new ones."""
    pictures = sa.table(
        "pictures", sa.column("id"), sa.column("sha256"), sa.column("prompt"), sa.column("key", sa.String)
    )
    last = 0
    while rows := connection.execute(
        sa.select(pictures.c.id, pictures.c.sha256, pictures.c.prompt)
        .where(pictures.c.id > last)
        .order_by(pictures.c.id)
        .limit(AT_ONCE)
    ).all():
        connection.execute(
            sa.update(pictures).where(pictures.c.id == sa.bindparam("row")),
            [{"row": row.id, "key": sha256(f"{row.sha256}\n{row.prompt}".encode())} for row in rows],
        )
        last = rows[-1].id
