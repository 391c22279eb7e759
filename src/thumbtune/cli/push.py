"""The commands that upload to the Hugging Face hub: a run, and likes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from thumbtune.cli.progress import bar
from thumbtune.cli.terminal import quieten, say

Repo = Annotated[
    str, typer.Argument(metavar="USER/NAME", help="The repository on the hub; it is made if it is missing.")
]
Public = Annotated[bool, typer.Option("--public", help="Let everybody read it. Default: a private repository.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be uploaded, and upload nothing.")]


def push(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    repo: Repo,
    public: Public = False,
    dry_run: DryRun = False,
) -> None:
    """Upload the tuned weights of a run and its model card to the Hugging Face hub."""
    quieten()
    from thumbtune.runs.push import gathered
    from thumbtune.uploads import check_access, check_name, upload

    check_name(repo)
    if not dry_run:
        check_access(repo, "model", public)
    with gathered(run, repo, public) as asked:
        for line in asked.lines():
            say(line)
        if not dry_run:
            say(f"The model is at {upload(asked)}")


def push_likes(
    store: Annotated[str, typer.Argument(help="The store of likes: a folder, or postgresql://user@host/database.")],
    repo: Repo,
    *,
    public: Public = False,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Push one label for each image, by majority, unanimous, ... Default: a row for each rater's latest "
            "vote on an image."
        ),
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Push the names of raters instead of pseudonyms.")] = False,
    with_text: Annotated[
        bool,
        typer.Option("--with-text", help="Push reasons, sources, paths and the metadata inside images too."),
    ] = False,
    license: Annotated[str | None, typer.Option(help="The licence of the data set, such as cc0-1.0.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Upload each rater's latest like or dislike on an image, with the image, to a data set on the Hugging Face hub.

    Raters get pseudonyms. Reasons, sources, paths and the metadata inside images are left out, prompts stay.
    """
    quieten()
    from thumbtune.feedback.exporters.push import gather
    from thumbtune.feedback.store.store import Store
    from thumbtune.uploads import Upload, check_access, check_name, upload

    check_name(repo)
    if not dry_run:
        check_access(repo, "dataset", public)
    with Store.open(store, create=False) as opened, TemporaryDirectory(prefix="thumbtune-push-") as place:
        folder = Path(place) / "data-set"
        asked = Upload(folder=folder, repo=repo, kind="dataset", public=public, title="Upload likes with Thumbtune")
        options = {"policy": policy, "names": names, "with_text": with_text, "license": license}
        gather(opened, folder, repo, progress=lambda rows: bar(rows, "Exporting"), **options)
        for line in asked.lines():
            say(line)
        if not dry_run:
            say(f"The data set is at {upload(asked)}")
