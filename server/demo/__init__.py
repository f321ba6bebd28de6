"""``velatura demo``: the main path from a painting to layers, without Krita.

``paintings`` says what is painted, ``checks`` what must hold, ``sheet`` shows it, ``run`` does it
all through a real server.
"""
