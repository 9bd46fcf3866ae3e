"""The client of the ClearML REST API.

``session.Session`` logs in, keeps the connection and repeats what failed for a moment; ``client.Client`` has the typed
calls; ``types`` the values; ``errors`` what can go wrong. This module imports none of them: whoever needs only the
value types does not pay for HTTP.
"""
