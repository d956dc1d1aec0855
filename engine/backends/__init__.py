"""Who runs a model. What each backend can do stands in :attr:`engine.types.Backend.info`; those of this machine are a
class each (:mod:`engine.backends.classes`), those of servers need none of torch (:mod:`engine.backends.remote`)."""
