"""The jobs of one running studio: its queue, the thread that works on it, and where commands run."""

from collections.abc import Iterator
from contextlib import contextmanager

from thumbtune.errors import UsageError
from thumbtune.studio.jobs.commands import Place
from thumbtune.studio.jobs.queue import Queue, Worker
from thumbtune.studio.site import Site

_WORKERS: dict[int, Worker] = {}  # of studios in this process, by their site


def place_of(site: Site) -> Place:
    """Return where commands of a studio run.

    Raises:
        UsageError: the studio has no root.
    """
    if site.root is None:
        raise UsageError(
            "This studio has no folder to work in; start it with --root FOLDER to generate and train.",
            code="job-no-root",
        )
    return Place(site.root, site.likes)


def queue_of(site: Site) -> Queue:
    """Return the queue of a studio.

    Raises:
        UsageError: the studio has no root.
    """
    return Queue(site.store, site.folder, place_of(site))


@contextmanager
def working(site: Site) -> Iterator[None]:
    """Let jobs run inside the `with` block; those that run at its end go on by themselves."""
    if site.root is None:
        yield
        return
    worker = _WORKERS[id(site)] = Worker(queue_of(site))
    worker.start()
    try:
        yield
    finally:
        del _WORKERS[id(site)]
        worker.end()


def wake(site: Site) -> None:
    """Let the queue look at its jobs at once."""
    worker = _WORKERS.get(id(site))
    if worker is not None:
        worker.wake()
