"""Whole configurations with one click: plain, all gears, and those that a person saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import resources
from app.configurations.exchange import config_of, missing_models
from app.literal import literal
from app.session import playground, presets
from app.session.identity import person_id
from app.store import NAME_CHARACTERS, NameTakenError, SavedConfiguration
from app.views.gears.exchange import show_exchange, show_vllm
from app.views.gears.models import answering
from app.views.reports.sampling import sampling_summary
from app.views.runs.naming import config_name
from app.views.shared.errors import errors_shown, show_error
from engine import ModelInfo
from engine.errors import GearboxError

_CHOSEN, _NAME, _NEW_NAME, _LANE = "saved-chosen", "saved-name", "saved-new-name", "saved-lane"
_ASKED, _REFUSED = "saved-overwrite", "saved-refused"


def choose_whole(models: Sequence[ModelInfo], *, disabled: bool) -> None:
    """The buttons above the lanes."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("Set lane B to", width="content")
        st.button(
            "Plain",
            icon=":material/trip_origin:",
            key="use-plain",
            disabled=disabled,
            on_click=playground.use_plain,
            help="Lane B becomes lane A's model as Gearbox's own decoder runs it in 16 bits, without any gear.",
        )
        st.button(
            "All gears",
            icon=":material/settings_suggest:",
            key="use-all-gears",
            disabled=disabled or not any(model.installed for model in models),
            on_click=playground.use_all_gears,
            help=_all_gears_help(models),
        )
        with st.popover("Saved", icon=":material/bookmarks:", key="saved-configurations"), errors_shown():
            _show_saved(models, disabled=disabled)


def _all_gears_help(models: Sequence[ModelInfo]) -> str:
    config = presets.all_gears(models)
    if config is None:
        return "Install a model first."
    alone = "" if config.optimization.cascade else " A cascade needs a second model: install one on the Models page."
    return (
        f"Lane B becomes {literal(config_name(config))}, started warm; lane A the same model without any gear, so that "
        f"the race shows what they do.{alone}"
    )


def _show_saved(models: Sequence[ModelInfo], *, disabled: bool) -> None:
    """The configurations kept, what can be done with the one chosen, and a lane's to be saved."""
    saved = {each.id: each for each in resources.get_store().configurations.saved(person_id())}
    if refused := st.session_state.pop(_REFUSED, None):
        show_error(refused)
    if saved:
        if st.session_state.get(_CHOSEN) not in saved:
            st.session_state.pop(_CHOSEN, None)
        chosen = st.selectbox(
            "Saved configurations", list(saved), format_func=lambda each: _title(saved[each]), key=_CHOSEN
        )
        _show_chosen(saved[chosen], models, disabled=disabled)
    else:
        st.caption("Nothing is saved yet. Set a lane up, give it a name here, and one click brings it back.")
    _show_saving(saved)
    show_exchange(list(saved.values()), models)


def _show_chosen(saved: SavedConfiguration, models: Sequence[ModelInfo], *, disabled: bool) -> None:
    config = config_of(saved)
    if config is None:
        st.caption(":red[This version of Gearbox cannot read it.]")
    else:
        warm = " · starts warm" if saved.warm else ""
        st.caption(f"{literal(config_name(config))} · {sampling_summary(config.sampling)}{warm}")
        if missing := missing_models(config, answering([model.name for model in models if model.installed])):
            st.caption(f":orange[Not here: {literal(', '.join(missing))}]")
    with st.container(horizontal=True, gap="small"):
        for lane in playground.LANES:
            st.button(
                f"Use in lane {lane.upper()}",
                key=f"saved-use-{lane}",
                disabled=disabled or config is None,
                on_click=_use,
                args=(lane, saved),
            )
    if config is not None:
        show_vllm(config, models)
    if saved.person is None:
        st.caption("It belongs to this desk, and can be used by everybody.")
        return
    key = f"{_NEW_NAME}-{saved.id}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.session_state.setdefault(key, saved.name)
        st.text_input("Name", key=key, max_chars=NAME_CHARACTERS, on_change=_rename, args=(saved, key))
        st.button("Delete", icon=":material/delete:", key="saved-delete", on_click=_delete, args=(saved,))


def _show_saving(saved: Mapping[str, SavedConfiguration]) -> None:
    with (
        st.form("saved-form", border=False),
        st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
    ):
        st.selectbox(
            "Save",
            playground.LANES,
            index=len(playground.LANES) - 1,
            format_func=playground.lane_title,
            key=_LANE,
            width=110,
        )
        st.text_input("As", key=_NAME, max_chars=NAME_CHARACTERS, placeholder="Name")
        st.form_submit_button("Save", key="saved-save", icon=":material/bookmark_add:", on_click=_save)
    asked = st.session_state.get(_ASKED)
    if asked and any(each.name == asked for each in saved.values()):
        st.warning(f"“{literal(asked)}” is there already.", icon=":material/bookmark:")
        st.button("Overwrite it", key="saved-overwrite-it", on_click=_save, kwargs={"overwrite": True})


def _title(saved: SavedConfiguration) -> str:
    return saved.name if saved.person else f"{saved.name} (of the desk)"


# --- callbacks ----------------------------------------------------------------------------------------


def _use(lane: str, saved: SavedConfiguration) -> None:
    playground.use_saved(lane, saved)


def _save(*, overwrite: bool = False) -> None:
    lane, name = st.session_state[_LANE], st.session_state.get(_NAME) or ""
    st.session_state.pop(_ASKED, None)
    try:
        st.session_state[_CHOSEN] = resources.get_store().configurations.save(
            person_id(),
            name,
            playground.lane_form(lane).config().to_dict(),
            warm=playground.is_warm(lane),
            overwrite=overwrite,
        )
        st.session_state[_NAME] = ""
    except NameTakenError:
        st.session_state[_ASKED] = " ".join(name.split())
    except GearboxError as error:
        st.session_state[_REFUSED] = str(error)


def _rename(saved: SavedConfiguration, key: str) -> None:
    try:
        resources.get_store().configurations.rename(person_id(), saved.id, st.session_state[key] or "")
    except GearboxError as error:
        st.session_state[_REFUSED] = str(error)
        st.session_state[key] = saved.name


def _delete(saved: SavedConfiguration) -> None:
    with errors_shown():
        resources.get_store().configurations.delete(person_id(), saved.id)
