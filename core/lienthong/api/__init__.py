"""The sidecar HTTP API: documents in and out for a product that can call HTTP; health and metrics for operators.

``app`` builds and serves it, ``documents`` and ``inbox`` are what products call, ``operations`` is what operators and
their tools call, ``uploads`` streams what comes in, ``schemas`` says what callers may send, ``problems`` what they are
told when it cannot be done.
"""
