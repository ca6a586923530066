"""Jobs in parallel: begun in order, waited for, and given up together."""

from __future__ import annotations

import threading

import pytest

from modelcar.registry.cancel import Cancelled, CancelScope, JobGroup, current_scope, run_parallel


class Failure(Exception):
    pass


def fail() -> None:
    raise Failure


def work_until_cancelled(begun: threading.Event) -> None:
    scope = current_scope()
    assert scope is not None
    begun.set()
    scope.wait(30)


def test_leaving_the_block_waits_for_all() -> None:
    done: list[int] = []
    with JobGroup(2) as group:
        for i in range(20):
            group.submit(lambda i=i: done.append(i))  # type: ignore[misc]  # mypy takes no lambda with a default
    assert sorted(done) == list(range(20))


def test_one_worker_keeps_the_order() -> None:
    done: list[int] = []
    run_parallel([lambda i=i: done.append(i) for i in range(20)], 1)  # type: ignore[misc]  # mypy takes no lambda with a default
    assert done == list(range(20))


def test_a_failed_job_cancels_those_that_run_and_drops_those_that_wait() -> None:
    begun, dropped = threading.Event(), threading.Event()

    def block() -> None:
        with JobGroup(2) as group:
            group.submit(lambda: work_until_cancelled(begun))
            assert begun.wait(10)
            group.submit(fail)
            group.submit(lambda: work_until_cancelled(threading.Event()))
            group.submit(dropped.set)

    with pytest.raises(Failure):
        block()
    assert not dropped.is_set()


def test_those_that_are_cancelled_can_tell_why() -> None:
    begun, causes = threading.Event(), list[BaseException | None]()

    def work() -> None:
        try:
            work_until_cancelled(begun)
        finally:
            scope = current_scope()
            causes.append(scope.cause if scope is not None else None)

    def block() -> None:
        with JobGroup(2) as group:
            group.submit(work)
            assert begun.wait(10)
            group.submit(fail)

    with pytest.raises(Failure):
        block()
    assert [type(cause) for cause in causes] == [Failure]


def test_a_failed_block_cancels_the_jobs() -> None:
    begun = threading.Event()

    def block() -> None:
        with JobGroup(1) as group:
            group.submit(lambda: work_until_cancelled(begun))
            assert begun.wait(10)
            raise Failure

    with pytest.raises(Failure):
        block()


def test_nothing_is_prepared_for_a_group_that_failed() -> None:
    failed = threading.Event()

    def fail_and_say() -> None:
        failed.set()
        raise Failure

    def block() -> None:
        with JobGroup(1) as group:
            group.submit(fail_and_say)
            assert failed.wait(10)
            for _ in range(1000):  # the failure is seen once the job has ended
                group.submit(lambda: None)
                threading.Event().wait(0.01)
            pytest.fail("nobody said that the first job had failed")

    with pytest.raises(Failure):
        block()


def test_a_scope_that_is_cancelled_cancels_the_groups_in_it() -> None:
    outer, begun, given_up = CancelScope(), threading.Event(), threading.Event()

    def body() -> None:
        with outer.active():
            try:
                run_parallel([lambda: work_until_cancelled(begun)], 1)
            except Cancelled:
                given_up.set()

    thread = threading.Thread(target=body)
    thread.start()
    assert begun.wait(10)
    outer.cancel()
    thread.join(10)
    assert given_up.is_set()


def test_a_group_in_a_cancelled_scope_does_not_begin() -> None:
    outer = CancelScope()
    with outer.active():
        outer.cancel()
        with pytest.raises(Cancelled):
            JobGroup(1)
