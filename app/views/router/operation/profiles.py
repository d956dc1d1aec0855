"""The Router lab's profiles: compare versions, put one in use, take it back, carry it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import streamlit as st

from app import resources, units
from app.literal import literal
from app.router.choosing.ladder import continues, join
from app.router.choosing.study import Study
from app.router.operation.in_use import keep_once
from app.router.operation.profiles import Remark, check_import, current_ladder, read_profile
from app.router.recorded.data_sets import DataSet
from app.router.way import made_from
from app.session.labs.router import PROFILE
from app.store import KeptProfile, RouterStore
from app.views.router.operation.use import show_promise, use_kept
from app.views.runs.naming import one_line
from app.views.shared.errors import errors_shown
from engine.cascade import NEVER, RouterKind, RouterProfile, profile_to_json
from engine.types import Tier

_NAME = "router-profile-name"
_IMPORTED = "router-profile-imported"
"""What is to be told of a file that was just imported: a message before a rerun is lost with it."""


def show_profiles(store: RouterStore, data: DataSet, study: Study, names: Mapping[str, str]) -> None:
    """What is kept, and the ways to bring more.

    Args:
        store: keeps them.
        data: the data set on view.
        study: the router that is set.
        names: of data sets, by id.
    """
    for remark in st.session_state.pop(_IMPORTED, ()):
        st.toast(literal(remark.text), icon=":material/check:" if remark.good else ":material/warning:")
    kept = store.profiles()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Profiles", anchor=False, width="content")
        _join(store, data, kept)
        _import(store, data, study)
    if not kept:
        st.info(
            "No profile is saved yet. A profile is a router with its threshold, made for these very weights and "
            "precisions: use the one above, and it is kept."
        )
        return
    _show_versions(kept, data, names)
    _show_chosen(store, kept)


def _import(store: RouterStore, data: DataSet, study: Study) -> None:
    with st.popover("Import", icon=":material/upload:"), st.form("router-profile-import", border=False), errors_shown():
        file = st.file_uploader("Profile", type="json", key="router-profile-file", help="As exported here.")
        if not st.form_submit_button("Import", key="router-profile-import-run"):
            return
        if file is None:
            st.error("Choose a file first.", icon=":material/error:")
            return
        profile, evidence = read_profile(file.name, file.getvalue())
        tiers = [study.weak, study.strong]
        # the lab looks at two tiers at a time: of three only the weights can differ
        if len(profile.ladder) > len(tiers):
            tiers = [Tier(model=tier.model, precision=tier.precision).key for tier in profile.ladder]
        models_dir = resources.get_settings().models_dir
        profile.check_fits(current_ladder(tiers, data.weights, models_dir))
        there = store.profiles()
        kept = keep_once(store, profile, evidence, there)
        PROFILE.turn_to(kept)
        known = any(each.id == kept for each in there)
        told = Remark(good=not known, text=f"“{profile.name}” is {'here already' if known else 'imported'}.")
        st.session_state[_IMPORTED] = (told, *check_import(profile, evidence, data.prompts, models_dir))
        st.rerun()


def _join(store: RouterStore, data: DataSet, kept: Sequence[KeptProfile]) -> None:
    """Where two profiles continue each other, make one of three tiers."""
    by_ids = {
        (low.id, high.id): (low, high)
        for low in kept
        for high in kept
        if continues(low.profile, high.profile) and low.profile.data_sha256 == data.sha256
    }
    if not by_ids:
        return
    with st.popover("Join", icon=":material/stairs:"), st.form("router-profile-join", border=False), errors_shown():
        ids = st.selectbox(
            "Profiles",
            list(by_ids),
            key="router-profile-joined",
            format_func=lambda pair: " → ".join(_title(each) for each in by_ids[pair]),
            help="Two routers of one kind, made from the same answers, become one ladder of three tiers.",
        )
        name = one_line(st.text_input("Name", key=f"{_NAME}-joined", placeholder="Three tiers") or "")
        if not st.form_submit_button("Join", key="router-profile-join-run", type="primary"):
            return
        if not name:
            st.error("Give it a name first.", icon=":material/error:")
            return
        lower, upper = by_ids[ids]
        profile = join(name, lower.profile, upper.profile, data.prompts, datetime.now(UTC).date())
        PROFILE.turn_to(store.keep_profile(profile, data_set=data.id))
        st.rerun()


def _title(kept: KeptProfile) -> str:
    return f"{kept.profile.name} · version {kept.version}"


def _show_versions(kept: Sequence[KeptProfile], data: DataSet, names: Mapping[str, str]) -> None:
    def share(each: KeptProfile, name: str) -> float | None:
        value = each.profile.figures.get(name)
        return None if value is None else 100 * value

    def saved(each: KeptProfile) -> float | None:
        value = share(each, "cost_share")
        return None if value is None else 100 - value

    column = st.column_config
    st.dataframe(
        {
            "Profile": [_title(each) for each in kept],
            "In use": [each.active for each in kept],
            "Router": [_router_name(each.profile) for each in kept],
            "Threshold": [_thresholds(each) for each in kept],
            "Sent up": [share(each, "share") for each in kept],
            "Quality kept": [each.profile.figures.get("quality_kept") for each in kept],
            "Time saved": [saved(each) for each in kept],
            "Missed": [share(each, "missed") for each in kept],
            "Made from": [_source(each, data, names) for each in kept],
            "Ladder": [each.ladder for each in kept],
            "Saved": [each.created_at for each in kept],
        },
        hide_index=True,
        placeholder=units.MISSING,
        column_config={
            "Profile": column.TextColumn(pinned=True),
            "In use": column.CheckboxColumn(help="What the cascade goes by on this ladder."),
            "Sent up": column.NumberColumn(
                format="%.0f %%",
                help="Strong-call share. Like the figures beside it: on the half of its prompts that had no part in "
                "choosing.",
            ),
            "Quality kept": column.NumberColumn(format="%.2f×", help="Of the large model's mean score."),
            "Time saved": column.NumberColumn(format="%.0f %%", help="Of the large model's own time."),
            "Missed": column.NumberColumn(format="%.1f %%", help="Kept a small answer where the large one is better."),
            "Made from": column.TextColumn(
                help="All recorded prompts of a data set: some teach the router, some choose its threshold, and half "
                "report."
            ),
            "Saved": column.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
        alt="Versions of router profiles",
    )


def _source(kept: KeptProfile, data: DataSet, names: Mapping[str, str]) -> str:
    """How many prompts of which data set, as far as it is here."""
    prompts = units.counted(kept.profile.prompts, "prompt")
    if made_from(kept, data):
        changed = kept.profile.data_sha256 != data.sha256
        return f"{prompts} of “{data.name}”{', before a change' if changed else ''}"
    name = names.get(kept.data_set or "")
    return f"{prompts} of “{name}”" if name else f"{prompts} that are not here ({kept.profile.data_sha256[:8]})"


def _router_name(profile: RouterProfile) -> str:
    learned = any(boundary.prompt_weights or boundary.answer_weights for boundary in profile.boundaries)
    reads = profile.kind is RouterKind.ROUTE and any(boundary.reads_first for boundary in profile.boundaries)
    early = f" after {units.counted(profile.after_tokens, 'token')}" if profile.after_tokens else ""
    return f"{profile.kind}{early}{' after reading' if reads else ''}{', learned' if learned else ''}".capitalize()


def _thresholds(kept: KeptProfile) -> str:
    values = (boundary.threshold for boundary in kept.profile.boundaries)
    return ", ".join("none goes up" if value >= NEVER else f"{value:.3f}" for value in values)


def _show_chosen(store: RouterStore, kept: Sequence[KeptProfile]) -> None:
    by_id = {each.id: each for each in kept}
    PROFILE.prepare(by_id)
    with st.container(horizontal=True, vertical_alignment="bottom"), errors_shown():
        chosen = by_id[
            st.selectbox(
                "Version",
                list(by_id),
                key=PROFILE.key,
                format_func=lambda id: _title(by_id[id]),
                width=320,
                persist_state="session",
            )
        ]
        back = st.button(
            "Revert",
            key="router-profile-revert",
            icon=":material/undo:",
            disabled=not chosen.active,
            help="Back to the version that was in use before.",
        )
        evidence = store.evidence(chosen.id)
        st.download_button(
            "Export",
            profile_to_json(chosen.profile, evidence),
            file_name=f"{_file_name(chosen)}.json",
            mime="application/json",
            key="router-profile-export",
            icon=":material/download:",
            on_click="ignore",
        )
    show_promise(chosen.profile)
    if evidence:
        of = units.counted(chosen.profile.prompts, "prompt")
        st.caption(f"Its figures are of the {evidence.held_out:,} of {of} that had no part in choosing.")
    with st.container(horizontal=True), errors_shown():
        use_kept(store, chosen)
    if back:
        with errors_shown():
            store.revert(chosen.ladder)
            st.rerun()


def _file_name(kept: KeptProfile) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in kept.profile.name.lower())
    return f"router-{plain}-{kept.version}"
