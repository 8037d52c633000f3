"""Runs the programs of one page, as ``python runner.py < job``; the job and what it prints are JSON.

A program whose first line names a file is that file: it is run where it stands, and what comes after may import it.
Where such a file has an App by the name ``app``, a worker works for it while the other programs run, unless a program
has a worker or a sandbox of its own. Between two attempts a second takes a millisecond.
"""

import contextlib
import io
import json
import os
import sys
import types
from pathlib import Path

from celeriac import App
from celeriac.worker import decide


def main():
    job = json.load(sys.stdin)
    folder = Path(job["folder"])
    os.chdir(folder)
    if job["broker"]:
        os.environ["CELERIAC_BROKER"] = job["broker"]
    sys.path.insert(0, str(folder))
    for program in job["programs"]:
        if program["name"]:  # a worker's children import it
            path = folder / program["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(program["text"], encoding="utf-8")
    after = decide._after  # the one place where a delay becomes a moment
    decide._after = lambda now, seconds: after(now, seconds / 1000)
    json.dump(Page(job).run(), sys.stdout)


class Page:
    def __init__(self, job):
        self.job = job
        self.apps = []
        self.served = []
        self.workers = contextlib.ExitStack()

    def run(self):
        with self.workers:
            return [self._printed(number, program) for number, program in enumerate(self.job["programs"])]

    def _printed(self, number, program):
        """Run one program; returns the lines that it prints."""
        name, text = program["name"], program["text"]
        if not name:
            has_its_own = "run_worker(" in text or "Sandbox(" in text
            self._rest() if has_its_own else self._serve()
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            module = execute(name or f"program_{number}.py", text, program["line"], is_main=not name)
        if name and isinstance(getattr(module, "app", None), App):
            self.apps.append(module.app)
        return out.getvalue().splitlines()

    def _serve(self):
        for app in self.apps:
            if app not in self.served:
                self.workers.enter_context(app.run_worker(**self.job["worker"]))
                self.served.append(app)

    def _rest(self):
        self.workers.close()
        self.served.clear()


def execute(name, text, line, *, is_main):
    """Run a program, or a module without the lock of an import: its tasks run on other threads."""
    module = types.ModuleType("__main__" if is_main else name.removesuffix(".py").replace("/", "."))
    module.__file__ = str(Path(name).resolve())
    sys.modules[module.__name__] = module
    exec(compile("\n" * (line - 1) + text, name, "exec"), module.__dict__)  # noqa: S102 - that is what it is for
    return module


main()
