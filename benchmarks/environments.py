"""Each peer in an environment of its own under ``.bench/``, made at the first use, its versions pinned here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".bench"
OURS = "celeriac"
C_CLIENT = "c"  # clients/publish.c, a peer without an environment
BARE = "bare"  # no queue at all: our own Python

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "celery": ("celery[redis]==5.7.0", "gevent==26.9.0", "hiredis==3.5.0"),
    "dramatiq": ("dramatiq[rabbitmq,redis]==2.2.1", "hiredis==3.5.0"),
    "taskiq": ("taskiq==0.13.0", "taskiq-aio-pika==0.6.1", "taskiq-redis==1.2.4", "hiredis==3.5.0", "uvloop==0.23.0"),
    "huey": ("huey==3.5.4", "redis==8.1.0", "hiredis==3.5.0", "gevent==26.9.0"),
    "arq": ("arq==0.28.0", "hiredis==3.5.0", "uvloop==0.23.0"),
    "streaq": ("streaq==7.2.0", "uvloop==0.23.0"),
    "pika": ("pika==1.4.4",),
}
PEERS = (*REQUIREMENTS, C_CLIENT, BARE)


def python_of(peer: str) -> Path:
    """Return the Python of a peer's environment, made if it is not there."""
    if peer in {OURS, C_CLIENT, BARE}:
        return Path(sys.executable)
    python = FOLDER / peer / "bin" / "python"
    if not _is_whole(peer):
        print(f"making .bench/{peer}: {', '.join(REQUIREMENTS[peer])}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER / peer)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *REQUIREMENTS[peer]], check=True)
        _mark(peer).write_text("\n".join(REQUIREMENTS[peer]))
    return python


def versions_of(peer: str) -> str:
    """Return the versions that its environment has of what is pinned."""
    if peer == C_CLIENT:
        return "librabbitmq, clients/publish.c"
    names = [requirement.partition("==")[0].partition("[")[0] for requirement in REQUIREMENTS.get(peer, (OURS,))]
    code = f"from importlib.metadata import version; print(', '.join(f'{{n}} {{version(n)}}' for n in {names!r}))"
    done = subprocess.run([str(python_of(peer)), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip() + (_commit() if peer == OURS else "")


def c_client() -> Path:
    """Return where ``clients/publish.c`` is compiled to."""
    return FOLDER / "publish"


def c_client_missing() -> str | None:
    """Compile ``clients/publish.c`` if it is not; return why that cannot be, if it cannot."""
    source, program = Path(__file__).with_name("clients") / "publish.c", c_client()
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return None
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return "there is no C compiler"
    FOLDER.mkdir(exist_ok=True)
    command = [compiler, "-O2", "-o", str(program), str(source), "-lrabbitmq"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"clients/publish.c does not compile: install librabbitmq-dev ({done.stderr.strip().splitlines()[0]})"
    return None


def _commit() -> str:
    """Return the commit that is measured, in parentheses, where git knows one."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f" ({done.stdout.strip()})" if done.returncode == 0 else ""


def _mark(peer: str) -> Path:
    return FOLDER / peer / "requirements.txt"


def _is_whole(peer: str) -> bool:
    mark = _mark(peer)
    return mark.exists() and mark.read_text() == "\n".join(REQUIREMENTS[peer])
