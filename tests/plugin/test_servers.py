"""What a painter may type for a server, and what is said of the rest."""

from __future__ import annotations

import pytest
from velatura.krita_plugin.servers import url_of
from velatura.protocol.errors import LocalError


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("192.168.1.20:7900", "ws://192.168.1.20:7900"),
        (" studio.local ", "ws://studio.local:7861"),
        ("wss://studio.local/", "wss://studio.local:7861"),
        ("ws://Studio:80", "ws://studio:80"),
        ("[fd00::2]:7861", "ws://[fd00::2]:7861"),
    ],
)
def test_an_address_as_people_type_it_becomes_a_url(typed, url):
    assert url_of(typed) == url


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "my studio",
        "studio:port",
        "studio:99999",
        "http://studio",
        "ws://",
        "ws://me:secret@studio",
        "studio/velatura",
        "studio?x=1",
        "[fd00::2",
        "a\nb",
        "\x00",
    ],
)
def test_anything_else_is_refused_with_one_sentence_that_says_what_is_allowed(typed):
    with pytest.raises(LocalError, match="The address must be a name or a number, and its port"):
        url_of(typed)
