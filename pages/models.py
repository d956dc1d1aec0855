"""What can be run: the catalogue, folders of one's own, and how to bring in anything else."""

import streamlit as st

from app import resources
from app.costs.pricing import load_prices, prices_path
from app.literal import literal
from app.views.models.add import show_adding
from app.views.models.card import install_job, show_model
from app.views.models.download import show_unfinished
from app.views.models.hub import show_hub
from app.views.models.servers.listing import show_servers
from app.views.shared.errors import errors_shown
from engine import FAMILIES, QUANTIZATIONS, list_models

models_dir = resources.get_settings().models_dir

st.title("Models", anchor=False)

models = list_models(models_dir)
installing = [model.name for model in models if install_job(model.name).running]


@st.fragment(run_every="0.5s" if installing else None)
def show_library() -> None:
    """The cards, kept up to date while a model is being installed; the page runs again when one is."""
    if not all(install_job(name).running for name in installing):
        st.rerun()
    for model in models:
        show_model(model, models_dir)


show_library()

listed = {model.name for model in models}
show_unfinished(models_dir)
show_hub(models_dir, listed)
show_adding(models_dir, listed)

with errors_shown():
    store = resources.get_store()
    prices = load_prices(prices_path(resources.get_settings().data_dir))
    show_servers(
        resources.get_remote_models(), store.remotes, currency=prices.currency, may_change=store.may_administer
    )

st.subheader("Any other model", anchor=False)
st.markdown(
    f"A checkpoint of the {', '.join(FAMILIES[:-1])} or {FAMILIES[-1]} family in safetensors can be run as well, "
    f"at full precision or quantized by others ({', '.join(QUANTIZATIONS)}):\n"
    f"- put its folder into {literal(str(models_dir))}: it appears here;\n"
    "- or type the folder's path, or its id on the Hugging Face hub (`organisation/name`), as the model of a lane: "
    "it is then fetched into the hub's own cache."
)
