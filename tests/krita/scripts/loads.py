"""The installed plugin is there, with its docker, its action and its own websockets."""

import sys

import kt
from krita import Krita


def test():
    yield 0
    docker = kt.docker()
    assert docker.windowTitle() == "Velatura"
    assert docker.isVisible()
    docker.setVisible(False)
    Krita.instance().action("velatura_show").trigger()
    assert docker.isVisible()

    before = list(sys.path)
    import velatura._vendor.websockets.sync.client as client
    from velatura._vendor import websockets

    assert client.connect
    assert sys.path == before
    assert "websockets" not in sys.modules
    kt.report(version=websockets.__version__)
