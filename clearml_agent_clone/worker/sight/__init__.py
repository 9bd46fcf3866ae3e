"""Sight: what a daemon tells about itself, to ``clearml-agent status``, to Prometheus and to health checks.

``snapshot``   what the daemon knows, as a frozen value
``runs``       what the folders of runs tell, with or without a daemon
``responder``  one thread that answers on a Unix socket and, if wanted, over HTTP
``metrics``    a snapshot as Prometheus text
``survey``     all agents of a state folder, for ``status``

Whoever only wants to know (``status``, a health check) needs no server and no configuration.
"""
