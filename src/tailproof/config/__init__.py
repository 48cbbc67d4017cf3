"""The configuration: pydantic models, one module a section, read strictly.

Import from the modules: what this file imported, every stage could reach, and an edit of the
report's options would train every expert again (see `tailproof.runtime.code_digest`).
"""
