"""Installs the server from inside Krita: standard library only, no Qt, Python 3.10.

machine    what this computer is         devices    which build of PyTorch fits it
release    what the zip brought          settings   what a painter or a studio chose
plan       where, how much               uv         the commands, and what uv says meanwhile
runner     one command, cancellable      troubles   what went wrong, in one sentence
installed  receipts, switching, removal  installer  the steps, in order
"""
