"""The task API as the tutorials of FastAPI and SQLModel teach it: sync endpoints, a session for each request.

Served by `uvicorn fastapi_sqlmodel:app --workers N`.
"""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Annotated, Literal

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import BigInteger, DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, Session, SQLModel, create_engine, select

SECRET = os.environ["BETTER_AUTH_SECRET"]


def now() -> datetime:
    return datetime.now(UTC)


class TaskBase(SQLModel):
    """What a client says and the table keeps."""

    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    priority: str = "none"
    tags: list[str] = Field(default_factory=list, sa_type=JSONB)
    due_date: date | None = None


class Task(TaskBase, table=True):
    """A row; bench/peers/schema.sql has made the table."""

    __tablename__ = "tasks"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    user_id: str = Field(index=True)
    completed: bool = False
    completed_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    due_time: time | None = None
    time_zone: str | None = None
    due_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    recurrence: str | None = None
    repeat_from: str = "due"
    series_id: int | None = Field(default=None, sa_type=BigInteger)
    next_task_id: int | None = Field(default=None, sa_type=BigInteger)
    position: str = ""
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    deleted_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class TaskCreate(TaskBase):
    """A new task as it is sent; the narrower types are for the client only."""

    model_config = {"extra": "forbid"}

    priority: Literal["none", "low", "medium", "high"] = "none"
    tags: list[Annotated[str, Field(max_length=50)]] = Field(default_factory=list, max_length=20)


class TaskPublic(SQLModel):
    """A task as it is answered."""

    id: int
    user_id: str
    title: str
    description: str | None
    completed: bool
    completed_at: datetime | None
    priority: str
    tags: list[str]
    due_date: date | None
    due_time: time | None
    time_zone: str | None
    due_at: datetime | None
    recurrence: str | None
    repeat_from: str
    series_id: int | None
    next_task_id: int | None
    position: str
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1),
    pool_size=8,
    max_overflow=0,
    connect_args={"options": "-c timezone=UTC"},  # times are answered in it, wherever the server stands
)

bearer = HTTPBearer()


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


async def get_owner(user_id: str, credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
    """The user of the path, who must be the one of the token. No thread is needed: it only computes."""
    try:
        claims = jwt.decode(credentials.credentials, SECRET, algorithms=["HS256"], options={"verify_aud": False})
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"}) from error
    if claims.get("sub") != user_id:
        raise HTTPException(403, "Not your tasks")
    return user_id


SessionDep = Annotated[Session, Depends(get_session)]
OwnerDep = Annotated[str, Depends(get_owner)]

app = FastAPI()


def find(session: Session, owner: str, task_id: int) -> Task:
    task = session.exec(select(Task).where(Task.user_id == owner, Task.id == task_id)).first()
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


@app.get("/api/{user_id}/tasks", response_model=list[TaskPublic])
def read_tasks(session: SessionDep, owner: OwnerDep, limit: Annotated[int, Query(ge=1, le=1000)] = 1000):
    return session.exec(select(Task).where(Task.user_id == owner).order_by(Task.id.desc()).limit(limit)).all()


@app.get("/api/{user_id}/tasks/{task_id}", response_model=TaskPublic)
def read_task(session: SessionDep, owner: OwnerDep, task_id: int):
    return find(session, owner, task_id)


@app.post("/api/{user_id}/tasks", response_model=TaskPublic, status_code=201)
def create_task(session: SessionDep, owner: OwnerDep, task: TaskCreate):
    db_task = Task.model_validate(task, update={"user_id": owner})
    session.add(db_task)
    session.commit()
    session.refresh(db_task)
    return db_task


@app.patch("/api/{user_id}/tasks/{task_id}/complete", response_model=TaskPublic)
def complete_task(session: SessionDep, owner: OwnerDep, task_id: int):
    task = find(session, owner, task_id)
    task.completed = not task.completed
    task.updated_at = now()
    task.completed_at = task.updated_at if task.completed else None
    task.version += 1
    session.add(task)
    session.commit()
    session.refresh(task)
    return task
