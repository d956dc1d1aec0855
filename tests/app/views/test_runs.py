from __future__ import annotations

import pytest
from streamlit.runtime.download_data_util import convert_data_to_bytes_and_infer_mime

from app.store import Configuration, RunFilter, RunStore
from app.views.runs.naming import configuration_name, configuration_names, one_line
from app.views.runs.table import _text, _written
from engine.types import OptimizationConfig, Precision
from tests.support.searching import keep


def configuration(key: str, precision: str = "int4") -> Configuration:
    return Configuration(
        config_hash=key,
        model="m",
        backend="local",
        precision=precision,
        gears=OptimizationConfig.at(Precision(precision)),
    )


def test_a_configuration_is_named_by_what_sets_it_apart() -> None:
    assert configuration_name("m", "local", "int4") == "m · int4"
    assert configuration_name("m", "reference", "bf16") == "m · reference"


def test_the_hash_tells_configurations_of_one_name_apart() -> None:
    names = configuration_names([configuration("aaaaaaaa"), configuration("bbbbbbbb"), configuration("c", "nf4")])
    assert names == {"aaaaaaaa": "m · int4 · aaaaaa", "bbbbbbbb": "m · int4 · bbbbbb", "c": "m · nf4"}


@pytest.mark.parametrize(
    ("text", "line"), [("one\n  two", "one two"), ("", ""), ("abcdef ghi", "abcdef…"), ("x" * 1000, "xxxxxxx…")]
)
def test_a_long_text_is_cut_to_one_line(text: str, line: str) -> None:
    assert one_line(text, 8) == line


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet"])
def test_a_download_is_of_a_kind_that_streamlit_takes(store: RunStore, name: str) -> None:
    keep(store, "an answer with an é")
    export = store.export_parquet if name == "parquet" else _text(getattr(store, f"export_{name}"))
    sent, _ = convert_data_to_bytes_and_infer_mime(_written(export, RunFilter()), unsupported_error=ValueError("no"))
    assert sent.startswith({"csv": b"\xef\xbb\xbfid,", "jsonl": b'{"id"', "parquet": b"PAR1"}[name])
    assert b"an answer with an" in sent
