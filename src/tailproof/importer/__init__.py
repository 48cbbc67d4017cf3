"""Writes the experiment for a collection of a user: ``tailproof import``.

`choice` asks every source what it takes a path for, `collection` reads what is there with the
chosen source, `recipe` has the rules that choose the values of the experiment, and `command` writes
it.
"""

from tailproof.importer.command import Import, import_collection

__all__ = ["Import", "import_collection"]
