"""Names the App under test; each test has it in a sandbox of its own."""

import pytest
import shop

pytest_plugins = ["celeriac.testing.plugin"]


@pytest.fixture
def celeriac_app_under_test():
    shop.receipts.clear()
    shop.ledger.clear()
    return shop.app
