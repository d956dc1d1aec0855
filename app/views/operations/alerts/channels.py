"""Where alerts are sent to, how the latest message fared, and the dialog that adds one."""

from __future__ import annotations

import streamlit as st

from app.literal import literal
from app.operations.alerts.sending import service_of
from app.store import Channel, Delivery, DeliveryState
from app.store.alerts.channels import MOST_TRIES, ChannelStore
from app.units import counted, moment
from app.views.shared.clock import reader_zone
from app.views.shared.desk import show_read_only, show_switch
from app.views.shared.errors import errors_shown

_REFRESH = "3s"
_IN_PLAIN_TEXT = "Addresses are kept in plain text: set GEARBOX_SECRET_KEY (`gearbox secret-key` makes one)."
_LIST = "https://appriseit.com/services/"


def show_channels(channels: ChannelStore, *, may_change: bool) -> None:
    """A list that follows what is on its way, with what changes it if the viewer may.

    Raises:
        StoreError: the run database cannot be read.
    """
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader("Channels", anchor=False, width="content")
        if may_change and st.button("New channel", icon=":material/add:", type="primary", key="new-channel"):
            add_channel(channels)
    if not may_change:
        show_read_only("channels")
    found = channels.all()
    if not found:
        st.info("Alerts are told of on this page alone. A channel sends them to a webhook, by e-mail or to a chat.")
        return
    if any(not channel.is_sealed for channel in found):
        st.caption(f":material/lock_open: {_IN_PLAIN_TEXT}")
    on_its_way = any(each.last and each.last.state in (DeliveryState.WAITING, DeliveryState.SENDING) for each in found)

    def draw() -> None:
        with errors_shown():
            for channel in channels.all():
                _show(channels, channel, may_change=may_change)

    st.fragment(draw, run_every=_REFRESH if on_its_way else None)()


def show_trouble(channels: ChannelStore) -> None:
    """Which channels did not take their latest message, if any did not.

    Raises:
        StoreError: the run database cannot be read.
    """
    for channel in channels.all():
        if channel.is_on and channel.trouble:
            st.warning(f"**{literal(channel.name)}** gets nothing. {channel.trouble}", icon=":material/key_off:")
        elif channel.is_on and channel.last is not None and channel.last.error is not None:
            st.warning(f"**{literal(channel.name)}**: {delivery_words(channel.last)}", icon=":material/send:")


def _show(channels: ChannelStore, channel: Channel, *, may_change: bool) -> None:
    def keep(on: bool) -> None:
        channels.switch(channel.id, on=on)

    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            show_switch(f"channel-on-{channel.id}", on=channel.is_on, keep=keep if may_change else None)
            st.markdown(f"**{literal(channel.name)}**  \n:small[:gray[{literal(channel.service)}]]", width="stretch")
            if may_change:
                _offer_changes(channels, channel)
        if channel.trouble:
            st.markdown(f":red[:material/key_off: {channel.trouble}]")
        if channel.last is not None:
            st.markdown(delivery_words(channel.last))
        else:
            st.caption("Nothing was sent yet.")


def _offer_changes(channels: ChannelStore, channel: Channel) -> None:
    if st.button("Send a test", icon=":material/send:", key=f"test-{channel.id}"):
        with errors_shown():
            channels.test(channel.id)
            st.rerun()
    if st.button("Remove", icon=":material/delete:", type="tertiary", key=f"remove-channel-{channel.id}"):
        confirm_removal(channels, channel)


def delivery_words(delivery: Delivery) -> str:
    """How a message fared, as Markdown."""
    zone = reader_zone()
    what = "Test" if delivery.event_id is None else "Alert"
    tries = counted(delivery.tries, "attempt")
    error = f" {literal(delivery.error)}" if delivery.error else ""
    match delivery.state:
        case DeliveryState.SENT:
            return f":green[:material/check: {what} sent {moment(delivery.tried_at, zone)}]"
        case DeliveryState.GIVEN_UP:
            return f":red[:material/error: {what} not sent after {tries}.{error}]"
        case DeliveryState.SENDING:
            return f":blue[:material/send: {what} is being sent, since {moment(delivery.tried_at, zone)}.{error}]"
        case DeliveryState.WAITING if delivery.tries:
            next_try = f"Try {delivery.tries + 1} of {MOST_TRIES} at {moment(delivery.due_at, zone)}."
            return f":orange[:material/schedule: {what} not sent yet.{error} {next_try}]"
        case _:
            return f":blue[:material/schedule: {what} waits to be sent.]"


@st.dialog("New channel", icon=":material/send:", on_dismiss="rerun")
def add_channel(channels: ChannelStore) -> None:
    """Ask for a name and an address, which is not shown again."""
    with st.form("new-channel-form", border=False):
        name = st.text_input("Name", max_chars=60, placeholder="Who is told", key="channel-name")
        url = st.text_input(
            "Address",
            type="password",
            placeholder="jsons://example.com/hook or mailtos://user:password@example.com",
            help="An Apprise URL. It is not shown again.",
            key="channel-url",
        )
        if not channels.keeps_secrets:
            st.caption(f":material/lock_open: {_IN_PLAIN_TEXT}")
        st.caption(f"Webhooks, e-mail and some hundred services: [addresses that Apprise knows]({_LIST}).")
        made = st.form_submit_button("Add channel", type="primary", key="add-channel")
    if not made:
        return
    with errors_shown():
        channels.add(name, service_of(url), url.strip())
        st.rerun()


@st.dialog("Remove this channel?", icon=":material/delete:")
def confirm_removal(channels: ChannelStore, channel: Channel) -> None:
    """Ask before a channel is forgotten."""
    st.write(f"“{literal(channel.name)}” is told of nothing from now on. Its address is forgotten.")
    if st.button("Remove channel", type="primary", key="confirm-remove-channel"):
        with errors_shown():
            channels.remove(channel.id)
            st.rerun()
