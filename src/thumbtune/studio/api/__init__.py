"""The API, version 1: a router for each noun, registered here in one line each."""

from fastapi import APIRouter

from thumbtune.studio.api import counts, session

PREFIX = "/api/v1"
ROUTERS: tuple[APIRouter, ...] = (
    session.router,
    counts.router,
)
