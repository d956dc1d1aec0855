"""How an experiment was made and judged, for whoever wants to know."""

from __future__ import annotations

import streamlit as st

from app import units
from app.experiments.planning.divergence import no_kld
from app.experiments.results.arrays import Results
from app.literal import literal
from app.store import Pass


def show_method(results: Results) -> None:
    """Passes, statistics, configurations."""
    design = results.design
    lines = [
        f"{units.counted(len(design.prompts), 'prompt')} from {literal(design.prompts_from)}, "
        f"{units.counted(len(design.configurations), 'configuration')}, {units.counted(design.repeats, 'repeat')}, "
        f"seed {design.seed}.",
    ]
    if Pass.QUALITY in design.passes:
        lines.append(
            "Quality pass: several answers at a time share the engine's passes, each with the very tokens that it has "
            "alone; its times count for throughput only."
        )
    if Pass.SPEED in design.passes:
        lines.append(
            "Speed pass: one at a time with the engine to itself, models warm, configurations in random blocks of "
            "prompts; a disturbed run is made once more."
        )
    if any(no_kld(design, place) is None for place in range(len(design.configurations))):
        lines.append(
            "KLD from 16 bits: the 16-bit baseline's answers are read again by it and by each candidate with the same "
            "weights or KV in fewer bits; Σ p (log p − log q) in nats, a mean over all tokens, as the Quantization lab "
            "has it. It tells how alike two models are, not how good."
        )
    lines += [
        "Scores are the prompts' checkers'. A failure counts as wrong and is never left out.",
        "A judge, where one is asked, scores the prompts without a checker, and is named. It never sees the right "
        "answer; texts stand in quotations, and a reply counts only as one JSON object with the ticket of these very "
        "texts. Without a verdict there is no score: the prompt is left out, and counted. Its audit stands beside it.",
        "Differences are paired by prompt. Right and wrong: Tango's score interval, exact bounds below 50 prompts; "
        "other scores: BCa bootstrap. Prompts of one template count as one group.",
        "Quality is kept where the lower one-sided 95 % bound lies above the margin (non-inferiority). Prompts still "
        "needed: for a chance of 80 %, at the difference and spread seen.",
        "Categories are corrected for their number by Holm's method; a diamond in the chart marks one that differs.",
        "Speed: geometric mean of the ratios by prompt, Student's interval of their logarithms.",
        "Energy: what the machine counts (RAPL, NVML) while an answer has the engine to itself, whoever else used it; "
        "elsewhere a stated power × measured time, marked as estimated.",
    ]
    st.markdown("\n".join(f"- {line}" for line in lines))
    with st.expander("Configurations"):
        for each in design.configurations:
            st.markdown(f"**{literal(each.name)}**")
            st.json(each.config.to_dict(), expanded=False)
