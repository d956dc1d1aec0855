"""The Router lab's step of using: the threshold that is set becomes a profile, and a profile a whole configuration."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st

from app import resources, units
from app.environment import app_environment
from app.literal import literal
from app.router.choosing.study import Study
from app.router.choosing.verdict import promise_in_words, promise_mark
from app.router.operation.in_use import configuration_by, keep_once, large_alone
from app.router.operation.profiles import check_installed, current_ladder
from app.router.recorded.data_sets import DataSet
from app.session import chat, playground
from app.session.configuration import DEFAULT_CONFIG
from app.session.identity import person_id
from app.session.labs import router as lab_session
from app.session.labs.router import PROFILE
from app.store import KeptProfile, RouterStore
from app.views.router.words import INTERVAL, flipped, metric, signed_percent
from app.views.runs.naming import one_line
from app.views.shared.errors import errors_shown
from engine.cascade import NEVER, Evidence, RouterProfile, router_class
from engine.types import CacheMode

_NAME = "router-profile-name"
_PLACES = {
    "playground": ("Use in Playground", ":material/play_circle:", "pages/playground.py"),
    "chat": ("Use in Chat", ":material/forum:", "pages/chat.py"),
}


def show_use(store: RouterStore, data: DataSet, study: Study, costed: Study) -> None:
    """The router as it is set, and the ways to put it to use.

    Args:
        store: keeps it.
        data: what it was chosen on.
        study: the router.
        costed: the same with the costs that the threshold was chosen by.
    """
    if not router_class(study.choice.kind).deployable:
        st.info(f"{study.choice} is a yardstick and cannot answer: choose another router to use one.")
        return
    threshold = lab_session.exact_threshold(study)
    with st.container(border=True), errors_shown():
        shown = "nothing goes up" if threshold >= NEVER else f"{threshold:.3f}"
        st.markdown(
            f"**{study.choice} at {shown}** · {literal(study.weak)} → {literal(study.strong)} · from "
            f"“{literal(data.name)}”"
        )
        profile = replace(_profile(data, study, threshold, name=data.name), promise=lab_session.promise(costed))
        if lab_session.chosen_before_a_change(costed):
            st.caption(":material/history: Chosen before answers, scores or costs changed: choose again for a promise.")
        else:
            show_promise(profile)
        evidence = costed.evidence(profile.boundaries[0].threshold, app_environment())
        _show_figures(evidence)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = one_line(st.text_input("Name", data.name, key=f"{_NAME} {data.id}", width=320) or "")
            if not name:
                st.caption(":red[Give it a name first.]")
            pressed = _use_buttons("router-use", disabled=not name)
            save = st.button(
                "Save only",
                key="router-profile-save",
                icon=":material/save:",
                disabled=not name,
                help="Keeps it as a profile, in use nowhere. A name that was used before gets a new version.",
            )
        if not (pressed or save):
            return
        kept_id = keep_once(store, replace(profile, name=name), evidence, store.profiles(), data.id)
        PROFILE.turn_to(kept_id)
        if pressed:
            put_to_use(store, next(kept for kept in store.profiles() if kept.id == kept_id), pressed)
        st.rerun()


def use_kept(store: RouterStore, kept: KeptProfile) -> None:
    """The same buttons for a profile that is kept."""
    if pressed := _use_buttons("router-profile-use", main=False):
        put_to_use(store, kept, pressed)
        st.rerun()


def put_to_use(store: RouterStore, kept: KeptProfile, place: str) -> None:
    """Let the cascade go by a profile on its ladder, and set a place's whole configuration to it.

    Args:
        store: keeps the profile.
        kept: the profile.
        place: ``playground``, ``chat``, or ``saved`` for a saved configuration.

    Raises:
        RouterProfileError: a model is missing here, or has other weights.
        StoreError: it could not be kept.
    """
    profile = kept.profile
    check_installed(profile, resources.get_settings().models_dir)
    title = f"“{profile.name}” version {kept.version}"
    mode = CacheMode.PREFIX if place == "chat" else CacheMode.KV
    config = configuration_by(profile, DEFAULT_CONFIG.sampling, mode)
    if place == "saved":
        name = resources.get_store().configurations.save_once(person_id(), profile.name, config.to_dict())
        store.activate(kept.id)
        st.toast(f"Saved as the configuration “{literal(name)}”.", icon=":material/bookmark_added:")
        return
    store.activate(kept.id)
    if place == "playground":
        words = f"Lane B goes by the router profile {title}; lane A is its largest model alone."
        playground.hold_against(large_alone(profile, DEFAULT_CONFIG.sampling), config, words)
    else:
        chat.begin_with(config, f"This new conversation goes by the router profile {title}.")
    st.switch_page(_PLACES[place][2])


def show_promise(profile: RouterProfile) -> None:
    """What a profile promises, and whether that is shown."""
    if profile.promise is None:
        st.caption(":material/tune: Set by hand: it promises nothing. “Pick for me” chooses one that does.")
        return
    mark, words = promise_mark(profile.promise), promise_in_words(profile.promise)
    if mark:
        st.caption(f":orange[:material/hourglass_top: Meant to {literal(words)}: {literal(mark)}.]")
    else:
        st.caption(f":green[:material/verified: Promises to {literal(words)}.]")


def _use_buttons(key: str, *, main: bool = True, disabled: bool = False) -> str:
    """The place whose button was pressed; empty if none was."""
    pressed = ""
    for place, (label, icon, _) in _PLACES.items():
        if st.button(
            label,
            key=f"{key}-{place}",
            icon=icon,
            type="primary" if main and place == "playground" else "secondary",
            disabled=disabled,
            help="Keeps it as a profile in use, and sets the whole configuration there with one click.",
        ):
            pressed = place
    if st.button(
        "Save as configuration",
        key=f"{key}-saved",
        icon=":material/bookmark_add:",
        disabled=disabled,
        help="Under its name among the saved configurations: one click brings it back in either lane.",
    ):
        pressed = "saved"
    return pressed


def _profile(data: DataSet, study: Study, threshold: float, name: str) -> RouterProfile:
    tiers = (study.weak, study.strong)
    ladder = current_ladder(tiers, data.weights, resources.get_settings().models_dir)
    return study.profile(
        name,
        threshold,
        {tier: identity.weights_sha256 for tier, identity in zip(tiers, ladder, strict=True)},
        data.sha256,
        datetime.now(UTC).date(),
    )


def _show_figures(evidence: Evidence) -> None:
    figures = evidence.figures
    with st.container(horizontal=True):
        metric("Sent to the large model", figures.get("share"), units.percent, help=INTERVAL)
        metric(
            "Quality kept",
            figures.get("quality_kept"),
            lambda value: f"{value:.2f}×",
            help=f"Of the large model's mean score. {INTERVAL}",
            missing="the large model scores 0",
        )
        saved = "Time saved" if evidence.unit == "s" else "Money saved"
        metric(saved, flipped(figures.get("cost_share")), signed_percent, help=f"Of the large model's own. {INTERVAL}")
    derived = f" Derived: {literal(evidence.derived_from)}." if evidence.derived_from else ""
    st.caption(f"On the {units.counted(evidence.held_out, 'prompt')} that had no part in choosing.{derived}")
