"""A model of the hub: searched for, looked at before anything large is fetched, and the button that fetches it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import streamlit as st

from app import resources, units
from app.background.jobs import JobState
from app.literal import literal
from app.models.hub import LookedAt, Unreachable
from app.views.models.download import show_download
from app.views.models.expected import show_expected
from app.views.models.facts import show_facts
from app.views.shared.errors import show_error
from engine import HubFile, HubGguf, HubListing, HubModel, model_name_for, plan_checkpoint, plan_gguf

_REFRESH_EVERY = "0.5s"


def show_hub(models_dir: Path, listed: Collection[str]) -> None:
    """The whole section, below the models that are ``listed``: the page is drawn again for one that is here since."""
    st.subheader("Download from the hub", anchor=False)
    words = st.text_input(
        "Search the Hugging Face hub",
        key="hub-words",
        placeholder="Qwen3 0.6B, or an id such as Qwen/Qwen3-0.6B",
        persist_state="session",
    ).strip()
    if not words:
        return
    repository = words if "/" in words else _searched(words)
    if repository:
        _look(repository, models_dir, listed)


def _searched(words: str) -> str | None:
    """The id of the model that is chosen among those found."""
    hub = resources.get_hub_models()
    found = hub.search(words)
    if isinstance(found, JobState):
        _wait_or_fail(found, lambda: hub.search(words))
        return None
    if isinstance(found, Unreachable):
        _unreachable(found, "hub-search-again", lambda: hub.search(words, again=True))
        return None
    only = st.toggle("Only what runs here", value=True, key="hub-only", persist_state="session")
    shown = [listing for listing in found if listing.refused is None] if only else found
    if not shown:
        none = "No model of the hub has these words in its id."
        st.caption(f"None of the {len(found):,} models found runs here." if found else none)
        return None
    _table(shown)
    return st.selectbox(
        "Model", [listing.repository for listing in shown], index=None, key="hub-chosen", placeholder="Choose one"
    )


def _table(listings: list[HubListing]) -> None:
    st.dataframe(
        {
            "Model": [listing.repository for listing in listings],
            "Runs here": [_runs(listing) for listing in listings],
            "Family": [listing.family or units.MISSING for listing in listings],
            "Weights": [listing.kind for listing in listings],
            "Parameters": [_millions(listing.parameters) for listing in listings],
            "16 bits": [units.memory(listing.parameters and 2 * listing.parameters) for listing in listings],
            "Licence": [listing.licence or units.MISSING for listing in listings],
            "Downloads": [listing.downloads for listing in listings],
        },
        hide_index=True,
    )


def _runs(listing: HubListing) -> str:
    if listing.refused:
        return f"No: {listing.refused}"
    return "Yes, once its terms are accepted" if listing.gated else "Yes"


def _millions(parameters: int | None) -> str:
    return f"{parameters / 1e6:,.0f} million" if parameters else units.MISSING


def _look(repository: str, models_dir: Path, listed: Collection[str]) -> None:
    hub = resources.get_hub_models()
    looked = hub.look(repository)
    if isinstance(looked, JobState):
        _wait_or_fail(looked, lambda: hub.look(repository), lambda: hub.look(repository, again=True))
    elif isinstance(looked, Unreachable):
        _unreachable(looked, "hub-look-again", lambda: hub.look(repository, again=True))
    else:
        with st.container(border=True):
            _show_model(looked, models_dir, listed)


def _show_model(looked: LookedAt, models_dir: Path, listed: Collection[str]) -> None:
    model = looked.model
    st.markdown(f"**{literal(model.repository)}**")
    if model.refused:
        show_error(model.refused)
    if model.needs:
        st.warning(literal(model.needs), icon=":material/lock:")
        if st.button("Look again", icon=":material/refresh:", key="hub-gated-again"):
            resources.get_hub_models().look(model.repository, again=True)
            st.rerun()
        return
    chosen = _what(model)
    if isinstance(chosen, HubFile):
        _show_gguf(model, chosen, models_dir, listed)
    elif chosen:
        show_facts(
            {
                "Licence": model.licence or "not named",
                "Family": str((model.config or {}).get("model_type", units.MISSING)),
                "Download": units.memory(model.download_bytes),
                "Files": units.count(len(model.files)),
            }
        )
        show_expected(looked.weights)
        name = model_name_for(Path(model.repository.rpartition("/")[2]))
        show_download(lambda chosen: plan_checkpoint(model, chosen), name, models_dir, listed)


def _what(model: HubModel) -> HubFile | bool:
    """What is to be fetched: a GGUF file, or whether it is the checkpoint."""
    offered = {f"Checkpoint in safetensors, {units.memory(model.download_bytes)}": True} if model.files else {}
    options: dict[str, HubFile | bool] = {
        **offered,
        **{f"{file.name}, {units.memory(file.bytes)}": file for file in model.ggufs},
    }
    if len(options) < 2:
        return next(iter(options.values()), False)
    title = st.selectbox("What to download", list(options), key=f"hub-what-{model.repository}")
    return options[title]


def _show_gguf(model: HubModel, file: HubFile, models_dir: Path, listed: Collection[str]) -> None:
    hub = resources.get_hub_models()
    looked = hub.look_at_gguf(model, file)
    if isinstance(looked, JobState):
        _wait_or_fail(looked, lambda: hub.look_at_gguf(model, file), lambda: hub.look_at_gguf(model, file, again=True))
    elif isinstance(looked, Unreachable):
        _unreachable(looked, "hub-gguf-again", lambda: hub.look_at_gguf(model, file, again=True))
    else:
        _offer_gguf(model, file, looked, models_dir, listed)


def _offer_gguf(model: HubModel, file: HubFile, looked: HubGguf, models_dir: Path, listed: Collection[str]) -> None:
    summary = looked.summary
    show_facts(
        {
            "Licence": summary.licence or model.licence or "not named",
            "Family": summary.family,
            "Parameters": _millions(summary.parameters),
            "Context": units.counted(summary.context_length, "token"),
            "Weights": f"{', '.join(summary.encodings)}, {summary.bits_per_weight:.1f} bits each",
            "Chat template": "in the file" if summary.has_template else "none: messages are joined as they are",
            "Download": units.memory(file.bytes),
        }
    )
    show_expected(looked.weights)
    name = model_name_for(Path(file.file_name))
    show_download(lambda chosen: plan_gguf(model, file, chosen, summary.parameters), name, models_dir, listed)


def _wait_or_fail(state: JobState, ask: Callable[[], object], again: Callable[[], object] | None = None) -> None:
    """What is told while the hub is asked, and why that failed."""
    if state.running:
        st.fragment(_wait, run_every=_REFRESH_EVERY)(ask)
        return
    show_error(state.error or "The hub could not be asked.")
    if again and st.button("Try again", icon=":material/refresh:", key="hub-failed-again"):
        again()
        st.rerun()


def _wait(ask: Callable[[], object]) -> None:
    found = ask()
    if not isinstance(found, JobState) or not found.running:
        st.rerun()
    st.caption("Asking the hub…")


def _unreachable(hub: Unreachable, key: str, again: Callable[[], object]) -> None:
    st.info(literal(hub.why), icon=":material/cloud_off:")
    if st.button("Try again", icon=":material/refresh:", key=key):
        again()
        st.rerun()
