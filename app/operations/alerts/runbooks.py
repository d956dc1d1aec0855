"""What to do first, for each figure that an alert may be about. Each is where somebody writes their own."""

from __future__ import annotations

from app.store import Figure

RUNBOOKS: dict[Figure, str] = {
    Figure.BURN: (
        "1. Open the runs of the alert, sorted by the figure of the objective: is it one model, one configuration, one "
        "caller?\n"
        "2. Look at the gear that the alert names: what changed there when it began?\n"
        "3. Many waiting, or disturbed runs: the machine is too small, or shared. Lower the keys' limits.\n"
        "4. If the objective asks for what this machine cannot do, change the objective, and say so to those it was "
        "promised to."
    ),
    Figure.ERRORS: (
        "1. Open the runs of the alert, status failed: the error says in words what was missing.\n"
        "2. Out of memory: fewer models at once, a smaller KV cache, fewer bits.\n"
        "3. Interrupted: a server died. Look at its log and start it again."
    ),
    Figure.TTFT: (
        "1. Is the queue long? Then requests wait, not the model.\n"
        "2. Prefix hit rate: prompts that were reused are read anew.\n"
        "3. Longer prompts than before take longer to read."
    ),
    Figure.TPOT: (
        "1. How many run at once? Passes are shared.\n"
        "2. Acceptance length: a drafter that no longer helps costs time.\n"
        "3. Disturbed runs: others use the processor."
    ),
    Figure.E2E: (
        "1. Longer answers, or slower ones? TTFT and TPOT tell.\n"
        "2. Cascades: what is sent up takes both models' time.\n"
        "3. Disturbed runs: others use the processor."
    ),
    Figure.QUALITY: (
        "1. Read some of the answers that were marked wrong: what do they share?\n"
        "2. Ask the same in 16 bits and with the cascade off: which gear changes the answer?\n"
        "3. Go back to the configuration that was in use before."
    ),
    Figure.HIT_RATE: (
        "1. Cache lab, Misses: which cause is new? A template or system prompt that changed spoils every prefix.\n"
        "2. Evicted: give the cache more memory (GEARBOX_KV_CACHE_MIB).\n"
        "3. A restart empties the cache: it fills again by itself."
    ),
    Figure.ACCEPTANCE: (
        "1. Speculation lab: does the drafter still suit what is asked now?\n"
        "2. Was the model or its precision changed under the drafter?\n"
        "3. Switch speculation off where it gains nothing: answers stay the same."
    ),
    Figure.ESCALATIONS: (
        "1. Router lab, In use: have the scores drifted, or is the small model answering worse?\n"
        "2. Other prompts than the threshold was chosen on: record them and choose again.\n"
        "3. More sent up costs time; fewer sent up may cost quality: look at checked answers."
    ),
    Figure.REPETITION: (
        "1. Which precision? Ask again in 16 bits.\n"
        "2. Reused KV: ask again with a cold cache.\n"
        "3. A repetition penalty of 1.1 makes repeats less likely."
    ),
    Figure.DEGRADED: (
        "1. Quantization lab: which precision is beyond its limits, and by how much?\n"
        "2. Choose one with more bits for the configurations in use.\n"
        "3. If the answers are good enough all the same, raise the alarm's limits there."
    ),
    Figure.STALE: (
        "1. Answers are safe: what was caught was computed anew.\n"
        "2. Switch prefix reuse off until the cause is known, and set GEARBOX_VERIFY_CACHE=1.\n"
        "3. Cache lab: which runs, which model, since when? Report it as a bug with a run's id."
    ),
    Figure.DISK: (
        "1. What fills it? Models, run database, logs.\n"
        "2. Remove models that nobody uses (Models page); delete runs that nobody needs.\n"
        "3. On a full disk no run is stored: results wait until there is room, and the sidebar says so."
    ),
}
