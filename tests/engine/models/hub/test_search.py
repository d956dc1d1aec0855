"""What the hub has and what of it runs here, as a search and a look tell it; what is said where it is not there."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from huggingface_hub import constants

from engine import estimate_hub, look_at_hub, look_at_hub_gguf, search_hub
from engine.errors import GearboxError, HubUnreachableError, UnknownModelError, UnsupportedModelError
from tests.support.fake_hub import FakeHub, Repository


def test_models_that_run_here_are_told_from_those_that_do_not(hub: FakeHub) -> None:
    weights = {"model.safetensors": b"", "tokenizer.json": b"", "config.json": b""}
    others: dict[str, tuple[dict[str, bytes], dict[str, Any]]] = {
        "org/tiny-bert": (weights, {"config": {"model_type": "bert"}}),
        "org/tiny-int8": (
            weights,
            {"config": {"model_type": "llama", "quantization_config": {"quant_method": "strange"}}},
        ),
        "org/tiny-slow": ({"model.safetensors": b""}, {"config": {"model_type": "llama"}}),
        "org/tiny-pickled": ({"pytorch_model.bin": b""}, {"config": {"model_type": "llama"}}),
        "org/tiny-gemma-GGUF": ({"a.gguf": b""}, {"gguf": {"architecture": "gemma3"}}),
        "org/tiny-part-GGUF": ({"a-00001-of-00002.gguf": b""}, {"gguf": {"architecture": "llama"}}),
    }
    for name, (files, told) in others.items():
        hub.repositories[name] = Repository(files, told)
    awq = {"quant_method": "awq", "bits": 4}
    hub.repositories["org/tiny-AWQ"] = Repository(
        weights, {"config": {"model_type": "qwen2", "quantization_config": awq}}
    )
    hub.repositories["org/tiny-gated"] = Repository(weights, {"config": {"model_type": "llama"}}, gated=True)
    found = {listing.repository: listing for listing in search_hub("tiny")}
    tiny = found["org/tiny"]
    assert (tiny.kind, tiny.family, tiny.licence, tiny.downloads, tiny.parameters) == (
        "safetensors", "qwen3", "apache-2.0", 1234, 100_000,
    )  # fmt: skip
    assert found["org/tiny-GGUF"].kind == "GGUF"
    assert found["org/tiny-GGUF"].licence == "mit"
    assert found["org/tiny-gated"].gated
    assert {name for name, listing in found.items() if listing.refused is None} == {
        "org/tiny", "org/tiny-GGUF", "org/tiny-gated", "org/tiny-AWQ",
    }  # fmt: skip
    assert found["org/tiny-AWQ"].kind == "safetensors, awq"
    for name, word in {
        "org/tiny-bert": "family bert",
        "org/tiny-int8": "strange",
        "org/tiny-slow": "tokenizer.json",
        "org/tiny-pickled": "neither in safetensors",
        "org/tiny-gemma-GGUF": "gemma3",
        "org/tiny-part-GGUF": "neither in safetensors",
    }.items():
        assert word in (found[name].refused or ""), name
    assert search_hub("nothing like it") == []


def test_a_look_tells_what_is_fetched_and_what_it_would_take(hub: FakeHub) -> None:
    files = hub.repositories["org/tiny"].files
    files |= {"README.md": b"x" * 999, "onnx/model.onnx": b"x", "consolidated.safetensors": b"x", "flax.msgpack": b"x"}
    files["model-00001-of-00002.safetensors"] = b"the same weights again"
    model = look_at_hub("org/tiny")
    fetched = {file.name for file in model.files}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched
    assert fetched.isdisjoint(
        {"README.md", "onnx/model.onnx", "consolidated.safetensors", "flax.msgpack", "model-00001-of-00002.safetensors"}
    )
    assert model.download_bytes == sum(len(files[name]) for name in fetched)
    assert model.licence == "apache-2.0"
    weights = estimate_hub(model)
    # an embedding that is not the head is held, and not read for each token
    assert weights["bf16"].bytes_a_token == weights["bf16"].bytes - 384 * 64 * 2
    assert weights["int4"].bytes < weights["int8"].bytes < weights["bf16"].bytes


def test_a_gguf_file_is_known_by_its_head(hub: FakeHub) -> None:
    model = look_at_hub("org/tiny-GGUF")
    assert [file.name for file in model.ggufs] == ["Tiny.Q4_0.gguf"]
    assert not model.files
    assert model.refused is None
    found = look_at_hub_gguf(model, model.ggufs[0])
    assert found.summary.family == "llama"
    assert "Q4_0" in found.summary.encodings
    assert found.summary.bytes == model.ggufs[0].bytes
    assert found.weights["int4"].bytes
    hub.repositories["org/tiny-GGUF"].files["Tiny.Q4_0.gguf"] = b"no GGUF file at all"
    with pytest.raises(UnsupportedModelError):
        look_at_hub_gguf(model, model.ggufs[0])


def test_gated_models_say_what_is_needed(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["org/tiny"].gated = True
    model = look_at_hub("org/tiny")
    assert model.gated
    assert model.files
    assert "no token is set" in (model.needs or "")
    assert f"{hub.url}/org/tiny, set HF_TOKEN" in (model.needs or "")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "the token that is set is not let in" in (look_at_hub("org/tiny").needs or "")
    monkeypatch.setenv("HF_TOKEN", hub.lets_in)
    assert look_at_hub("org/tiny").needs is None
    monkeypatch.delenv("HF_TOKEN")
    hub.repositories["org/tiny-GGUF"].gated = True
    model = look_at_hub("org/tiny-GGUF")
    with pytest.raises(UnknownModelError, match="set HF_TOKEN"):
        look_at_hub_gguf(model, model.ggufs[0])


def test_what_is_not_there_is_said(hub: FakeHub) -> None:
    with pytest.raises(UnknownModelError, match="The hub has no model org/other, or it is private"):
        look_at_hub("org/other")
    for name in ("tiny", "org/tiny/more", "../..", "org/ti ny", "https://huggingface.co/org/tiny"):
        with pytest.raises(UnknownModelError, match="A hub id is organisation/name"):
            look_at_hub(name)


@pytest.mark.parametrize(
    ("status", "word"),
    [(503, "answers with error 503"), (429, "fewer requests"), (407, "the proxy asks for a name")],
)
def test_a_hub_that_fails_is_told_of_in_a_sentence(hub: FakeHub, status: int, word: str) -> None:
    hub.status = status
    with pytest.raises(HubUnreachableError, match=word) as caught:
        search_hub("tiny")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("What is on this machine works without it.")


def test_a_proxy_s_page_is_no_hub(hub: FakeHub) -> None:
    hub.page = b"<html>Please log in</html>"
    for ask in (lambda: search_hub("tiny"), lambda: look_at_hub("org/tiny")):
        with pytest.raises(HubUnreachableError, match="no model hub, maybe a proxy's page"):
            ask()
    for page in (b'{"a": 1}', b"[3, null, {}]", b'[{"id": "no id"}]', b'[{"id": 3, "siblings": 4}]'):
        hub.page = page
        try:
            assert search_hub("tiny") == []
        except HubUnreachableError:
            assert page.startswith(b"{")
    for page in (b"3", b'{"sha": "../x"}', b'{"sha": 7}'):
        hub.page = page
        with pytest.raises(GearboxError):
            look_at_hub("org/tiny")


def test_without_a_network_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(HubUnreachableError, match=rf"\(127.0.0.1:{port}\) cannot be reached: there is no connection"):
        search_hub("tiny")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachableError, match="HF_HUB_OFFLINE is set"):
        search_hub("tiny")


def test_names_that_lead_elsewhere_are_no_files(hub: FakeHub) -> None:
    told = ["../up.safetensors", "/etc/passwd.json", "a\\b.json", "C:x.json", "a//b.json", "new\nline.json", ".."]
    hub.repositories["org/tiny"].files |= dict.fromkeys(told, b"x")
    assert {file.name for file in look_at_hub("org/tiny").files}.isdisjoint(told)
