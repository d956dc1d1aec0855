"""The servers whose models can be used here: what each is, what its connection test found, and the buttons."""

from __future__ import annotations

import streamlit as st

from app import units
from app.literal import literal
from app.models.remote.registry import KeyPlace, RemoteModels, key_warning
from app.models.remote.testing import ABILITIES, found_abilities, testing, testing_key
from app.remote.address import host_of
from app.store import KeptRemote, RemoteStore
from app.views.models.servers.change import change_server, confirm_removal
from app.views.models.servers.new import add_server
from app.views.shared.background_job import BackgroundJob
from app.views.shared.clock import reader_zone
from app.views.shared.desk import show_read_only
from engine.types import Ability, RemoteAbilities

_MARKS = {
    Ability.YES: ":green[:material/check: {}]",
    Ability.NO: ":red[:material/close: {}]",
    Ability.UNKNOWN: ":gray[:material/help: {}: not known]",
}
_NO_KEYS = (
    "Keys cannot be kept encrypted here, so they stay in Gearbox's memory until it ends. With GEARBOX_SECRET_KEY they "
    "are kept: `gearbox secret-key` makes one."
)


def show_servers(remotes: RemoteModels, store: RemoteStore, *, currency: str, may_change: bool) -> None:
    """The whole section.

    Args:
        remotes: what there is.
        store: where it is kept.
        currency: of the prices.
        may_change: whether the viewer may add, test, change and remove them.

    Raises:
        StoreError: the run database cannot be read.
    """
    st.subheader(
        "Servers",
        anchor=False,
        help="Models that other programs run, through OpenAI's API: vLLM, SGLang, llama-server, Ollama, LM Studio, "
        "another Gearbox, or a hosted one. Each can answer, judge and be a tier of a cascade.",
    )
    if not may_change:
        show_read_only("servers")
    found = remotes.all()
    if not found:
        st.info("None yet. A model of a vLLM, llama-server, Ollama or hosted server can be used beside those above.")
    elif not remotes.can_seal and any(remotes.key_place(each) in (KeyPlace.MEMORY, KeyPlace.LOST) for each in found):
        st.caption(f":orange[:material/key: {_NO_KEYS}]")
    for remote in found:
        _show(remotes, store, remote, currency=currency, may_change=may_change)
    if may_change:
        add_server(remotes, currency, expanded=not found)


def _show(remotes: RemoteModels, store: RemoteStore, remote: KeptRemote, *, currency: str, may_change: bool) -> None:
    job = BackgroundJob(testing_key(remote), title=f"Testing {remote.name}", when_cancelled="Nothing was kept of it.")
    abilities = found_abilities(remote)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(literal(remote.name), anchor=False, width="content")
            _badge(abilities)
        st.caption(literal(f"{remote.served_name} at {host_of(remote.url)}"))
        _show_facts(remotes, remote, abilities, currency)
        if warning := key_warning(remote.url, has_key=remote.has_key):
            st.caption(f":orange[:material/lock_open: {warning}]")
        if abilities is not None:
            _show_abilities(abilities)
        job.follow()
        if not may_change:
            return
        with st.container(horizontal=True, gap="small"):
            if job.start_button(
                "Test connection",
                key=f"server-test-{remote.id}",
                icon=":material/network_check:",
                main=abilities is None,
                help="Asks the server for a few tokens, and lists what it can do.",
            ):
                job.start(testing(remotes, store, remote))
            if st.button("Edit", icon=":material/edit:", key=f"server-edit-{remote.id}"):
                change_server(remotes, remote, currency)
            if st.button("Remove", icon=":material/delete:", type="tertiary", key=f"server-remove-{remote.id}"):
                confirm_removal(remotes, remote)


def _badge(abilities: RemoteAbilities | None) -> None:
    if abilities is None:
        st.badge("Not tested", icon=":material/help:", color="gray")
    elif abilities.can_be_used:
        st.badge("Works", icon=":material/check:", color="green")
    else:
        st.badge("Does not work", icon=":material/error:", color="red")


def _show_facts(remotes: RemoteModels, remote: KeptRemote, abilities: RemoteAbilities | None, currency: str) -> None:
    facts = {"Address": remote.url, "Key": _key_words(remotes.key_place(remote), remote.key_variable)}
    if price := remote.price:
        parts = {
            "read": price.input_per_million,
            "reused": price.cached_per_million,
            "written": price.output_per_million,
        }
        facts["List price, 1 M tokens"] = " · ".join(
            f"{units.money(amount, currency)} {name}" for name, amount in parts.items() if amount is not None
        )
    if abilities is not None:
        facts |= {
            "Serves": abilities.software or "not told",
            "Context": units.counted(abilities.context_length, "token") if abilities.context_length else "not told",
        }
        times = {"Connecting": abilities.connect_s, "First token": abilities.first_token_s}
        facts |= {name: units.seconds(value) for name, value in times.items() if value is not None}
        facts["Tested"] = units.moment(remote.tested_at, reader_zone())
    with st.container(horizontal=True, gap="medium"):
        for label, value in facts.items():
            st.markdown(f":small[:gray[{label}]]  \n{literal(value)}", width="content")


def _key_words(place: KeyPlace, variable: str | None) -> str:
    match place:
        case KeyPlace.NONE:
            return "none"
        case KeyPlace.SEALED:
            return "kept encrypted"
        case KeyPlace.VARIABLE:
            return f"in {variable}"
        case KeyPlace.MEMORY:
            return "in Gearbox's memory"
        case KeyPlace.LOST:
            return "gone: give it again"


def _show_abilities(abilities: RemoteAbilities) -> None:
    with st.container(horizontal=True, gap="medium"):
        for name, (title, hint) in ABILITIES.items():
            st.markdown(_MARKS[getattr(abilities, name)].format(title), help=hint, width="content")
    for problem in abilities.problems:
        st.caption(f":orange[:material/warning: {literal(problem)}]")
