from __future__ import annotations

from registry_shim.mirror.circuit import Circuit
from registry_shim.mirror.memory import Memory


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_is_remembered_ends() -> None:
    clock = Clock()
    memory: Memory[str, int] = Memory(10, 5.0, clock=clock)
    memory.put("a", 1)
    clock.now += 5
    assert memory.get("a") == 1
    clock.now += 1
    assert memory.get("a") is None
    assert memory.get("a", late=1) == 1
    memory.put("a", 2)
    assert memory.get("a") == 2
    memory.drop("a")
    assert memory.get("a", late=100) is None


def test_there_is_never_more_than_so_much() -> None:
    memory: Memory[int, int] = Memory(3, 5.0)
    for i in range(3):
        memory.put(i, i)
    assert memory.get(0) == 0
    memory.put(3, 3)
    assert [memory.get(i) for i in range(4)] == [0, None, 2, 3]
    assert len(memory) == 3


def test_who_fails_is_left_alone_for_a_while() -> None:
    clock = Clock()
    circuit = Circuit(clock=clock)
    circuit.failed()
    assert circuit.wait() == 0
    circuit.failed()
    assert 0.7 < circuit.wait() < 1.3
    clock.now += 1.3
    assert circuit.wait() == 0  # for one who tries
    assert circuit.wait() > 20  # the others wait for what it finds
    circuit.failed()
    assert 1.4 < circuit.wait() < 2.6
    for _ in range(20):
        circuit.failed()
    assert 22 < circuit.wait() < 38
    clock.now += 38
    assert circuit.wait() == 0
    circuit.succeeded()
    assert circuit.wait() == circuit.wait() == 0


def test_what_it_asks_for_itself_is_granted_within_reason() -> None:
    clock = Clock()
    circuit = Circuit(tolerated=1, clock=clock)
    circuit.failed(retry_after=20)
    assert circuit.wait() == 20
    circuit.failed(retry_after=86400)
    assert circuit.wait() == 30
