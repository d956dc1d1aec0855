"""The other side of :mod:`engine.evaluation.sandbox`: two walled processes, one for an answer, one for its tests.

Everything here runs in a bare Python of its own (:mod:`~engine.evaluation.walled.launch`), so it imports nothing but
the standard library and its neighbours.
"""

UP = b"up\n"
"""What each of the two processes says once its walls stand."""
