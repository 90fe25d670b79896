"""The accounts of moto that other tests use."""

from __future__ import annotations

import pytest
from tests.interop.moto_account import open_account


def test_an_account_has_no_resources_of_the_previous_account() -> None:
    with open_account() as account:
        account.client("sns").create_topic(Name="left")
    with open_account() as account:
        assert account.client("sns").list_topics()["Topics"] == []


def test_two_accounts_cannot_be_open_at_the_same_time() -> None:
    with (
        open_account(),
        pytest.raises(AssertionError, match="another fixture of this process runs moto"),
        open_account(),
    ):
        pass
    with open_account():
        pass
