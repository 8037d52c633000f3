"""What is plugged in: transports and result stores by URL scheme, from installed distributions and from the program.

pluggy registers; it never stands on the path of a message.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import pluggy

from celeriac import hookspecs
from celeriac.errors import ConfigurationError, PluginError, did_you_mean
from celeriac.hooks import asked, implementations
from celeriac.results import STORE_CONTRACT_VERSION, ResultStore
from celeriac.transport import CONTRACT_VERSION, Transport
from celeriac.transport_helpers import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GROUP = "celeriac"
PortT = TypeVar("PortT", Transport, ResultStore)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One plugin that an installed distribution names.

    Attributes:
        name: the entry point's name.
        distribution: the distribution's name.
        version: the distribution's version.
        module: the module it names.
        error: why it did not load; ``None`` if it did.
    """

    name: str
    distribution: str
    version: str
    module: str
    error: str | None = None


@cache
def _loaded_entry_points() -> tuple[tuple[Installed, Any], ...]:
    """Load every installed plugin, once a process; one that fails harms no other."""
    return tuple(_load(point) for point in sorted(entry_points(group=GROUP), key=lambda point: point.name))


def _load(point: EntryPoint) -> tuple[Installed, Any]:
    distribution = point.dist.name if point.dist else "?"
    version = point.dist.version if point.dist else "?"
    installed = Installed(name=point.name, distribution=distribution, version=version, module=point.module)
    try:
        return installed, point.load()
    except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything at import
        return replace(installed, error=f"{type(error).__name__}: {error}"), None


class Plugins:
    """The plugins of one App: the installed ones, and those that its program registers.

    Attributes:
        trace: every call of a hook is printed to standard error.
    """

    def __init__(self) -> None:
        """Start with nothing loaded; the installed plugins are loaded at the first question."""
        self._manager = pluggy.PluginManager("celeriac")
        self._manager.add_hookspecs(hookspecs)
        self.trace = bool(os.environ.get("CELERIAC_PLUGIN_TRACE"))
        self._complete = False

    def register(self, plugin: object, name: str | None = None) -> None:
        """Plug in an object or module with hooks, for this App only."""
        self._manager.register(plugin, name)

    @property
    def installed(self) -> Sequence[Installed]:
        """Every installed plugin, those that failed to load with their errors."""
        return [installed for installed, _ in _loaded_entry_points()]

    def implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """Return what implements ``hook``, in the order in which it is to be called."""
        return getattr(self._hook, hook).get_hookimpls()[::-1]  # type: ignore[no-any-return]

    def misnamed(self) -> list[str]:
        """Return what to tell of functions that are marked as hooks, and are none of this celeriac."""
        callers = vars(self._hook)
        known = [name for name, caller in callers.items() if caller.has_spec()]
        return [
            f"the plugin {each.plugin_name} implements {name}, which is no hook{did_you_mean(name, known)}"
            for name in callers.keys() - known
            for each in callers[name].get_hookimpls()
        ]

    def transports(self) -> dict[str, Callable[[], type[Transport]]]:
        """Return each URL scheme's transport factory."""
        return self._merged(self._answers("celeriac_transports"))

    def result_stores(self) -> dict[str, Callable[[], type[ResultStore]]]:
        """Return each URL scheme's result-store factory."""
        return self._merged(self._answers("celeriac_result_stores"))

    def transport(self, url: str) -> type[Transport]:
        """Return the transport class for ``url``.

        Raises:
            ConfigurationError: no plugin has that scheme, or the URL is none.
            PluginError: its driver is missing, or it was written for another contract.
        """
        return self._find("broker", url, self.transports(), Transport, CONTRACT_VERSION)  # type: ignore[type-abstract] # never built from it

    def result_store(self, url: str) -> type[ResultStore]:
        """Return the result-store class for ``url``; raises as `transport`."""
        return self._find("result store", url, self.result_stores(), ResultStore, STORE_CONTRACT_VERSION)  # type: ignore[type-abstract] # as above

    @property
    def _hook(self) -> pluggy.HookRelay:
        if not self._complete:
            self._complete = True
            for installed, plugin in _loaded_entry_points():
                if plugin is not None and not self._manager.is_registered(plugin):
                    self._manager.register(plugin, f"{installed.distribution}:{installed.name}")
        return self._manager.hook

    def _answers(self, hook: str) -> list[Any]:
        """Return what each plugin registers.

        Raises:
            PluginError: one of them raised.
        """
        return [asked(name, hook, function) for name, function, _ in implementations(self, hook)]

    @staticmethod
    def _merged(answers: list[Any]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for answer in answers:
            for scheme, factory in answer.items():
                if merged.setdefault(scheme, factory) is not factory:
                    raise PluginError(f"two plugins claim the scheme {scheme!r}; uninstall one of them")
        return merged

    def _find(
        self, what: str, url: str, found: dict[str, Callable[[], type[PortT]]], port: type[PortT], contract: int
    ) -> type[PortT]:
        scheme, separator, _ = url.partition("://")
        if not separator:
            raise ConfigurationError(f"{masked(url)!r} is no {what} URL; write scheme://..., say sqlite:///celeriac.db")
        if scheme not in found:
            raise ConfigurationError(self._unknown(what, scheme, sorted(found)))
        try:
            cls = found[scheme]()
        except ImportError as error:
            missing = error.name or str(error)
            raise PluginError(
                f"the {what} {scheme}:// needs {missing!r}, which is not installed; "
                f"pip install '{_extra(found[scheme])}'"
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, port)):
            raise PluginError(f"the plugin for {scheme}:// gave {cls!r}, which is no {port.__name__}")
        if cls.contract != contract:
            raise PluginError(
                f"the plugin for {scheme}:// was written for contract {cls.contract}, this celeriac has {contract}; "
                "upgrade the one that is older"
            )
        return cls

    def _unknown(self, what: str, scheme: str, known: list[str]) -> str:
        text = f"no plugin for the {what} {scheme}://; installed: {', '.join(known) or 'none'}"
        for installed in self.installed:
            if installed.error:
                text += f"; {installed.name} did not load ({installed.error})"
        return f"{text}; install the distribution that provides it, say pip install 'celeriac[all]'"


def _extra(factory: Callable[[], object]) -> str:
    """Return what to install for the driver of the plugin that owns ``factory``: an extra is named as its plugin."""
    for installed, plugin in _loaded_entry_points():
        if getattr(plugin, "__name__", None) == factory.__module__:
            return f"{installed.distribution}[{installed.name}]"
    return "celeriac[all]"


def is_bare(url: str) -> bool:
    """Return whether ``url`` has neither host nor path: nothing that could name something shared."""
    parts = urlsplit(url)
    return not parts.netloc and parts.path in {"", "/"}
