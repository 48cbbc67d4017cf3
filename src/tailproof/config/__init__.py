"""The configuration: strict pydantic models, one module per section.

Import from the modules, not from here: every stage would depend on whatever this file imported, and
a change of a report option would train every expert again (see `tailproof.runtime.code_digest`).
"""
