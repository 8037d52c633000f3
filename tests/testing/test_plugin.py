"""The fixtures for pytest, in runs of pytest as a program's own: each a process with its ``conftest.py``."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

SHOP = """
from celeriac import App

app = App("shop", broker="amqp://nobody@nowhere.invalid:1")


@app.task
def charge(amount):
    return 2 * amount
"""
CONFTEST = """
import pytest

pytest_plugins = ["celeriac.testing.plugin"]


@pytest.fixture
def celeriac_app_under_test():
    from shop import app

    return app
"""
CELERY = """
pytest_plugins = ["celeriac.testing.celery_fixtures"]
"""


@pytest.fixture
def run(tmp_path):
    """Run pytest on a test module beside a conftest; returns what it printed."""

    def run(tests, conftest=CONFTEST, *, passed, **files):
        (tmp_path / "shop.py").write_text(SHOP)
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "test_it.py").write_text(dedent(tests))
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(dedent(text))
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert f"{passed} passed" in done.stdout, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_app_under_test_stays_in_the_process(run):
    run(
        """
        import shop


        def test_what_is_sent(celeriac_sandbox):
            shop.charge.delay(21)
            celeriac_sandbox.assert_enqueued(shop.charge, args=(21,))


        def test_each_test_begins_with_nothing(celeriac_app, celeriac_sandbox):
            assert celeriac_app is shop.app
            assert celeriac_sandbox.enqueued() == []


        def test_a_worker_works(celeriac_worker):
            assert shop.charge.delay(21).get(timeout=10) == 42


        def test_a_worker_is_drained(celeriac_sandbox, celeriac_worker):
            result = shop.charge.apply_async((21,), countdown=3600)
            celeriac_sandbox.advance(3600)
            assert result.get(timeout=0) == 42


        def test_nothing_is_left_of_it():
            assert shop.app.conf.broker == ("amqp://nobody@nowhere.invalid:1",)
        """,
        passed=5,
    )


def test_settings_by_fixture_and_marker(run):
    run(
        """
        import threading

        import pytest


        @pytest.mark.celeriac(task_always_eager=True)
        def test_eager(celeriac_app):
            assert celeriac_app.tasks["shop.charge"].delay(4).get(timeout=0) == 8
            assert celeriac_app.conf.acks_late is False


        def test_solo(celeriac_app, celeriac_sandbox):
            @celeriac_app.task
            def where():
                return threading.get_ident()

            result = where.delay()
            celeriac_sandbox.drain()
            assert result.get(timeout=0) == threading.get_ident()


        def test_more_at_a_time(celeriac_app, celeriac_worker):
            meet = threading.Barrier(2)

            @celeriac_app.task
            def together():
                return meet.wait(10) >= 0

            assert all(result.get(timeout=10) for result in together.delay_many([(), ()]))
        """,
        conftest=CONFTEST
        + dedent(
            """
            @pytest.fixture(scope="session")
            def celeriac_settings():
                return {"acks_late": False}


            @pytest.fixture(scope="session")
            def celeriac_sandbox_pool():
                return "solo"


            @pytest.fixture(scope="session")
            def celeriac_worker_options():
                return {"concurrency": 2}
            """
        ),
        passed=3,
    )


def test_without_an_app_each_test_has_a_new_one(run):
    run(
        """
        seen = []

        def check(app):
            assert list(app.tasks) == []
            assert all(app is not other for other in seen)
            seen.append(app)

            @app.task
            def one():
                return 1

        def test_one(celeriac_app):
            check(celeriac_app)

        def test_other(celeriac_app):
            check(celeriac_app)
        """,
        conftest='pytest_plugins = ["celeriac.testing.plugin"]',
        passed=2,
    )


def test_nobody_has_them_who_does_not_ask(run):
    printed = run(
        """
        import sys


        def test_nothing():
            assert not [name for name in sys.modules if name.startswith("celeriac")]


        def test_there_is_no_fixture(request):
            assert not request.config.pluginmanager.has_plugin("celeriac.testing.plugin")
        """,
        conftest="",
        passed=2,
    )
    assert "error" not in printed


def test_who_asks_and_uses_none_imports_nothing_heavy(run):
    run(
        """
        import sys


        def test_nothing():
            heavy = ("celeriac.app", "celeriac.worker", "celeriac_memory", "celeriac.testing.sandbox")
            assert not [name for name in sys.modules if name.startswith(heavy)]
        """,
        conftest='pytest_plugins = ["celeriac.testing.plugin", "celeriac.testing.celery_fixtures"]',
        passed=1,
    )


def test_celery_s_names(run):
    run(
        """
        import pytest

        import shared


        def test_an_app(celery_app, celery_worker):
            @celery_app.task
            def double(x):
                return 2 * x

            assert double.delay(21).get(timeout=10) == 42
            assert celery_app.conf.acks_late is False
            assert celery_app.conf.default_queue == "other"


        def test_shared_tasks(celery_app, celery_worker):
            assert shared.add.delay(1, 2).get(timeout=10) == 3


        @pytest.mark.celery(task_always_eager=True, result_backend="redis://nowhere.invalid")
        def test_the_marker(celery_app):
            assert shared.add.delay(1, 2).get(timeout=0) == 3


        def test_the_session(celery_session_app, celery_session_worker):
            assert celery_session_app.send_task("shared.add", (1, 2)).get(timeout=10) == 3


        def test_the_same_session(celery_session_app, celery_session_worker):
            assert celery_session_app.tasks["shared.add"].delay(2, 2).get(timeout=10) == 4
        """,
        conftest=CELERY
        + dedent(
            """
            import pytest


            @pytest.fixture(scope="session")
            def celery_config():
                return {
                    "broker_url": "amqp://nowhere.invalid:1",
                    "result_backend": "redis://",
                    "task_acks_late": False,
                    "task_default_queue": "other",
                }


            @pytest.fixture(scope="session")
            def celery_includes():
                return ["shared"]


            @pytest.fixture(scope="session")
            def celery_worker_parameters():
                return {"perform_ping_check": False, "shutdown_timeout": 30, "queues": ["other"]}
            """
        ),
        shared="""
        from celeriac.compat import shared_task


        @shared_task
        def add(x, y):
            return x + y
        """,
        passed=5,
    )


def test_what_celery_s_settings_cannot_mean_here_is_refused(run):
    printed = run(
        """
        import pytest

        from celeriac.errors import UnknownOption


        def test_it(request):
            with pytest.raises(UnknownOption, match="task_annotations"):
                request.getfixturevalue("celery_app")
        """,
        conftest=CELERY
        + dedent(
            """
            import pytest


            @pytest.fixture(scope="session")
            def celery_config():
                return {"task_annotations": "gzip"}
            """
        ),
        passed=1,
    )
    assert "error" not in printed
