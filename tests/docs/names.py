"""What a program that needs a server says of celeriac, held against celeriac: imports, options, methods."""

import ast
import importlib
import inspect
from dataclasses import fields

import celeriac
from celeriac import App, AsyncResult, Binding, Exchange, Queue, Route, Task
from celeriac.app import ALL_OPTIONS
from celeriac.settings import Settings
from celeriac.task import CALL_OPTIONS
from celeriac.testing import Sandbox
from celeriac.worker.options import WORKER_SETTINGS

SETTINGS = {each.name for each in fields(Settings)}
OURS = {each.__name__: each for each in (Queue, Exchange, Binding, Route, Sandbox)}


def parameters(function):
    return {name for name, each in inspect.signature(function).parameters.items() if each.kind is not each.VAR_KEYWORD}


OPTIONS = {
    "App": parameters(App) | SETTINGS,
    "task": {*ALL_OPTIONS},
    "shared_task": {*ALL_OPTIONS},
    "options": {*CALL_OPTIONS},
    "apply_async": parameters(Task.apply_async) | {*CALL_OPTIONS},
    "aapply_async": parameters(Task.aapply_async) | {*CALL_OPTIONS},
    "send_task": parameters(App.send_task) | {*CALL_OPTIONS},
    "asend_task": parameters(App.asend_task) | {*CALL_OPTIONS},
    "run_worker": {*WORKER_SETTINGS, "prepare", "queues", "name", "burst"},
    "Sandbox": parameters(Sandbox) | SETTINGS,
    **{name: parameters(each) for name, each in OURS.items() if name != "Sandbox"},
    **{name: parameters(getattr(App, name)) for name in ("revoke", "arevoke", "flush", "config_from_object")},
    **{name: parameters(getattr(AsyncResult, name)) for name in ("get", "aget")},
}


def unknown(text):
    """Return what a program says that celeriac does not know; raises `SyntaxError` where it is no Python."""
    tree = ast.parse(text)
    return [problem for node in ast.walk(tree) for problem in _problems(node)]


def _problems(node):
    match node:
        case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0].startswith("celeriac"):
            home = importlib.import_module(module)
            yield from (f"{module} has no {each.name}" for each in names if not hasattr(home, each.name))
        case ast.Import(names=names):
            for each in names:
                if each.name.split(".")[0] == "celeriac":
                    importlib.import_module(each.name)
        case ast.Attribute(value=ast.Name(id="app"), attr=attr) if not hasattr(App, attr):
            yield from (f"App has no {attr}" for _ in [0] if attr not in {"conf", "tasks", "plugins", "clock"})
        case ast.Attribute(value=ast.Name(id="result"), attr=attr) if not hasattr(AsyncResult, attr):
            yield f"AsyncResult has no {attr}"
        case ast.Attribute(value=ast.Name(id="celeriac"), attr=attr) if not hasattr(celeriac, attr):
            yield f"celeriac has no {attr}"
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), keywords=keywords) if name in OPTIONS:
            given = {each.arg for each in keywords if each.arg is not None}
            yield from (f"{name} has no {each}" for each in sorted(given - OPTIONS[name]))
