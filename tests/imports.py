"""Tasks of an import that are the stored ones: with the user id, the number and the creation time of those."""

from __future__ import annotations

from typing import Any

from tests.conftest import Person

CREATED = "2026-01-01T00:00:00.000Z"
"""The creation time of a task that is not stored."""


def own(person: Person, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
    """Return tasks of one's own file: those with an id have an owner and `CREATED`, unless they have others."""
    return [{"user_id": person.id, "created_at": CREATED, **task} if "id" in task else task for task in tasks]


def as_stored(person: Person, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
    """Return tasks with the identity of the stored ones with the same ids; others as `own` does."""
    stored = {task["id"]: task for task in person.data("GET", "/export").get_json(force=True)["tasks"]}
    return own(
        person,
        *(
            {"created_at": stored.get(task.get("id"), {}).get("created_at", CREATED), **task} if "id" in task else task
            for task in tasks
        ),
    )
