"""Import the plugin's zip as a painter does: by the menu, the file's name, and Krita's question."""

import os

import kt
from krita import Krita
from PyQt5.QtCore import Qt, QTimer
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QApplication, QFileDialog, QLineEdit, QMessageBox


def test():
    yield from kt.new_document(32, 32)
    asked = []

    def answer():
        box = QApplication.activeModalWidget()
        if isinstance(box, QFileDialog):
            name = box.findChild(QLineEdit, "fileNameEdit")
            name.setText(os.environ["VELATURA_ZIP"])
            QTest.keyClick(name, Qt.Key_Return)
        elif isinstance(box, QMessageBox):
            asked.append((box.windowTitle(), box.text()))
            (box.button(QMessageBox.Yes) or box.buttons()[0]).click()

    timer = QTimer()
    timer.timeout.connect(answer)
    timer.start(50)
    Krita.instance().action("plugin_importer_file").trigger()
    timer.stop()
    assert [title for title, _ in asked] == ["Activate Plugins?"], asked
    assert "<li>Velatura</li>" in asked[0][1], asked
    resources = Krita.instance().getAppDataLocation()
    for path in (
        "pykrita/velatura/__init__.py",
        "pykrita/velatura/manual.html",
        "pykrita/velatura/_vendor/websockets/LICENSE",
        "pykrita/velatura.desktop",
        "actions/velatura.action",
    ):
        assert os.path.exists(os.path.join(resources, path)), path
    assert Krita.instance().readSetting("python", "enable_velatura", "") == "true"
