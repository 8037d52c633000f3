"""Every error celeriac raises.

They are one tree::

    CeleriacError
    ├── ConfigurationError          a URL, setting, option or task declaration that cannot work
    │   ├── UnknownOption           a name nobody knows, with a did-you-mean
    │   ├── NotRegistered           a task name this App does not have
    │   └── PluginError             a plugin that does not load, or two that claim one name
    ├── CodecError
    │   ├── ValidationError         a value that is not what its annotation says; also a TypeError
    │   ├── EncodeError             a value that its content type cannot carry
    │   ├── DecodeError             bytes that are not what their content type says
    │   │   └── UntrustedMessage    code without a signature of ours: it was not loaded
    │   └── ProtocolError           a message that is no task message anyone could run; `.reason`
    │       └── UnsupportedWorkflow it asks for callbacks, errbacks, a chain or a chord
    ├── TransportError              everything a broker can do to us; drivers' errors are mapped to these
    │   ├── ConnectionLost          reopen and go on
    │   ├── AccessRefused           wrong password, unknown vhost, no permission
    │   ├── TopologyMismatch        the queue or exchange exists with other arguments, or is missing and may not be made
    │   ├── QueueNotFound           no queue of that name
    │   ├── DeadLetterNotFound      no dead letter of that id
    │   ├── Unsupported             this broker, or this queue, cannot do that
    │   └── PublishError
    │       ├── Unroutable          no queue took it
    │       ├── PublishNacked       the broker refused it
    │       ├── PublishUnconfirmed  it may have been sent; nobody confirmed it in time
    │       ├── MessageTooLarge
    │       └── PublishErrors       some of many; `.receipts`, `.failed`
    └── ResultError
        ├── NoResultStore           results of another process need a shared store
        ├── UnknownTask             the store never saw that id, or has forgotten it
        ├── ResultTimeout           also a TimeoutError
        ├── MaxRetriesExceeded      the task asked for more attempts than it may have
        ├── TaskRevoked             the task was revoked, or had expired before it ran
        ├── TimeLimitExceeded       the task ran longer than its hard time limit, and was ended
        ├── SoftTimeLimitExceeded   raised inside a task when its soft time limit is over
        └── TaskError               a remote failure whose own class cannot be found here
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class CeleriacError(Exception):
    """Something celeriac could not do."""

    def __str__(self) -> str:
        """Return the message given, else the first line of the class's docstring."""
        return Exception.__str__(self) or (type(self).__doc__ or type(self).__name__).partition("\n")[0]


class ConfigurationError(CeleriacError):
    """The configuration cannot work as written."""


class UnknownOption(ConfigurationError, TypeError):
    """An option has a name that nobody knows."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        """Say which ``what`` (say ``"task option"``) has the unknown ``name``, and suggest one of ``known``."""
        super().__init__(f"unknown {what} {name!r}{did_you_mean(name, known)}")


class NotRegistered(ConfigurationError, KeyError):
    """No task of that name is registered with this App."""


class PluginError(ConfigurationError):
    """A plugin could not be loaded, or two plugins claim the same name.

    Attributes:
        contract: the contract version that it was written for, where that is what is wrong.
        install: what to install, as for pip, where its driver is missing and nothing else is wrong.
    """

    def __init__(self, message: str = "", *, contract: int | None = None, install: str | None = None) -> None:
        """Say what is wrong with it."""
        super().__init__(message)
        self.contract = contract
        self.install = install


class WorkerFailed(CeleriacError):
    """The worker could not go on."""


class CodecError(CeleriacError):
    """A value and its bytes do not belong together."""


class ValidationError(CodecError, TypeError):
    """A value is not what its annotation says.

    Attributes:
        problem: what is wrong.
        root: the argument's name; ``result`` for what a task returns.
        path: steps that lead from the value down to the culprit, each as Python writes it: ``.price``, ``[2]``.
    """

    def __init__(self, problem: str = "", *, root: str = "", path: Sequence[str] = (), task: str = "") -> None:
        """Say ``problem``, and where: ``root`` of ``task``, and the way down from there."""
        where = root + "".join(path)
        text = f"{where}: {problem}" if where else problem
        super().__init__(f"{task}: {text}" if task else text)
        self.problem = problem
        self.root = root
        self.path = tuple(path)


class EncodeError(CodecError):
    """The value cannot be carried by this content type.

    Attributes:
        problem: what is wrong and what to do instead.
        path: keys and indexes that lead from the value down to the culprit.
    """

    def __init__(self, problem: str = "", *, root: str = "", path: Sequence[Any] = ()) -> None:
        """Say ``problem``, and where: ``root`` is what the reader calls the value, say ``"args"``."""
        where = root + "".join(f"[{step!r:.60}]" for step in path)
        super().__init__(f"{where}: {problem}" if where else problem)
        self.problem = problem
        self.path = tuple(path)


class DecodeError(CodecError):
    """The bytes are not what their content type says.

    Attributes:
        reason: the word for a dead letter.
    """

    reason: ClassVar[str] = "undecodable"


class UntrustedMessage(DecodeError):
    """The content can run code, and no key of ours has signed it for this place; it was not loaded."""

    reason: ClassVar[str] = "untrusted"


class ProtocolError(CodecError):
    """The message is not a task message that anyone could run.

    Attributes:
        reason: the word for a dead letter.
    """

    reason: ClassVar[str] = "undecodable"


class UnsupportedWorkflow(ProtocolError):
    """The message asks for callbacks, errbacks, a chain or a chord, which are not run; nothing of it was run."""

    reason: ClassVar[str] = "unsupported"


class TransportError(CeleriacError):
    """The broker could not do what was asked."""


class ConnectionLost(TransportError):
    """The connection to the broker is gone, or could not be made."""


class AccessRefused(TransportError):
    """The broker refused the credentials, the virtual host or the permission."""


class TopologyMismatch(TransportError):
    """A queue or exchange exists with other arguments than the ones declared."""


class QueueNotFound(TransportError):
    """The broker has no queue of that name."""


class DeadLetterNotFound(TransportError):
    """None of the dead letters looked at has that id."""


class Unsupported(TransportError):
    """This broker, or this queue, cannot do that."""


class PublishError(TransportError):
    """A message was not taken by the broker."""


class Unroutable(PublishError):
    """No queue was bound to take the message; the broker did not keep it."""


class PublishNacked(PublishError):
    """The broker refused the message; it did not keep it."""


class PublishUnconfirmed(PublishError):
    """The message may have been sent: the broker did not confirm it in time.

    Sending it again with the same id is safe where a result store recognises duplicates.
    """


class MessageTooLarge(PublishError):
    """The message is larger than the broker, or a limit of yours, takes."""


class PublishErrors(PublishError):
    """Some messages of many were not taken.

    Attributes:
        receipts: one per message, in the order given.
        failed: the messages that were not confirmed; they can be sent again.
    """

    def __init__(self, receipts: Sequence[Any], failed: Sequence[Any]) -> None:
        """Keep what became of each message."""
        first = next((receipt for receipt in receipts if not receipt.ok), None)
        super().__init__(f"{len(failed)} of {len(receipts)} messages were not confirmed; the first: {first}")
        self.receipts = receipts
        self.failed = failed


class ResultError(CeleriacError):
    """A result could not be had."""


class NoResultStore(ResultError):
    """The result of another process's task needs a store that both can reach."""


class UnknownTask(ResultError):
    """The result store never saw this id, or has forgotten it."""


class ResultTimeout(ResultError, TimeoutError):
    """The result did not come within the time given."""


class MaxRetriesExceeded(ResultError):
    """The task asked for another attempt than it may have."""


class TaskRevoked(ResultError):
    """The task was revoked, or had expired before it ran."""


class TimeLimitExceeded(ResultError):
    """The task ran longer than its hard time limit, and was ended."""


class SoftTimeLimitExceeded(ResultError):
    """The soft time limit of the task is over: raised inside it, so that it can clean up."""


class TaskError(ResultError):
    """A task failed with an exception whose class is not known in this process.

    Attributes:
        type_name: the remote class, with its module.
        remote_args: what the exception was built with, as far as it could be encoded.
    """

    def __init__(self, message: str, type_name: str = "", remote_args: Sequence[Any] = ()) -> None:
        """Name the remote class and keep its arguments."""
        super().__init__(message)
        self.type_name = type_name
        self.remote_args = tuple(remote_args)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of ``known``, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - most programs make no such mistake

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
