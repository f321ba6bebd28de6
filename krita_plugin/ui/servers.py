"""The servers of other computers: a list, and name, address and token of the one in hand."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...protocol.errors import LocalError
from ..preferences import MOST_SERVERS
from ..qt import QtWidgets, Signal
from ..servers import Server
from .parts import Combo, WrappedLabel, column, row, tool_button
from .words import tr

# Large enough for a pen, in pixels.
_TALL = 32


class ServersGroup(QtWidgets.QWidget):
    """changed(tuple of Server): the painter wrote, added or removed something."""

    changed = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._servers: tuple[Server, ...] = ()
        about = WrappedLabel("servers_about")
        about.setText(
            tr("This computer's own server needs no entry. The light in the docker switches.")
        )
        self.list = Combo("server_list", tr("Servers on other computers"))
        self.list.setMinimumHeight(_TALL)
        self.add = tool_button("server_add", "+", tr("Add a server on another computer"))
        self.remove = tool_button("server_remove", "\u2212", tr("Take this server off the list"))
        for button in (self.add, self.remove):
            button.setMinimumSize(_TALL, _TALL)
        self.fields = QtWidgets.QWidget()
        self.name = self._line("name", tr("Name"), tr("What the light's menu calls it"), 60)
        self.address = self._line(
            "address",
            tr("Address, such as 192.168.1.20:7861"),
            tr("Where it listens (host:port); wss:// before it where the server uses TLS"),
            200,
        )
        self.token = self._line(
            "token",
            tr("Token"),
            tr('The line in the file "token" of the Velatura folder there'),
            200,
        )
        self.token.setEchoMode(QtWidgets.QLineEdit.EchoMode.PasswordEchoOnEdit)
        self.wrong = WrappedLabel("server_wrong")
        lines = column(self)
        lines.addWidget(about)
        lines.addLayout(row(self.list, self.add, self.remove, stretch=0))
        inner = column(self.fields)
        for line in (self.name, self.address, self.token, self.wrong):
            inner.addWidget(line)
        lines.addWidget(self.fields)
        self.list.currentIndexChanged.connect(lambda index: self._show())
        self.add.clicked.connect(lambda checked=False: self._add())
        self.remove.clicked.connect(lambda checked=False: self._remove())
        self._offer()

    def show_servers(self, servers: Sequence[Server]) -> None:
        self._servers = tuple(servers)
        self._offer()

    @property
    def _server(self) -> Server | None:
        return next((x for x in self._servers if x.id == self.list.currentData()), None)

    def _line(self, field: str, hint: str, tip: str, longest: int) -> Any:
        line = QtWidgets.QLineEdit()
        line.setObjectName(f"server_{field}")
        line.setPlaceholderText(hint)
        line.setToolTip(tip)
        line.setMaxLength(longest)
        line.setMinimumSize(40, _TALL)
        line.editingFinished.connect(lambda: self._write(field, line.text().strip()))
        return line

    def _offer(self) -> None:
        self.list.offer([(server.id, server.name) for server in self._servers])
        self._show()

    def _show(self) -> None:
        server = self._server
        self.fields.setVisible(server is not None)
        self.list.setEnabled(server is not None)
        self.remove.setEnabled(server is not None)
        self.add.setEnabled(len(self._servers) < MOST_SERVERS)
        if server is not None:
            self.name.setText(server.name)
            self.address.setText(server.address)
            self.token.setText(server.token)
        self._judge(server)

    def _judge(self, server: Server | None) -> None:
        """Say what is wrong once there is something to judge."""
        said = ""
        if server is not None and server.address and server.token:
            try:
                _ = server.place
            except LocalError as error:
                said = tr(error.message)
        self.wrong.setText(said)
        self.wrong.setVisible(bool(said))

    def _add(self) -> None:
        taken = {server.name for server in self._servers}
        names = (tr("Server {n}", n=n) for n in range(1, len(taken) + 2))
        server = Server(secrets.token_hex(4), next(name for name in names if name not in taken))
        self._tell((*self._servers, server))
        self.list.choose(server.id)
        self.name.setFocus()
        self.name.selectAll()

    def _remove(self) -> None:
        gone = self._server
        self._tell(tuple(x for x in self._servers if x != gone))

    def _write(self, field: str, text: str) -> None:
        server = self._server
        if server is None or getattr(server, field) == text:
            return
        if field == "name" and not text:
            self._show()  # nothing to choose it by
            return
        try:
            new = replace(server, **{field: text})
        except LocalError as error:  # control characters, pasted
            self._show()
            self.wrong.setText(tr(error.message))
            self.wrong.setVisible(True)
            return
        self._tell(tuple(new if x == server else x for x in self._servers))

    def _tell(self, servers: tuple[Server, ...]) -> None:
        self._servers = servers
        self._offer()
        self.changed.emit(servers)
