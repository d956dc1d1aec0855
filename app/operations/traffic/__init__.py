"""Load for any OpenAI-compatible server: a recorded trace or a synthetic one, replayed and measured.

``arrivals`` says what a request of a trace is, ``traces`` reads files of them, ``synthetic`` draws them. ``prompts``
writes texts for those that have only lengths. ``client`` asks one request and times its answer, ``replay`` asks all
when they are due, ``report`` adds up what came of it.
"""
