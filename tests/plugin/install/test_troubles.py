"""What goes wrong is one sentence that says what to do; what uv says decides which."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from velatura.krita_plugin.install.troubles import explain, of_os_error, without_secrets

SAID = [
    (
        "error: Failed to write `torch`\n  Caused by: No space left on device (os error 28)",
        "no_space",
    ),
    ("Caused by: There is not enough space on the disk. (os error 112)", "no_space"),
    ("failed to create directory: File name too long (os error 36)", "too_long"),
    ("Caused by: The filename or extension is too long. (os error 206)", "too_long"),
    ("failed to open file: Read-only file system (os error 30)", "read_only"),
    ("failed to remove file: Permission denied (os error 13)", "read_only"),
    (
        "failed to remove `python311.dll`: The process cannot access the file because it is being "
        "used by another process. (os error 32)",
        "locked",
    ),
    ("Hash mismatch for `torch==2.15.0`", "broken"),
    ("Failed to extract archive: torch.whl\n  Caused by: invalid local file header", "broken"),
    ("Request failed: error trying to connect: unsuccessful tunnel\n  407", "proxy"),
    ("client error (Connect)\n  Caused by: invalid peer certificate: UnknownIssuer", "proxy"),
    (
        "error: Request failed after 3 retries\n  Caused by: Failed to fetch: "
        "`https://example.org/simple/torch/`\n  Caused by: dns error\n  Caused by: failed to "
        "lookup address information",
        "no_network",
    ),
    ("Failed to download `numpy`\n  Caused by: error decoding response body", "no_network"),
    ("  x No solution found when resolving dependencies:", "missing"),
    ("error: No interpreter found for Python 3.11 in managed installations", "missing"),
]


@pytest.mark.parametrize(("output", "kind"), SAID)
def test_each_cause_is_told_from_what_uv_says(output, kind):
    trouble = explain(output, 2)
    assert trouble.kind == kind
    assert "\n" not in trouble.sentence
    assert trouble.sentence.endswith(".")


def test_a_full_disk_wins_over_the_download_that_failed_because_of_it():
    said = "Failed to download `torch`\n  Caused by: No space left on device (os error 28)"
    assert explain(said, 2).kind == "no_space"


def test_what_nobody_knows_is_told_as_it_was_said_without_a_password():
    trouble = explain("boom at https://anna:secret@nas/simple\n", 3)
    assert trouble.kind == "unknown"
    assert "boom" in trouble.sentence
    assert "secret" not in trouble.sentence


@pytest.mark.parametrize(("output", "code"), [("", 1), ("Resolved 3 packages", -9), ("\n \n", 2)])
def test_what_was_ended_from_outside_is_told_as_that(output, code):
    trouble = explain(output, code)
    assert trouble.kind == "ended"
    assert trouble.sentence.endswith("try again.")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, "no_space"),
        (errno.EROFS, "read_only"),
        (errno.EACCES, "read_only"),
        (errno.ENAMETOOLONG, "too_long"),
        (errno.ETXTBSY, "locked"),
        (errno.EIO, "unknown"),
    ],
)
def test_an_error_of_the_system_is_told_with_its_path(number, kind):
    trouble = of_os_error(OSError(number, "said"), Path("/paint"))
    assert trouble.kind == kind
    assert "/paint" in trouble.sentence


@pytest.mark.parametrize(
    "line",
    [
        "GET https://anna:secret@nas/simple/torch",
        "https://nas/torch.whl?token=secret&x=1",
        "https://secret@nas/simple",
    ],
)
def test_no_secret_of_an_address_is_logged(line):
    assert "secret" not in without_secrets(line)
    assert "nas" in without_secrets(line)


def test_the_users_own_folder_is_not_named():
    assert without_secrets("/home/anna/x", Path("/home/anna")) == "~/x"
