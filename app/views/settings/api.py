"""Where the API is, who may use it, and how it is asked."""

from __future__ import annotations

import json
import shlex
from urllib.parse import urlsplit

import streamlit as st
from streamlit import config

from app.settings import Settings
from engine import list_models

_BODY = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}


def show_api(settings: Settings, *, only_this_machine: bool) -> None:
    """The API's state, its address and an example, each ready to be copied."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("API", anchor=False, width="content")
        if only_this_machine:
            st.badge("On, for this machine", icon=":material/check:", color="green", help=_HERE)
        elif settings.api:
            st.badge("On, with keys", icon=":material/key:", color="green")
        else:
            st.badge("Off", icon=":material/block:", color="gray", help=_OFF)
    st.caption("Clients of OpenAI's API need this address.", help=_NAMES)
    st.code(f"{_origin()}/v1", language=None)
    installed = (model.name for model in list_models(settings.models_dir) if model.installed)
    example = _example(next(installed, "smollm2-135m"), with_key=not only_this_machine)
    with st.expander("Try it", icon=":material/terminal:"):
        st.code(example, language="bash", wrap_lines=True)


_HERE = (
    "No key is needed here, and nobody else gets in. `gearbox run --address 0.0.0.0 --api` lets others in, with keys."
)
_NAMES = (
    "What they call the model is an installed model's name, a server's such as `@office`, or `gearbox/` and the name "
    "of a saved configuration. "
    "`GET /v1/models` lists all of them."
)
_OFF = "Start Gearbox with `gearbox run --api`, or with GEARBOX_API=1."


def _origin() -> str:
    """The server as the reader's browser calls it."""
    page = urlsplit(st.context.url or f"http://localhost:{config.get_option('server.port')}")
    return f"{page.scheme}://{page.netloc}"


def _example(model: str, *, with_key: bool) -> str:
    body = shlex.quote(json.dumps({"model": model, **_BODY}, ensure_ascii=False))
    key = ['-H "Authorization: Bearer $GEARBOX_KEY"'] if with_key else []
    parts = [f"curl {_origin()}/v1/chat/completions", *key, '-H "Content-Type: application/json"', f"-d {body}"]
    return " \\\n  ".join(parts)
