from __future__ import annotations

from modelcar.mounts.erofs.fanotify import CLOSED, EVENT_SIZE, Event, events_in
from tests.support.erofs_group import PRE_ACCESS, raw_event


def test_a_question_has_a_range() -> None:
    raw = raw_event(7, 1 << 40, 4096, pid=42)
    assert len(raw) == EVENT_SIZE
    assert list(events_in(raw)) == [Event(mask=PRE_ACCESS, fd=7, pid=42, offset=1 << 40, count=4096)]


def test_several_events_stand_one_after_another_up_to_zeros() -> None:
    raw = raw_event(7, 1, 2) + raw_event(8, 0, 0, mask=CLOSED) + bytes(40)
    assert [(event.fd, event.mask) for event in events_in(raw)] == [(7, PRE_ACCESS), (8, CLOSED)]


def test_other_news_are_no_range() -> None:
    raw = bytearray(raw_event(7, 1, 2))
    raw[24] = 1  # a file's handle, say
    assert list(events_in(raw)) == [Event(mask=PRE_ACCESS, fd=7, pid=1)]


def test_nothing_is_no_event() -> None:
    assert list(events_in(bytes(EVENT_SIZE))) == []
    assert list(events_in(b"")) == []
