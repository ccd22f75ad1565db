"""The task API as Flask tutorials make it: flask-jwt-extended, Flask-SQLAlchemy, marshmallow and jsonify.

Served by `gunicorn -w N --threads 8 flask_tutorial:app`.
"""

import os
from datetime import UTC, datetime

from flask import Flask, jsonify, request
from flask_jwt_extended import JWTManager, get_jwt_identity, jwt_required
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import JSONB

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
    "pool_size": 8,
    "max_overflow": 0,
    "connect_args": {"options": "-c timezone=UTC"},  # times are answered in it, wherever the server stands
}
app.config["JWT_SECRET_KEY"] = os.environ["BETTER_AUTH_SECRET"]
app.config["JWT_DECODE_ALGORITHMS"] = ["HS256"]

db = SQLAlchemy(app)
jwt = JWTManager(app)


class Task(db.Model):
    """A row; bench/peers/schema.sql has made the table."""

    __tablename__ = "tasks"

    id = db.Column(db.BigInteger, primary_key=True)
    user_id = db.Column(db.Text, nullable=False)
    title = db.Column(db.Text, nullable=False)
    description = db.Column(db.Text)
    completed = db.Column(db.Boolean, nullable=False, default=False)
    completed_at = db.Column(db.DateTime(timezone=True))
    priority = db.Column(db.Text, nullable=False, default="none")
    tags = db.Column(JSONB, nullable=False, default=list)
    due_date = db.Column(db.Date)
    due_time = db.Column(db.Time)
    time_zone = db.Column(db.Text)
    due_at = db.Column(db.DateTime(timezone=True))
    recurrence = db.Column(db.Text)
    repeat_from = db.Column(db.Text, nullable=False, default="due")
    series_id = db.Column(db.BigInteger)
    next_task_id = db.Column(db.BigInteger)
    position = db.Column(db.Text, nullable=False, default="")
    version = db.Column(db.Integer, nullable=False, default=1)
    created_at = db.Column(db.DateTime(timezone=True), nullable=False, server_default=func.now())
    updated_at = db.Column(db.DateTime(timezone=True), nullable=False, server_default=func.now())
    deleted_at = db.Column(db.DateTime(timezone=True))


class TaskSchema(Schema):
    """A task as it is sent and answered; an unknown member is refused, as marshmallow does."""

    id = fields.Integer(dump_only=True)
    user_id = fields.String(dump_only=True)
    title = fields.String(required=True, validate=validate.Length(min=1, max=200))
    description = fields.String(allow_none=True, validate=validate.Length(max=10_000))
    completed = fields.Boolean(dump_only=True)
    completed_at = fields.DateTime(dump_only=True)
    priority = fields.String(validate=validate.OneOf(["none", "low", "medium", "high"]))
    tags = fields.List(fields.String(validate=validate.Length(max=50)), validate=validate.Length(max=20))
    due_date = fields.Date(allow_none=True)
    due_time = fields.Time(dump_only=True)
    time_zone = fields.String(dump_only=True)
    due_at = fields.DateTime(dump_only=True)
    recurrence = fields.String(dump_only=True)
    repeat_from = fields.String(dump_only=True)
    series_id = fields.Integer(dump_only=True)
    next_task_id = fields.Integer(dump_only=True)
    position = fields.String(dump_only=True)
    version = fields.Integer(dump_only=True)
    created_at = fields.DateTime(dump_only=True)
    updated_at = fields.DateTime(dump_only=True)
    deleted_at = fields.DateTime(dump_only=True)


class ListQuerySchema(Schema):
    """The query string of the list."""

    limit = fields.Integer(load_default=1000, validate=validate.Range(min=1, max=1000))


task_schema, tasks_schema, list_query_schema = TaskSchema(), TaskSchema(many=True), ListQuerySchema()


@jwt.invalid_token_loader
def invalid_token(reason):
    """401, where flask-jwt-extended says 422."""
    return jsonify(msg=reason), 401


@app.errorhandler(ValidationError)
def invalid(error):
    return jsonify(errors=error.messages), 422


@app.errorhandler(404)
def not_found(error):
    return jsonify(msg=error.description), 404


def is_other(user_id):
    return get_jwt_identity() != user_id


def find(user_id, task_id):
    return db.first_or_404(db.select(Task).filter_by(user_id=user_id, id=task_id))


@app.get("/api/<user_id>/tasks")
@jwt_required()
def get_tasks(user_id):
    if is_other(user_id):
        return jsonify(msg="Not your tasks"), 403
    limit = list_query_schema.load(request.args)["limit"]
    tasks = db.session.scalars(db.select(Task).filter_by(user_id=user_id).order_by(Task.id.desc()).limit(limit))
    return jsonify(tasks_schema.dump(tasks))


@app.get("/api/<user_id>/tasks/<int:task_id>")
@jwt_required()
def get_task(user_id, task_id):
    if is_other(user_id):
        return jsonify(msg="Not your tasks"), 403
    return jsonify(task_schema.dump(find(user_id, task_id)))


@app.post("/api/<user_id>/tasks")
@jwt_required()
def create_task(user_id):
    if is_other(user_id):
        return jsonify(msg="Not your tasks"), 403
    task = Task(user_id=user_id, **task_schema.load(request.get_json()))
    db.session.add(task)
    db.session.commit()
    db.session.refresh(task)
    return jsonify(task_schema.dump(task)), 201


@app.patch("/api/<user_id>/tasks/<int:task_id>/complete")
@jwt_required()
def complete_task(user_id, task_id):
    if is_other(user_id):
        return jsonify(msg="Not your tasks"), 403
    task = find(user_id, task_id)
    task.completed = not task.completed
    task.updated_at = datetime.now(UTC)
    task.completed_at = task.updated_at if task.completed else None
    task.version += 1
    db.session.commit()
    db.session.refresh(task)
    return jsonify(task_schema.dump(task))
