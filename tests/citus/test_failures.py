"""A Citus cluster with a failed worker, and one whose shards are moved, under load: no acknowledged write is lost."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from flask import Flask
from flask.testing import FlaskClient

from tests.auth.issuer import logout_token
from tests.citus.cluster import Cluster
from tests.conftest import Person, token
from tests.waiting import until

WRITERS, WRITES_AFTER = 8, 20


def test_a_failed_worker_affects_its_own_users_only(app: Flask, cluster: Cluster):
    failed, other = cluster.workers[:2]
    person = {node: Person(FlaskClient(app), cluster.user_on(node)) for node in (failed, other)}
    sessions = {node: token(each.id, sid="s-1") for node, each in person.items()}
    for each in person.values():
        each.add()
    with cluster.without(failed):
        for _ in range(3):
            assert person[other].titles() == ["Buy milk"]
            assert person[other].patch("/1/complete").status_code == 200
            # The log of sign-outs is read with each token of a session.
            signed_in = Person(FlaskClient(app), person[other].id, sessions[other])
            assert signed_in.get().status_code == 200
            for response in (person[failed].get(), person[failed].post(json={"title": "T"})):
                assert response.status_code == 503
                assert response.headers["Retry-After"] == "1"
            assert FlaskClient(app).get("/readyz").status_code == 200, "the users of the other nodes need the service"
        data = {"logout_token": logout_token(person[other].id, "s-2")}
        assert FlaskClient(app).post("/backchannel-logout", data=data).status_code == 503, "the issuer repeats it"
    until(lambda: person[failed].get().status_code == 200)
    assert person[failed].titles() == ["Buy milk"]
    assert FlaskClient(app).post("/backchannel-logout", data=data).status_code == 200


def test_the_service_is_not_ready_without_any_worker(app: Flask, cluster: Cluster):
    with cluster.without(cluster.workers[0]), cluster.without(cluster.workers[1]):
        assert FlaskClient(app).get("/readyz").status_code == 503
    until(lambda: FlaskClient(app).get("/readyz").status_code == 200)


def test_a_shard_that_moves_under_load_loses_no_write(app: Flask, cluster: Cluster):
    source, target = cluster.workers[:2]
    user = cluster.user_on(source)
    moved, statuses, created = threading.Event(), Counter[int](), Counter[str]()

    def write(number: int) -> None:
        mine = Person(FlaskClient(app), f"{user}" if number % 2 else cluster.user_on(source, but=[user]))
        after = 0
        while after < WRITES_AFTER:
            after += moved.is_set()
            response = mine.post(json={"title": f"Writer {number}"})
            statuses[response.status_code] += 1
            created[mine.id] += response.status_code == 201

    before = {name: len(Person(FlaskClient(app), name).get().get_json()) for name in (user,)}
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, number) for number in range(WRITERS)]
        until(lambda: statuses[201] > WRITERS)
        ((shard,),) = cluster.sql(
            "SELECT get_shard_id_for_distribution_column('users', CAST(:user AS text))", user=user
        )
        ends = (source.host, source.port, target.host, target.port)
        move = "SELECT citus_move_shard_placement(:shard, :from, :from_port, :to, :to_port, 'force_logical')"
        try:
            cluster.sql(move, shard=shard, **dict(zip(("from", "from_port", "to", "to_port"), ends, strict=True)))
        finally:
            moved.set()
        for each in writing:
            each.result()
    assert cluster.worker_of(user) == target
    assert set(statuses) <= {201, 503}
    print(f"shard moved under {WRITERS} writers: {dict(statuses)}")
    for name, count in created.items():
        listed = Person(FlaskClient(app), name).get().get_json()
        assert len(listed) == count + before.get(name, 0), "an acknowledged write is lost, or one was made twice"
