"""The API, version 1: a router for each noun, registered here in one line each."""

from fastapi import APIRouter

from thumbtune.studio.api import counts, jobs, runs, session

PREFIX = "/api/v1"
ROUTERS: tuple[APIRouter, ...] = (
    session.router,
    counts.router,
    jobs.router,
    runs.router,
)
