"""The embedded ClearML-compatible server: one process, SQLite and a folder of files.

It is made for a laptop, a demo and the tests. It imports nothing of the worker's side but ``errors``, ``util`` and
``api.types``; its own dependencies are the extra ``[server]``.
"""
