"""One image's fact, put together from what is remembered and what registries say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from modelcar.admission.facts import ImageFact, Publisher
from modelcar.admission.resolve.access import Access, Logins, Opened
from modelcar.admission.resolve.contents import Contents, read_contents, read_passwd, read_publisher, user_of
from modelcar.admission.resolve.memory import Look, Memory, Problem
from modelcar.admission.resolve.needs import Need
from modelcar.admission.resolve.passwd import Passwd
from modelcar.admission.resolve.verdicts import Judge
from modelcar.errors import InvalidContent
from modelcar.oci import Digest, Reference
from modelcar.packaging.fetch import RegistrySource
from modelcar.signing.policy import Workload

__all__ = ["Lookup", "Question"]

_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about one image; equal ones have the same answer.

    Attributes:
        logins: those that a kubelet would try for it.
        owner: what the pods belong to that shall agree on what a tag means.
        matches: which policies are for the workload.
        workload: `None` if no policies are to be asked.
    """

    ref: Reference
    logins: Logins
    owner: str | None
    need: Need
    matches: tuple[bool, ...] | None
    workload: Workload | None = field(compare=False)


class Lookup:
    """Safe to share between threads."""

    def __init__(self, access: Access, judge: Judge) -> None:
        self.judge = judge
        self._access = access
        # A digest's content cannot change.
        self._contents: Memory[Digest, Contents] = Memory(_REMEMBERED)
        self._passwds: Memory[Digest, Passwd] = Memory(_REMEMBERED)
        self._publishers: Memory[Digest, Publisher] = Memory(_REMEMBERED)

    def question(
        self, ref: Reference, logins: Logins, owner: str | None, need: Need, workload: Workload | None
    ) -> Question:
        matches = None if workload is None else self.judge.matches(workload)
        return Question(ref=ref, logins=logins, owner=owner, need=need, matches=matches, workload=workload)

    def fact(self, question: Question, look: Look) -> ImageFact:
        """The answer.

        Raises:
            NotAtHand: not all of it is remembered, and nobody may be asked (`Look.AT_HAND`).
        """
        ref, need = question.ref, question.need
        if ref.digest is not None and question.workload is None and not (need.user or need.publisher):
            return ImageFact(digest=ref.digest)
        opened = self._access.open(ref, question.logins, question.owner, look)
        if isinstance(opened, Problem):
            return ImageFact.unknown(opened.text, asked_policies=question.workload is not None)
        fact = ImageFact(digest=opened.root.digest)
        if need.user or need.publisher:
            fact = self._said(fact, opened, need, look)
        if question.workload is not None:
            trust = self.judge.trust(opened, self._access.client(opened), question.workload, look)
            fact = replace(fact, trust=trust)
        return fact

    def _said(self, fact: ImageFact, opened: Opened, need: Need, look: Look) -> ImageFact:
        """With what the image says of itself."""
        digest = opened.root.digest
        ref = replace(opened.ref, tag=None, digest=digest)
        source = RegistrySource(ref, self._access.client(opened))
        contents = self._contents.look(digest, lambda: read_contents(source, opened.root), look)
        if isinstance(contents, Problem):
            return replace(fact, problem=contents.text)
        if need.publisher:
            publisher = self._publishers.look(digest, lambda: read_publisher(contents, source.open_layer), look)
            if isinstance(publisher, Problem):
                fact = replace(fact, problem=f"what is in it is not known: {publisher.text}")
            else:
                fact = replace(fact, publisher=publisher)
        if need.user:
            passwd = self._passwds.look(digest, lambda: read_passwd(contents, source.open_layer), look)
            fact = _with_user(fact, contents, passwd)
        return fact


def _with_user(fact: ImageFact, contents: Contents, passwd: Passwd | Problem) -> ImageFact:
    if isinstance(passwd, Problem):
        return replace(fact, problem=f"who runs it is not known: {passwd.text}")
    try:
        return replace(fact, user=user_of(contents, passwd), groups=passwd.groups)
    except InvalidContent as e:
        return replace(fact, groups=passwd.groups, problem=f"who runs it is not known: {e}")
