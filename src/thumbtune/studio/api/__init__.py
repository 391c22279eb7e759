"""The API, version 1: a router for each noun, registered here in one line each."""

from fastapi import APIRouter

from thumbtune.studio.api import (
    blind,
    comparison,
    counts,
    duels,
    exports,
    generations,
    grids,
    home,
    images,
    imports,
    jobs,
    queue,
    raters,
    rounds,
    runs,
    session,
    settings,
    trainings,
    uploads,
    votes,
)

PREFIX = "/api/v1"
ROUTERS: tuple[APIRouter, ...] = (
    session.router,
    counts.router,
    queue.router,
    votes.router,
    images.router,
    imports.router,
    uploads.router,
    rounds.router,
    exports.router,
    jobs.router,
    generations.router,
    trainings.router,
    runs.router,
    comparison.router,
    grids.router,
    duels.router,
    blind.router,
    home.router,
    raters.router,
    settings.router,
)
