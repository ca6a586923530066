"""What becomes of questions when the worker that took them dies: no answer ever meets another question."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from modelcar.mounts.erofs.questions import Question, Questions
from modelcar.mounts.process.journal import Journal, create_journal
from tests.support.erofs_group import ScriptedGroup, raw_event
from tests.support.trees import open_files


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = create_journal()
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def file() -> Iterator[int]:
    with open(os.devnull, "rb") as nothing:
        yield nothing.fileno()


LIVING: list[Worker] = []


@pytest.fixture(autouse=True)
def everybody_dies() -> Iterator[None]:
    Worker.floor = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 50
    yield
    for worker in tuple(LIVING):
        worker.die()


class Worker:
    """One life of a worker."""

    floor: ClassVar[int]
    """As in a host, above all that is open when it begins: its own files never take a question's number."""

    def __init__(self, memory: int) -> None:
        self.group = ScriptedGroup()
        self.questions = Questions(self.group, Journal(memory), most=10, floor=Worker.floor)
        LIVING.append(self)

    def die(self, *unanswered: Question) -> list[int]:
        """Its descriptors are closed; the numbers of questions that it leaves behind."""
        LIVING.remove(self)
        for descriptor in (*self.questions._floor, *(question.event.fd for question in unanswered)):
            os.close(descriptor)
        return [question.event.fd for question in unanswered]

    def take(self, file: int, offset: int = 0, *, blob: int | None = 0) -> Question:
        self.group.ask(file, offset, 4096)
        question = self.questions.take()
        if blob is not None:
            self.questions.note(question, blob)
        return question

    def left(self) -> list[Question]:
        return list(self.questions.left())


def test_what_was_answered_is_not_left(memory: int, file: int) -> None:
    worker = Worker(memory)
    question = worker.take(file)
    worker.questions.keep(question)
    before = open_files()
    worker.questions.settle(question, 0)
    assert worker.group.answers == [(question.event.fd, 0)]
    assert open_files() == before - 1
    second = worker.take(file)
    worker.questions.settle(second, errno.ENOSPC)
    assert worker.group.answers[1] == (second.event.fd, errno.ENOSPC)


def test_an_answer_is_given_once(memory: int, file: int) -> None:
    worker = Worker(memory)
    question = worker.take(file)
    worker.questions.keep(question)
    worker.questions.settle(question, errno.EIO)
    worker.questions.settle(question, 0)
    assert worker.group.answers == [(question.event.fd, errno.EIO)]


@pytest.mark.parametrize("kept", [True, False])
def test_the_next_worker_answers_what_was_left(memory: int, file: int, *, kept: bool) -> None:
    worker = Worker(memory)
    question = worker.take(file, 12345, blob=7)
    if kept:
        worker.questions.keep(question)
    (number,) = worker.die(question)
    after = Worker(memory)
    (again,) = after.left()
    assert (again.event, again.blob) == (question.event, 7)
    os.fstat(number)  # the kernel cannot give the number to a new question
    if not kept:
        after.questions.keep(again)
    after.questions.settle(again, 0)
    assert after.group.answers == [(number, 0)]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_kept_questions_and_the_last_one_are_left_together(memory: int, file: int) -> None:
    worker = Worker(memory)
    first = worker.take(file, 1 << 20, blob=1)
    worker.questions.keep(first)
    second = worker.take(file, 2 << 20, blob=2)
    numbers = worker.die(first, second)
    after = Worker(memory)
    left = after.left()
    assert [(q.event.fd, q.blob, q.event.offset) for q in left] == [(numbers[0], 1, 1 << 20), (numbers[1], 2, 2 << 20)]
    for question in left:
        after.questions.settle(question, 0)


def test_one_that_was_kept_and_still_lies_where_it_landed_is_one(memory: int, file: int) -> None:
    worker = Worker(memory)
    question = worker.take(file)
    worker.questions.keep(question)
    worker.die(question)
    after = Worker(memory)
    left = after.left()
    assert len(left) == 1
    after.questions.settle(left[0], 0)
    assert len(after.group.answers) == 1


def test_a_blob_that_the_dead_worker_did_not_come_to_note_is_unknown(memory: int, file: int) -> None:
    worker = Worker(memory)
    noted = worker.take(file, blob=3)
    worker.questions.settle(noted, 0)
    question = worker.take(file, blob=None)
    worker.die(question)
    after = Worker(memory)
    (again,) = after.left()
    assert again.blob is None  # not 3, of the one that had landed there before
    after.questions.settle(again, errno.EIO)


def test_a_number_that_is_something_elses_here_is_denied_at_once(memory: int, file: int) -> None:
    Journal(memory).keep(raw_event(file, 0, 4096) + b"\1\0\0\0")
    after = Worker(memory)
    assert after.left() == []
    assert after.group.answers == [(file, errno.EIO)]
    os.fstat(file)  # and is still ours
    assert Journal(memory).left().kept == {}


def test_the_end_is_no_question_for_the_next_worker(memory: int) -> None:
    worker = Worker(memory)
    worker.group.end()
    assert not worker.questions.is_over
    os.close(worker.questions.take().event.fd)
    after = Worker(memory)
    assert after.left() == []
    assert after.questions.is_over


def test_who_waits_too_long_is_overdue(memory: int, file: int) -> None:
    worker = Worker(memory)
    question = worker.take(file)
    worker.questions.keep(question)
    assert worker.questions.overdue(3600) == []
    assert worker.questions.overdue(-1) == [question]
    worker.questions.settle(question, errno.EIO)
    assert worker.questions.overdue(-1) == []


def test_the_kernel_passes_on_few_errors(memory: int, file: int) -> None:
    worker = Worker(memory)
    for number in (errno.ENOENT, errno.ECANCELED, errno.EPERM, errno.EACCES):
        worker.questions.settle(worker.take(file), number)
    assert [error for _, error in worker.group.answers] == [errno.EIO, errno.EIO, errno.EPERM, errno.EIO]
