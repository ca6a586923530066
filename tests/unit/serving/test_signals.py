"""Signals while something is served, and after."""

from __future__ import annotations

import asyncio
import signal

from modelcar.serving.signals import Stop, handled

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def test_signals_mean_after_it_what_they_meant_before() -> None:
    def ours(number: int, frame: object) -> None:
        raise AssertionError(number)

    async def serve() -> list[object]:
        stop = Stop()
        with handled(stop, reload=lambda: None):
            signal.raise_signal(signal.SIGTERM)
            await stop.asked.wait()
        return [signal.getsignal(number) for number in NUMBERS]

    before = {number: signal.signal(number, ours) for number in NUMBERS}
    try:
        assert asyncio.run(serve()) == [ours, ours, ours]
    finally:
        for number, action in before.items():
            signal.signal(number, action)
