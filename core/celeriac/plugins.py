"""What is plugged in, from installed distributions and from the program.

Transports and result stores come by URL scheme, serializers by content type.

pluggy registers; it never stands on the path of a message.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import pluggy

from celeriac import hookspecs
from celeriac.codec import Codecs, short_name
from celeriac.errors import ConfigurationError, PluginError, did_you_mean
from celeriac.hooks import implementations
from celeriac.results import STORE_CONTRACT_VERSION, ResultStore
from celeriac.signing import Signer
from celeriac.transport import CONTRACT_VERSION, Transport
from celeriac.transport_helpers import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from celeriac.codec import Codec
    from celeriac.settings import Settings

GROUP = "celeriac"
OURS = "celeriac"  # the distribution
T = TypeVar("T")
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
        extras: the distribution's extras.
    """

    name: str
    distribution: str
    version: str
    module: str
    error: str | None = None
    extras: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """What it is registered as."""
        return f"{self.distribution}:{self.name}"


@cache
def find_installed() -> tuple[tuple[Installed, EntryPoint], ...]:
    """Find what installed distributions name, for this process and those forked from it; nothing is imported."""
    return tuple(_found(point) for point in sorted(entry_points(group=GROUP), key=lambda point: point.name))


def _found(point: EntryPoint) -> tuple[Installed, EntryPoint]:
    about: dict[str, Any] = _about(point.dist) if point.dist else {"distribution": "?", "version": "?"}
    return Installed(name=point.name, module=point.module, **about), point


def import_own() -> None:
    """Import the plugins of this distribution alone: what a stranger's module does is for each process to see."""
    for installed, point in find_installed():
        if installed.distribution == OURS:
            point.load()


@cache
def _loaded_entry_points() -> tuple[tuple[Installed, Any], ...]:
    """Load every installed plugin, once a process; one that fails harms no other."""
    return tuple(_load(*found) for found in find_installed())


def _load(installed: Installed, point: EntryPoint) -> tuple[Installed, Any]:
    try:
        return installed, point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may raise anything at import
        return replace(installed, error=f"{type(error).__name__}: {error}"), None


@cache
def _about(distribution: Distribution) -> dict[str, Any]:
    """Parse a distribution's metadata once, however many plugins it has: its whole README is a part of them."""
    parsed = distribution.metadata
    extras = tuple(parsed.get_all("Provides-Extra") or ())
    return {"distribution": parsed["Name"], "version": parsed["Version"], "extras": extras}


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
        self._failures: dict[str, str] = {}

    def register(self, plugin: object, name: str | None = None) -> None:
        """Plug in an object or module with hooks, for this App only."""
        self._manager.register(plugin, name)

    def unregister(self, plugin: object) -> None:
        """Take out what `register` has plugged in."""
        self._manager.unregister(plugin)

    @property
    def installed(self) -> Sequence[Installed]:
        """Every installed plugin, those that failed to load with their errors."""
        self._hooks()
        found = [installed for installed, _ in _loaded_entry_points()]
        return [replace(each, error=each.error or self._failures.get(each.full_name)) for each in found]

    def failed(self) -> dict[str, str]:
        """Return why those failed that the program registers and that were asked so far, by name; see `installed`."""
        full_names = {each.full_name for each, _ in _loaded_entry_points()}
        return {name: why for name, why in self._failures.items() if name not in full_names}

    def implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """Return what implements ``hook``, in the order in which it is to be called."""
        self._hooks()
        return getattr(self._manager.hook, hook).get_hookimpls()[::-1]  # type: ignore[no-any-return]

    def misnamed(self) -> list[str]:
        """Return what to tell of functions that are marked as hooks, and are none of this celeriac."""
        self._hooks()
        callers = vars(self._manager.hook)
        known = [name for name, caller in callers.items() if caller.has_spec()]
        return [
            f"the plugin {each.plugin_name} implements {name}, which is no hook{did_you_mean(name, known)}"
            for name in callers.keys() - known
            for each in callers[name].get_hookimpls()
        ]

    def transports(self) -> dict[str, Callable[[], type[Transport]]]:
        """Return each URL scheme's transport factory; that of a scheme which two plugins claim raises `PluginError`."""
        return self._offered("celeriac_transports")

    def result_stores(self) -> dict[str, Callable[[], type[ResultStore]]]:
        """Return each URL scheme's result-store factory; as `transports`."""
        return self._offered("celeriac_result_stores")

    def serializers(self) -> dict[str, Callable[[], Codec]]:
        """Return each content type's codec factory; that of JSON is not among them."""
        return self._offered("celeriac_serializers")

    def serializer(self, name: str) -> Codec:
        """Return the codec of a content type, or of its short name: ``msgpack`` for ``application/x-msgpack``.

        Raises:
            ConfigurationError: no plugin has it.
            PluginError: its driver is missing.
        """
        found = self.serializers()
        by_name = {"json": None, **{short_name(kind): factory for kind, factory in found.items()}, **found}
        factory = by_name.get(name)
        if factory is None:
            hint = did_you_mean(name, by_name)
            known = ", ".join(sorted(by_name))
            raise ConfigurationError(f"no serializer {name!r}; there are {known}{hint}{self._silent()}")
        return self._made(f"serializer {name}", factory)

    def codecs(self, settings: Settings) -> Codecs:
        """Return the codecs that ``settings`` name; none is loaded yet."""
        return Codecs(
            accept=settings.accept_content,
            serializer=settings.task_serializer,
            result_serializer=settings.result_serializer,
            find=self.serializer,
            signer=Signer(settings.signing_keys),
        )

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

    def _hooks(self) -> None:
        """Register what is installed, once; a plugin whose hooks are none harms no other."""
        if self._complete:
            return
        self._complete = True
        for installed, plugin in _loaded_entry_points():
            if plugin is not None and not self._manager.is_registered(plugin):
                try:
                    self._manager.register(plugin, installed.full_name)
                except Exception as error:  # noqa: BLE001 - pluggy looks at everything in a stranger's module
                    self._failures[installed.full_name] = f"{type(error).__name__}: {error}"

    def schemes(self, hook: str) -> dict[str, list[str]]:
        """Return the schemes that each plugin offers by ``hook``, by its name: ``distribution:name`` if installed."""
        return {name: sorted(offers) for name, offers in self._each(hook)}

    def _offered(self, hook: str) -> dict[str, Callable[[], Any]]:
        offered: dict[str, Callable[[], Any]] = {}
        owners: dict[str, str] = {}
        for name, offers in self._each(hook):
            for scheme, factory in offers.items():
                first = owners.setdefault(scheme, name)
                offered[scheme] = factory if first == name else _clash(scheme, first, name)
        return offered

    def _each(self, hook: str) -> Iterator[tuple[str, Mapping[str, Callable[[], Any]]]]:
        """Ask each plugin by itself what it offers, so that one that raises harms no other."""
        for name, function, _ in implementations(self, hook):
            try:
                offers = _named(dict(function()))
            except Exception as error:  # noqa: BLE001 - a stranger's hook may raise anything
                self._failures[name] = f"{hook} raised {type(error).__name__}: {masked(str(error))}"
            else:
                yield name, offers

    @staticmethod
    def _made(what: str, factory: Callable[[], T]) -> T:
        try:
            return factory()
        except ImportError as error:
            missing, extra = error.name or str(error), _extra(factory)
            step = f"pip install '{extra}'" if extra else "install what brings it"
            raise PluginError(f"the {what} needs {missing!r}, which is not installed; {step}", install=extra) from error
        except PluginError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(f"the {what} does not load: {type(error).__name__}: {error}") from error

    def _find(
        self, what: str, url: str, found: dict[str, Callable[[], type[PortT]]], port: type[PortT], contract: int
    ) -> type[PortT]:
        scheme, separator, _ = url.partition("://")
        if not separator:
            raise ConfigurationError(f"{masked(url)!r} is no {what} URL; write scheme://..., say sqlite:///celeriac.db")
        if scheme not in found:
            raise ConfigurationError(self._unknown(what, scheme, sorted(found)))
        cls = self._made(f"{what} {scheme}://", found[scheme])
        if not (isinstance(cls, type) and issubclass(cls, port)):
            raise PluginError(f"the plugin for {scheme}:// gave {cls!r}, which is no {port.__name__}")
        if cls.contract != contract:
            raise PluginError(
                f"the plugin for {scheme}:// was written for contract {cls.contract}, this celeriac has {contract}; "
                "upgrade the one that is older",
                contract=cls.contract if isinstance(cls.contract, int) else None,
            )
        if inspect.isabstract(cls):
            missing = ", ".join(sorted(cls.__abstractmethods__))
            raise PluginError(f"the plugin for {scheme}:// is not whole: {cls.__name__} has no {missing}")
        return cls

    def _unknown(self, what: str, scheme: str, known: list[str]) -> str:
        text = f"no plugin for the {what} {scheme}://; installed: {', '.join(known) or 'none'}{self._silent()}"
        return f"{text}; install the distribution that provides it, say pip install 'celeriac[all]'"

    def _silent(self) -> str:
        """Return what to add where something is not found: a plugin that failed may be the one that has it."""
        told = [(each.name, each.error) for each in self.installed if each.error]
        return "".join(f"; {name} did not load ({why})" for name, why in [*told, *self.failed().items()])


def _named(offers: Mapping[Any, Any]) -> Mapping[str, Callable[[], Any]]:
    """Return what a stranger's hook offers.

    Raises:
        TypeError: a name is no text, or what it names cannot be called.
    """
    for name, factory in offers.items():
        if not isinstance(name, str) or not callable(factory):
            raise TypeError(f"{name!r}: {factory!r} is no name and function")
    return offers


def _clash(scheme: str, first: str, second: str) -> Callable[[], Any]:
    """Return a factory that says why it makes nothing: the other schemes go on."""

    def refuse() -> Any:
        raise PluginError(f"two plugins claim {scheme!r}, {first} and {second}; uninstall one of them")

    return refuse


def _extra(factory: Callable[[], object]) -> str | None:
    """Return the extra with the driver of the plugin that owns ``factory``, if there is one of the plugin's name."""
    for installed, plugin in _loaded_entry_points():
        if getattr(plugin, "__name__", None) == factory.__module__:
            return f"{installed.distribution}[{installed.name}]" if installed.name in installed.extras else None
    return None


def is_bare(url: str) -> bool:
    """Return whether ``url`` has neither host nor path: nothing that could name something shared."""
    try:
        parts = urlsplit(url)
    except ValueError:  # its transport says what is wrong with it
        return False
    return not parts.netloc and parts.path in {"", "/"}
