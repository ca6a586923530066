"""One blob to one repository: mounted where possible, continued where it was left, begun again where it must be.

Nothing is visible in the registry before the closing request, whose digest the registry checks. A session that is given
up for good is deleted; one that may go on later stays in the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from modelcar.errors import ModelcarError, ProtocolViolation, RateLimited, RegistryError, Unreachable, WorldError
from modelcar.layers.bytemap import FileSlice
from modelcar.registry.cancel import Cancelled, current_scope
from modelcar.registry.dialects import Way
from modelcar.registry.journal import Record, Standing
from modelcar.registry.session import BACKOFF, RETRIED, Remote
from modelcar.registry.upload.blob import Blob, UploadContext
from modelcar.registry.upload.patience import Patience
from modelcar.registry.upload.source import PIECE, cut
from modelcar.registry.upload.tactics import Tactics
from modelcar.registry.upload.tail import behind
from modelcar.registry.upload.wire import Opened, Rejected, Wire, kept

__all__ = ["Upload"]

_WORTH_KEEPING: Final = 256 << 10  # bytes; what is smaller is sent again
_WORTH_MEASURING: Final = 32 << 20  # bytes
_AT_ONCE: Final = 64 << 10  # bytes at least, where the rate is limited
_DAMAGED: Final = 5  # how often a registry may say that the digest is wrong
_ORPHANED: Final = 2  # how many sessions in a row may be gone before they had anything
_FEW: Final = 8  # pieces
_SHORT_LIVED: Final = 3  # how many sessions in a row may be gone after so few
_MUCH_IN_VAIN: Final = 8 << 20  # bytes of one request, where its answer says that it may pass
_LITTLE_IN_VAIN: Final = 1 << 20  # bytes of a piece
_ASKED: Final = 4  # how often, where replicas may not share sessions
_BLIND: Final = 3  # how often in a row a session that cannot be asked may be tried where it was
_FEELER: Final = 1 << 20  # bytes that it is tried with
_REFUSALS: Final = 2  # how often a registry may refuse a piece that is in order, before it is taken for a rule
_FINAL_CODES: Final = frozenset({"DIGEST_INVALID", "SIZE_INVALID", "NAME_INVALID", "UNAUTHORIZED", "DENIED"})
_UNLIKED: Final = frozenset({202, 400, 405, 411, 413, 501})  # what registries say that want it another way


class Upload:
    """One blob on its way to one repository."""

    def __init__(self, context: UploadContext, remote: Remote, blob: Blob, advance: Callable[[int], None]) -> None:
        self._context, self._remote, self._blob, self._advance = context, remote, blob, advance
        self._session = context.session
        self._settings = context.session.settings
        self._wire = Wire(self._session, remote, f"uploading {blob.label} to {remote.repository}")
        self._tactics = Tactics.choose(
            context.dialect,
            context.habits.of(remote.registry),
            blob.size,
            chunk_size=self._settings.chunk_size,
            streamed=blob.tail is not None and blob.known is None,
        )
        self._source = behind(blob.source, blob.tail) if blob.tail is not None else blob.source
        self._patience = Patience(self._settings.attempts, blob.size)
        self._record: Record | None = None
        self._location: str | None = None
        self._offset = 0  # bytes the registry is known to have
        self._moved = 0  # bytes of the request under way
        self._end = 0  # where it ends
        self._reported = 0  # bytes that progress has been told about
        self._blind = 0  # how often the session could not be asked how far it is, since it took anything
        self._feels = False  # nobody knows whether it is there at all, and where
        self._ahead = 0  # where it is if the last request took effect, and only its answer was lost; else 0
        self._complaint: Exception | None = None
        self._damaged = 0
        self._alive = False  # the registry knew the session when it was last asked
        self._length = 0  # of the last piece
        self._orphaned = 0  # sessions in a row that were gone before they had anything
        self._lost_sessions = 0  # of all of them
        self._taken = 0  # pieces of this session
        self._short_lived = 0  # sessions in a row that were gone after a few pieces
        self._refusals = 0  # pieces in a row that were in order and not taken
        self._closing = False  # the registry has had every byte
        self._done = False

    def run(self, mount_from: Sequence[str] = ()) -> str:
        """Upload, and return how: "exists", "mounted", or "" if the bytes were moved."""
        if self._exists():
            return "exists"
        blob, remote = self._blob, self._remote
        with self._context.journal.upload(remote.registry, remote.repository, blob.content, blob.size) as record:
            self._record = record if blob.size >= _WORTH_KEEPING else None
            try:
                if not self._pick_up():
                    if self._mount(mount_from):
                        return "mounted"
                    self._tactics.expect(self._context.after_cut)
                    if self._location is None and self._tactics.way is not Way.ONCE:
                        self._enter(self._wire.open())
                self._transfer()
            except BaseException as e:
                if not self._is_for_later(e):
                    self._abandon(brief=isinstance(e, Cancelled | KeyboardInterrupt))
                raise
            record.clear()
        self._tactics.learn(self._context.habits, remote.registry)
        return ""

    def _exists(self) -> bool:
        digest = self._blob.known
        return digest is not None and self._wire.exists(digest, self._blob.size)

    def _mount(self, repositories: Sequence[str]) -> bool:
        digest = self._blob.known
        for repository in repositories:
            if digest is None or repository == self._remote.repository:
                continue
            self._abandon()
            try:
                opened = self._wire.mount(digest, repository)
            except Unreachable:
                raise
            except RegistryError:
                continue  # not allowed to read there, or no mounting here: the bytes will do
            if opened is None:
                return True
            self._enter(opened)
        return False

    # The session: where it is, and how far.

    def _pick_up(self) -> bool:
        """Go on with what an earlier process left in the journal."""
        standing = self._record.find() if self._record is not None else None
        if standing is None or not self._tactics.continues:
            return False
        self._location = standing.location
        self._tactics.expect(self._context.after_cut)
        self._tactics.taken_over(standing.way, standing.piece, standing.least)
        self._offset, self._ahead = standing.offset, standing.offset + standing.sending
        if self._resume(feels=True):
            return True
        self._abandon()
        self._offset = 0
        return False

    def _enter(self, opened: Opened) -> None:
        self._tactics.opened(opened.least)
        self._offset, self._taken = 0, 0
        self._is_sure()
        self._report(0)
        self._follow(opened.location)

    def _follow(self, location: str | None) -> None:
        """The session goes on there; `None`: where it was."""
        self._location = location or self._location
        self._note()

    def _note(self) -> None:
        """For whoever goes on after us; before each request, because its bytes may arrive though we hear nothing."""
        if self._record is not None and self._location is not None:
            tactics = self._tactics
            self._record.note(
                Standing(
                    location=self._location,
                    least=tactics.least,
                    way=tactics.settled,
                    piece=tactics.most,
                    offset=self._offset,
                    sending=self._next(),
                )
            )

    def _next(self) -> int:
        """How many bytes the next PATCH has."""
        length = self._tactics.length(self._blob.size - self._offset)
        return min(length, max(_FEELER, self._tactics.least)) if self._feels else length

    def _is_sure(self) -> None:
        """The registry has just said where the session is."""
        self._blind, self._feels, self._ahead = 0, False, 0

    def _resume(self, *, feels: bool = False) -> bool:
        """Ask the session how far it has come, and go on from there. `False` if it has nothing, or is gone. One that
        cannot be asked goes on where it was; `feels`: with few bytes, because it may be gone."""
        self._alive = False
        if self._location is None or not self._tactics.continues:
            return False
        asked = self._wire.ask(self._location)
        self._alive = asked is not None and asked.kept is not None
        if asked is None or asked.kept is None:
            blindly = self._offset > 0 and self._blind < _BLIND
            if blindly:
                self._blind, self._feels = self._blind + 1, feels
                self._tactics.go_on()
                self._report(self._offset)
            return blindly
        if asked.kept <= 1 or asked.kept > self._blob.size:
            return False  # "0-0" means one byte or none
        self._is_sure()
        self._offset = asked.kept - self._context.dialect.counts_one_more
        self._tactics.go_on()
        self._follow(asked.location)
        self._report(self._offset)
        return True

    def _restart(self) -> None:
        """From the first byte."""
        self._abandon()
        if self._blob.tail is not None:
            self._blob.tail.let_go()
        self._offset = 0
        self._report(0)
        self._tactics.begin_again()
        self._patience.begins()
        if self._blob.tail is not None and self._exists():
            self._done = True  # the digest is known by now, and somebody has it
        elif self._tactics.way is not Way.ONCE:
            self._enter(self._wire.open())

    def _abandon(self, *, brief: bool = False) -> None:
        location, self._location = self._location, None
        if self._record is not None:
            self._record.clear()
        if location is not None:
            self._wire.delete(location, brief=brief)

    def _is_for_later(self, error: BaseException) -> bool:
        """Whether the session may be of use to somebody who tries again: after Ctrl-C, or what may go better the next
        time. What the registry has denied, of this blob or of another one with it, it would deny again."""
        if self._blob.tail is not None and self._blob.tail.abandoned_for_good:
            return False
        if self._record is None or not self._record.kept:
            return isinstance(error, Unreachable)  # nobody would hear that it is given up
        if not isinstance(error, Cancelled):
            return isinstance(error, KeyboardInterrupt) or _may_pass(error)
        scope = current_scope()
        cause = scope.cause if scope is not None else None
        return cause is None or not isinstance(cause, ModelcarError) or _may_pass(cause, others=True)

    # The bytes.

    def _transfer(self) -> None:
        """Try until the registry has the blob."""
        patience = self._patience
        patience.reached(self._offset)
        while not self._done:
            self._moved, self._closing = 0, False
            try:
                self._attempt()
                return
            except Rejected as rejected:
                if not patience.failed(moved=self._moved, wait=rejected.wait):
                    raise rejected.error from None
                if not self._recover(rejected, patience.failures):
                    raise (self._complaint or rejected.error) from None
                patience.reached(self._offset)

    def _attempt(self) -> None:
        size, way = self._blob.size, self._tactics.way
        if way is Way.ONCE:
            self._wire.once(self._blob.named(), size, lambda: self._pieces(0, size))
        elif way is Way.WHOLE and self._offset == 0:
            self._close(0, size)
        else:
            while self._offset < size:
                self._send_piece()
                self._patience.reached(self._offset)
            self._close(size, 0)

    def _close(self, offset: int, length: int) -> None:
        digest = self._blob.named()
        self._moved, self._closing = 0, length == 0
        self._wire.put(self._location or "", digest, length, lambda: self._pieces(offset, length), self._blob.size)
        self._location = None

    def _send_piece(self) -> None:
        self._moved, start = 0, self._offset
        length = self._length = self._next()
        self._note()
        alone = self._tactics.way is Way.STREAM and length == self._blob.size
        began = time.monotonic()
        body = self._pieces
        answer = self._wire.patch(self._location or "", start, length, lambda: body(start, length), alone=alone)
        if answer.status == 201 and not 0 < start == self._blob.size - length:
            # ECR's way to say that it takes none, unless this was the rest of what it had: then it may be closed.
            error = ProtocolViolation(f"{self._remote.registry}: {self._wire.what}: it takes no pieces", status=201)
            raise Rejected(error, 201)
        reached = kept(answer)
        if reached is not None and not start <= reached <= start + length:
            raise ProtocolViolation(f"{self._remote.registry}: {self._wire.what}: it counts other bytes than were sent")
        self._offset = start + length if reached is None else reached
        self._tactics.took()
        self._is_sure()
        self._follow(self._wire.following(answer))
        self._orphaned, self._refusals = 0, 0
        self._taken += 1
        if self._taken > _FEW:
            self._short_lived = 0
        self._measure(length, time.monotonic() - began)
        self._report(self._offset)
        if self._offset == start:
            raise Rejected(
                ProtocolViolation(f"{self._remote.registry}: {self._wire.what}: it keeps nothing of a piece")
            )

    def _pieces(self, offset: int, length: int) -> Iterator[bytes | FileSlice]:
        """The body of a request; progress follows what the kernel has taken."""
        self._report(offset)
        self._moved = 0
        self._end, began = offset + length, time.monotonic()
        throttle = self._session.throttle
        most = min(PIECE, max(_AT_ONCE, int(throttle.rate / 4))) if throttle.rate else PIECE
        for whole in self._source(offset, length):
            for piece in cut(whole, most):
                yield piece
                size = piece.size if isinstance(piece, FileSlice) else len(piece)
                offset += size
                self._moved += size
                self._context.tally.sent(size)
                self._closing = offset == self._blob.size
                self._report(offset)
                if (wait := throttle.take(size)) > 0:
                    self._session.pause(wait)
        if offset == self._end:
            self._measure(length, time.monotonic() - began)

    def _measure(self, size: int, seconds: float) -> None:
        if size >= _WORTH_MEASURING and seconds > 0:
            self._context.habits.learn(self._remote.registry, rate=round(size / seconds))

    def _report(self, offset: int) -> None:
        if offset != self._reported:
            self._advance(offset - self._reported)
            self._reported = offset

    # After a failure.

    def _recover(self, rejected: Rejected, failures: int) -> bool:
        """Prepare another try that may go better; `False` if there is none."""
        status = rejected.status
        if status is None or status in RETRIED:
            delay = max(BACKOFF.after(max(1, self._patience.still)), rejected.wait)
            self._session.again_after(delay, str(rejected.error))
            return self._go_on(rejected, failures)
        if status == 416:
            return self._get_in_step()
        if status in (404, 410):
            return self._find_session()
        if status == 201:
            return self._go_another_way(Way.PIECES, Way.STREAM)
        if "DIGEST_INVALID" in rejected.codes:
            self._damaged += 1
            if self._damaged >= _DAMAGED:
                return False
            self._restart()  # what it kept of us was damaged, or damaged on its way
            return True
        if status not in _UNLIKED or set(rejected.codes) & _FINAL_CODES or not self._blob.size:
            return False
        if status == 413 and self._tactics.way is Way.PIECES:
            return self._too_large()
        self._complaint = self._complaint or rejected.error  # what comes of other ways says less
        return self._go_another_way(self._tactics.way)

    def _go_on(self, rejected: Rejected, failures: int) -> bool:
        """It may have been an accident: from where the session is."""
        if self._closing and self._exists():
            self._done = True  # only its answer was lost
            return True
        if rejected.status is not None and failures > 1 and self._tactics.way in (Way.WHOLE, Way.STREAM):
            self._tactics.smaller()  # Docker Hub answers large single requests with 504
        before, moved = self._offset, self._moved
        if not self._feels:
            self._ahead = self._end if before + moved >= self._end else 0
        if not self._resume(feels=True):
            self._restart()
        if before < self._offset < self._end:
            self._tactics.kept()
        in_vain = self._offset <= before and not self._done
        much = _LITTLE_IN_VAIN if self._tactics.way is Way.PIECES else _MUCH_IN_VAIN
        if in_vain and (rejected.status is None or moved > much):
            self._tactics.broke_off(moved, alive=self._alive)
            if self._tactics.way is Way.PIECES:
                self._tactics.learn(self._context.habits, self._remote.registry)  # for those that are about to begin
        return True

    def _get_in_step(self) -> bool:
        """416: the session has other bytes than we think, or takes no pieces of this size."""
        if self._feels:
            return self._look_ahead()
        before = self._offset
        if not self._resume():
            self._restart()
        if self._done or self._offset > before:
            return True
        if self._offset < before:
            return not self._is_orphaned() or self._leave_sessions()
        self._refusals += 1
        if before and self._alive and self._tactics.smaller(self._length):
            return True  # it counts as we do, so it was the size
        if self._refusals < _REFUSALS:
            return True
        if self._tactics.way is Way.STREAM and before == 0:
            return self._go_another_way(Way.STREAM)
        return self._tactics.smaller(self._length) or self._go_another_way(self._tactics.way)

    def _look_ahead(self) -> bool:
        """A session that cannot be asked is not where its last answer said."""
        self._offset, self._ahead = self._ahead, 0
        if self._offset:
            self._report(self._offset)
        else:
            self._restart()
        return True

    def _find_session(self) -> bool:
        """404: the session is gone, or the request met a replica that does not know it."""
        if self._is_short_lived():
            return self._go_another_way(Way.PIECES)
        orphaned = self._offset == 0 and self._is_orphaned()
        self._restart()
        if not orphaned or self._done:
            return True
        if self._is_known_everywhere():
            self._orphaned = 0  # two accidents in a row
            return True
        return self._leave_sessions()

    def _is_short_lived(self) -> bool:
        """A session was there for a few pieces, and then unknown. If that happens again and again, replicas share the
        first piece (and answer questions by that), and no other one."""
        if self._tactics.way is not Way.PIECES or not self._offset or self._feels or self._taken > _FEW:
            return False
        self._short_lived += 1
        return self._short_lived >= _SHORT_LIVED

    def _is_known_everywhere(self) -> bool:
        """Whether whoever is asked for the session knows it, as far as a few times can tell."""
        location = self._location
        return location is not None and all(self._wire.ask(location) is not None for _ in range(_ASKED))

    def _is_orphaned(self) -> bool:
        """A session is not what it was just before. If that happens again, replicas do not share them."""
        self._orphaned += 1
        self._lost_sessions += 1
        return self._orphaned >= _ORPHANED

    def _leave_sessions(self) -> bool:
        self._orphaned = 0
        if self._tactics.way in (Way.PIECES, Way.STREAM):
            return self._go_another_way(Way.PIECES, Way.STREAM)
        return self._go_another_way(Way.WHOLE, Way.PIECES, Way.STREAM)

    def _too_large(self) -> bool:
        if not self._tactics.smaller(self._length):
            return False
        if not self._resume():
            self._restart()
        return True

    def _go_another_way(self, *refused: Way) -> bool:
        if not self._tactics.refuse(*refused):
            if self._lost_sessions < _ORPHANED:
                return False
            self._tactics.pardon()
        self._restart()
        return True


def _may_pass(error: BaseException, *, others: bool = False) -> bool:
    """Whether it may go better the next time; `others`: what another blob has failed with, or its source."""
    if isinstance(error, RegistryError):
        return isinstance(error, Unreachable | RateLimited) or error.status in RETRIED
    return others and isinstance(error, WorldError)
