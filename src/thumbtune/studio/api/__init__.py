"""The API, version 1: a router for each noun, registered here in one line each."""

from fastapi import APIRouter

from thumbtune.studio.api import (
    blind,
    comparison,
    counts,
    duels,
    exports,
    grids,
    images,
    imports,
    jobs,
    queue,
    rounds,
    runs,
    session,
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
    rounds.router,
    exports.router,
    jobs.router,
    runs.router,
    comparison.router,
    grids.router,
    duels.router,
    blind.router,
)
