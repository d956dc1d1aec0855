"""What runs on CUDA, as far as a CPU can run it: the same classes and the same static steps, without graphs.

Tests that need a GPU are skipped where there is none. Where tensors must not stray to the CPU, the ``meta`` device
stands in: operations that mix devices fail on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig

from app import resources
from app.environment import measured_here
from app.views.gears.precisions import offered_precisions, precision_help
from engine import Engine, machine_environment
from engine.cache import KVCache
from engine.command_line import run as main
from engine.errors import DeviceUnavailableError, InsufficientMemoryError
from engine.machine.device import choose_device
from engine.machine.memory import RESERVE_BYTES, require_memory
from engine.models.decoders.decoder import Decoder, DecoderConfig, EagerDecoder
from engine.models.decoders.graph_step import GraphDecoder, bucket_of
from engine.models.decoders.weights import load_decoder
from engine.models.quantized.stored_weights import StoredWeights
from engine.quantization import Linear, cuda_scheme_of
from engine.quantization.int4 import PlainInt4Linear, TinyGemmInt4Linear, tinygemm_works
from engine.quantization.int8 import CudaInt8Linear
from engine.quantization.llm_int8 import LlmInt8Linear
from engine.quantization.nf4 import CudaNf4Linear
from engine.serving.memory.pool import ModelPool
from engine.types import CPU_PRECISIONS, PRECISIONS, DeviceChoice, Message, Precision
from tests.conftest import SMALL
from tests.engine.models.test_decoder import assert_same_rows, chunked_logits, load_tiny
from tests.engine.quantization.test_precisions import TEMPLATE_TOKENS, TEXT
from tests.engine.quantization.test_schemes import matrix, on_a_grid, relative_error
from tests.engine.test_engine import failure, finish, request_for
from tests.support.loading import open_model
from tests.support.near_ties import PARTING_ULPS, changed_choices, gap_in_ulps
from tests.support.tiny import FAMILIES, make_tiny_checkpoint

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")
BOUNDS: dict[type[Linear], float] = {
    CudaInt8Linear: 0.02,
    LlmInt8Linear: 0.02,
    PlainInt4Linear: 0.13,
    CudaNf4Linear: 0.13,
}
"""Largest relative error of a product on normally distributed weights and activations."""


def ids_of(n: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 256, (n,), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def torch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models in 16 bits are what runs on CUDA as well: on a CPU our own kernels take them over."""
    monkeypatch.setattr("engine.models.decoders.weights.library", lambda: None)


def as_graph_decoder(decoder: Decoder) -> GraphDecoder:
    assert isinstance(decoder, EagerDecoder)
    return GraphDecoder(decoder.config, decoder.embedding, decoder.layers, decoder.norm, decoder.head)


# --- the choice of a device -------------------------------------------------------------------------


def test_auto_takes_cuda_where_torch_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device(DeviceChoice.AUTO).type == choose_device(DeviceChoice.CUDA).type == "cuda"
    assert choose_device(DeviceChoice.CPU).type == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device(DeviceChoice.AUTO).type == "cpu"
    with pytest.raises(DeviceUnavailableError, match="GEARBOX_DEVICE"):
        choose_device(DeviceChoice.CUDA)


def test_cuda_that_is_not_there_fails_the_run_and_not_the_engine(
    tiny_models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    engine = Engine(tiny_models_dir, device=DeviceChoice.CUDA)
    failed = [failure(engine, request_for("hi", model="tiny")) for _ in range(2)]
    engine.close()
    assert {one.kind for one in failed} == {"DeviceUnavailableError"}
    assert "no CUDA device" in failed[0].error


def test_a_run_says_where_it_ran(tiny_models_dir: Path) -> None:
    engine = Engine(tiny_models_dir, device=DeviceChoice.CPU)
    run = finish(engine, request_for("hi", model="tiny", max_tokens=2))
    assert run.environment["device"] == engine.status().device == "cpu"
    engine.close()


def test_llm_int8_is_refused_on_the_cpu(tiny_models_dir: Path) -> None:
    engine = Engine(tiny_models_dir, device=DeviceChoice.CPU)
    failed = failure(engine, request_for("hi", model="tiny", precision=Precision.LLM_INT8))
    engine.close()
    assert failed.kind == "InvalidRequestError"
    assert "needs an NVIDIA GPU" in failed.error
    assert "int8" in failed.error


def test_the_command_line_refuses_a_device_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["generate", "--model", SMALL, "--prompt", "hi", "--device", "gpu"])
    assert stopped.value.code == 2
    assert "must be one of auto, cpu, cuda, and is 'gpu'" in capsys.readouterr().err


@pytest.mark.parametrize(("device", "offered"), [("cpu", CPU_PRECISIONS), ("NVIDIA H100", PRECISIONS)])
def test_llm_int8_is_offered_on_a_gpu_alone(
    device: str, offered: tuple[Precision, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SimpleNamespace(status=lambda: SimpleNamespace(device=device))
    monkeypatch.setattr(resources, "get_engine", lambda: engine)
    assert offered_precisions() == offered
    assert [f"**{precision}**" in precision_help() for precision in PRECISIONS] == [p in offered for p in PRECISIONS]


def test_figures_of_another_device_are_not_expected_here() -> None:
    here = machine_environment()
    assert measured_here(here, "cpu")
    assert not measured_here(here, "NVIDIA H100")
    assert measured_here({**here, "device": "NVIDIA H100"}, "NVIDIA H100")


def test_a_gpu_is_asked_for_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: 10**15)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (RESERVE_BYTES, 2 * RESERVE_BYTES))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 3000)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 1000)
    gpu = torch.device("cuda", 0)
    require_memory(2000, "A model", device=gpu)
    with pytest.raises(InsufficientMemoryError, match="of GPU memory"):
        require_memory(2001, "A model", device=gpu)
    require_memory(2001, "A model", device=CPU)


# --- the matrices -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", BOUNDS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("biased", [False, True])
def test_a_product_is_close_to_full_precision(cls: type[Linear], rows: int, biased: bool) -> None:
    weight, x = matrix(192, 256), matrix(rows, 256, seed=1)
    bias = matrix(1, 192, seed=2)[0] * 10 if biased else None
    wanted = torch.nn.functional.linear(x.float(), weight.float(), None if bias is None else bias.float())
    linear = cls.pack(weight, bias)
    assert 1e-4 < relative_error(linear(x), wanted) < BOUNDS[cls]
    again = cls.from_state({name: tensor.clone() for name, tensor in linear.state().items()})
    assert torch.equal(again(x), linear(x))
    weighs = sum(tensor.nbytes for name, tensor in linear.state().items() if name not in ("shape", "bias"))
    assert cls.estimate_bytes(192, 256) == weighs


@pytest.mark.parametrize("rows", [1, 5])
def test_llm_int8_keeps_what_outliers_drown_in_plain_int8(rows: int) -> None:
    """Two columns of activations, 100 times the others and without weight, leave plain 8 bits one level for those."""
    weight, x = matrix(192, 256), matrix(rows, 256, seed=1)
    x[:, [7, 100]] = torch.tensor([300.0, -250.0], dtype=torch.bfloat16)
    weight[:, [7, 100]] = 0
    wanted = x.float() @ weight.float().T
    assert relative_error(CudaInt8Linear.pack(weight, None)(x), wanted) > 0.3
    assert relative_error(LlmInt8Linear.pack(weight, None)(x), wanted) < 0.02


def test_an_activation_beyond_fp16_stays_a_number() -> None:
    weight, x = matrix(64, 128), matrix(2, 128, seed=1)
    x[1, 5] = 1e6
    wanted = x.float() @ weight.float().T
    for cls in (CudaInt8Linear, LlmInt8Linear):
        assert relative_error(cls.pack(weight, None)(x), wanted) < 0.02
    x[1, 5] = torch.inf
    for cls in (CudaInt8Linear, LlmInt8Linear):
        y = cls.pack(weight, None)(x)
        assert torch.isfinite(y[0]).all()
        assert not torch.isfinite(y[1]).any()


def test_a_row_of_zeros_gives_zeros() -> None:
    x = matrix(2, 128)
    x[0] = 0
    for cls in (CudaInt8Linear, LlmInt8Linear):
        y = cls.pack(matrix(64, 128), None)(x)
        assert not y[0].any()
        assert y[1].any()


@pytest.mark.parametrize("rows", [1, 4, 60])
def test_nf4_is_the_product_of_the_plain_dequantized_weights(rows: int) -> None:
    linear, x = CudaNf4Linear.pack(matrix(96, 128), None), matrix(rows, 128, seed=1)
    assert linear.absmax.shape == (96 * 128 // 64,)  # packed for the CPU it would be [in / 64, out]
    assert relative_error(linear(x), x.float() @ linear.dequantize().float().T) < 0.004


def test_int4_keeps_the_codes_it_is_given() -> None:
    codes = on_a_grid(64, 4, seed=7)
    linear = PlainInt4Linear.pack(torch.zeros(64, 128), None, codes)
    assert relative_error(linear.dequantize(), codes.dequantize()) < 0.004


def test_without_its_kernel_int4_is_dequantized_and_the_run_can_say_so() -> None:
    tinygemm_works.cache_clear()
    assert not tinygemm_works(CPU)  # the kernel is CUDA's alone
    scheme = cuda_scheme_of(Precision.INT4, CPU)
    assert (scheme.body, scheme.kernel) == (PlainInt4Linear, "int4 dequantized, torch bf16")


@pytest.mark.parametrize("sound", [True, False])
def test_a_kernel_that_multiplies_by_something_else_is_not_used(sound: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for torch's kernel: it reads the plain layout, or that with the halves swapped."""
    monkeypatch.setattr(
        TinyGemmInt4Linear, "_arranged", staticmethod(lambda n: n if sound else (n << 4) | (n >> 4)), raising=True
    )
    monkeypatch.setattr(TinyGemmInt4Linear, "__call__", PlainInt4Linear.__call__)
    monkeypatch.setattr(TinyGemmInt4Linear, "dequantize", PlainInt4Linear.dequantize)
    tinygemm_works.cache_clear()
    assert tinygemm_works(CPU) == sound
    assert cuda_scheme_of(Precision.INT4, CPU).body is (TinyGemmInt4Linear if sound else PlainInt4Linear)
    tinygemm_works.cache_clear()


@pytest.mark.parametrize("in_features", [96, 192, 256])
def test_the_int4_kernel_takes_the_shapes_it_is_given(in_features: int) -> None:
    """torch's own checks of the packed layout; ``meta`` computes no values."""
    nibbles = torch.empty((64, in_features // 2), dtype=torch.uint8, device=ELSEWHERE)
    packed = TinyGemmInt4Linear._arranged(nibbles)
    assert packed.dtype == torch.int32
    assert packed.numel() * 4 == nibbles.numel()


# --- the static step --------------------------------------------------------------------------------


def test_buckets_grow_with_the_sequence_up_to_the_cache() -> None:
    ends = (1, 256, 257, 512, 513, 900)
    assert [bucket_of(end, 900) for end in ends] == [256, 256, 512, 512, 900, 900]
    assert bucket_of(20, 64) == 64


@pytest.mark.usefixtures("torch_only")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("windowed", [False, True], ids=["full", "windowed"])
@pytest.mark.parametrize("sizes", [[1] * 60, [30, 1, 4, 16, 9], [17, 43]], ids=str)
@torch.inference_mode()
def test_static_steps_are_the_eager_ones(tmp_path: Path, family: Any, windowed: bool, sizes: list[int]) -> None:
    window: dict[str, Any] = {"sliding_window": 16}
    if family == "llama" and windowed:
        pytest.skip("llama has no windows")
    if family != "mistral":
        window |= {"use_sliding_window": True, "max_window_layers": 1}
    eager = load_tiny(make_tiny_checkpoint(tmp_path, family, **(window if windowed else {})))
    static = as_graph_decoder(eager)
    ids = ids_of(60)
    assert_same_rows(chunked_logits(static, ids, sizes), chunked_logits(eager, ids, sizes))


@pytest.mark.usefixtures("torch_only")
@torch.inference_mode()
def test_static_steps_go_on_from_one_bucket_to_the_next_and_after_a_cut(tmp_path: Path) -> None:
    eager = load_tiny(make_tiny_checkpoint(tmp_path, "qwen3", max_position_embeddings=1024))
    static = as_graph_decoder(eager)
    ids = ids_of(300)
    caches = [decoder.new_cache(300) for decoder in (static, eager)]
    hidden = []
    for decoder, cache in zip((static, eager), caches, strict=True):
        decoder.forward(ids[:250], cache)
        decoder.forward(ids_of(5, seed=9), cache)  # drafted, and rejected
        cache.truncate(250)
        hidden.append(torch.cat([decoder.forward(part, cache) for part in ids[250:].split(5)]))
    assert_same_rows(*hidden)
    assert caches[0].length == 300
    with pytest.raises(ValueError, match="301 positions"):
        static.forward(ids[:1], caches[0])


@pytest.mark.usefixtures("torch_only")
@torch.inference_mode()
def test_static_steps_begin_anew_on_a_cache_that_was_cut_to_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cache.kv_cache.takes_by_use", lambda device: False)  # as on a GPU
    static = as_graph_decoder(load_tiny(make_tiny_checkpoint(tmp_path, "llama")))
    ids, cut, whole = ids_of(20), static.new_cache(64), static.new_cache(64)
    for cache in (cut, whole):
        static.forward(ids[:16], cache)
        static.forward(ids[16:17], cache)
    cut.shrink()
    for cache in (cut, whole):
        cache.truncate(16)
    assert_same_rows(static.forward(ids[17:18], cut), static.forward(ids[17:18], whole))
    assert len(static._steps[cut]) == 3  # two before, and one of its own


@pytest.mark.usefixtures("torch_only")
@torch.inference_mode()
def test_what_lies_behind_the_mask_does_not_matter(tmp_path: Path) -> None:
    static = as_graph_decoder(load_tiny(make_tiny_checkpoint(tmp_path, "llama")))
    ids, cache, dirty = ids_of(20), static.new_cache(64), static.new_cache(64)
    for layer in dirty.layers:
        layer.normal_(generator=torch.Generator().manual_seed(3))
    wanted = static.forward(ids, cache), static.forward(ids[:3], cache)
    got = static.forward(ids, dirty), static.forward(ids[:3], dirty)
    assert torch.equal(torch.cat(got), torch.cat(wanted))


@pytest.mark.usefixtures("torch_only")
@torch.inference_mode()
def test_steps_are_let_go_with_their_cache(tmp_path: Path) -> None:
    static = as_graph_decoder(load_tiny(make_tiny_checkpoint(tmp_path, "llama")))
    cache = static.new_cache(64)
    static.step(3, cache)
    assert len(static._steps) == 1
    del cache
    assert len(static._steps) == 0


def greedy(decoder: Decoder, ids: list[int], n: int) -> list[Tensor]:
    """Logits of ``n`` greedy steps."""
    cache = decoder.new_cache(len(ids) + n)
    logits = decoder.prefill(torch.tensor(ids), cache, lambda: False)
    assert logits is not None
    found = [logits]
    while len(found) < n:
        found.append(decoder.step(int(found[-1].argmax()), cache))
    return found


def assert_parts_at_a_near_tie(got: list[Tensor], wanted: list[Tensor]) -> None:
    """The same tokens, or a first difference at a near-tie."""
    for ours, theirs in zip(got, wanted, strict=True):
        if ours.argmax() != theirs.argmax():
            assert gap_in_ulps(theirs, int(ours.argmax()), int(theirs.argmax())) <= PARTING_ULPS
            return


PROMPTS = ("What is the capital of France?", "Write three sentences about the sea.", TEXT)


@pytest.mark.usefixtures("torch_only")
@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param(text, id=name, marks=() if name == "short" else pytest.mark.slow)
        for name, text in zip(("short", "middle", "long"), PROMPTS, strict=True)
    ],
)
@torch.inference_mode()
def test_static_steps_write_the_eager_answer_on_real_weights(models_dir: Path, prompt: str) -> None:
    pool = ModelPool(models_dir)
    opened = open_model(pool, SMALL)
    weights = opened.checkpoint.open_weights
    loaded = load_decoder(opened.config, weights, Precision.BF16, models_dir, lambda _: None, lambda: None)
    eager = loaded.decoder
    ids = opened.tokenizer.encode_chat([Message("user", prompt)])
    assert_parts_at_a_near_tie(greedy(as_graph_decoder(eager), ids, 24), greedy(eager, ids, 24))


# --- a whole model ----------------------------------------------------------------------------------

LIMITS = {
    Precision.INT8: (0.2, 2.0),
    Precision.LLM_INT8: (0.05, 1.0),
    Precision.INT4: (0.03, 0.75),
    Precision.NF4: (0.60, 4.0),
}
"""Largest mean KLD, and how far below the 16-bit model's best a choice may lie, in nats, on a short text."""


@pytest.mark.parametrize("precision", LIMITS)
@torch.inference_mode()
def test_the_layouts_for_cuda_stay_within_bounds_of_sixteen_bits(
    models_dir: Path, tmp_path: Path, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    tinygemm_works.cache_clear()
    monkeypatch.setattr("engine.models.decoders.weights._scheme", lambda config, p, device: cuda_scheme_of(p, device))
    opened = open_model(ModelPool(models_dir), SMALL)
    ids = torch.tensor(opened.tokenizer.encode_chat([Message("user", TEXT)]))

    def log_probabilities(wanted: Precision) -> Tensor:
        found = opened.checkpoint
        codes = (found.open_codes, found.codes_sha256)
        loaded = load_decoder(opened.config, found.open_weights, wanted, tmp_path, lambda _: None, lambda: None, *codes)
        return chunked_logits(loaded.decoder, ids, [len(ids)]).double().log_softmax(-1)[TEMPLATE_TOKENS:]

    p, q = log_probabilities(Precision.BF16), log_probabilities(precision)
    kld = (p.exp() * (p - q)).sum(-1).mean()
    largest, furthest = LIMITS[precision]
    assert 1e-7 < kld < largest
    assert bool((changed_choices(p, q) < furthest).all())


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8, Precision.INT4, Precision.NF4])
@torch.inference_mode()
def test_nothing_strays_to_the_cpu(tmp_path: Path, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.quantization.int4.tinygemm_works", lambda device: False)
    monkeypatch.setattr("engine.models.decoders.weights.save_file", lambda tensors, path: Path(path).touch())
    folder = make_tiny_checkpoint(tmp_path, "qwen3", hidden_size=128, intermediate_size=256)
    config = DecoderConfig.from_hf(AutoConfig.from_pretrained(folder))
    weights = partial(StoredWeights, "tiny", sorted(folder.glob("*.safetensors")), config.tensors())
    loaded = load_decoder(
        config, weights, precision, tmp_path / "packed", lambda _: None, lambda: None, device=ELSEWHERE
    )
    decoder = loaded.decoder
    assert isinstance(decoder, GraphDecoder)
    assert {layer.device for layer in decoder.new_cache(8).layers} == {ELSEWHERE}
    for forward in (decoder.forward, lambda ids, cache: EagerDecoder.forward(decoder, ids, cache)):
        cache = decoder.new_cache(64)
        for rows in (20, 5, 1):
            assert forward(ids_of(rows), cache).device == ELSEWHERE
        assert decoder.head(forward(ids_of(1), cache)).device == ELSEWHERE
    if precision is not Precision.BF16:
        (file,) = (tmp_path / "packed").glob("*.safetensors")
        assert f"{precision}-meta-" in file.name, "a layout of the CPU could be taken for it"


# --- on a GPU ---------------------------------------------------------------------------------------


@needs_cuda
@pytest.mark.parametrize("rows", [1, 4, 60])
def test_int4s_kernel_on_a_gpu(rows: int) -> None:
    assert tinygemm_works(torch.device("cuda", 0))
    weight, x = matrix(64, 192).cuda(), matrix(rows, 192, seed=1).cuda()
    plain, fast = PlainInt4Linear.pack(weight, None), TinyGemmInt4Linear.pack(weight, None)
    assert relative_error(fast(x), plain(x)) < 0.01
    assert relative_error(fast.dequantize(), plain.dequantize()) < 0.01


@needs_cuda
@pytest.mark.parametrize("cls", BOUNDS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_a_gpu_multiplies_as_the_cpu_does(cls: type[Linear], rows: int) -> None:
    weight, x = matrix(192, 256), matrix(rows, 256, seed=1)
    x[:, 9] = 40.0
    assert relative_error(cls.pack(weight.cuda(), None)(x.cuda()).cpu(), cls.pack(weight, None)(x)) < 0.01


def on_gpu(folder: Path, precision: Precision) -> Decoder:
    config = DecoderConfig.from_hf(AutoConfig.from_pretrained(folder))
    weights = partial(StoredWeights, "tiny", sorted(folder.glob("*.safetensors")), config.tensors())
    gpu = torch.device("cuda", 0)
    packed = folder / "packed"
    return load_decoder(config, weights, precision, packed, lambda _: None, lambda: None, device=gpu).decoder


@needs_cuda
@pytest.mark.parametrize("precision", [p for p in PRECISIONS if p is not Precision.LLM_INT8])
@torch.inference_mode()
def test_graphs_are_captured_and_give_the_eager_steps(tmp_path: Path, precision: Precision) -> None:
    decoder = on_gpu(make_tiny_checkpoint(tmp_path, "qwen3", hidden_size=128, intermediate_size=256), precision)
    assert isinstance(decoder, GraphDecoder)
    ids = ids_of(60)
    cache = decoder.new_cache(60)
    got = torch.cat([decoder.logits(decoder.forward(part, cache)) for part in ids.split([20, 1, 5, 1, 16, 17])])
    assert all(step._replay for step in decoder._steps[cache].values())
    eager: Callable[[Tensor, KVCache], Tensor] = lambda part, into: EagerDecoder.forward(decoder, part, into)  # noqa: E731
    cache = decoder.new_cache(60)
    wanted = torch.cat([decoder.logits(eager(part, cache)) for part in ids.split([20, 1, 5, 1, 16, 17])])
    assert_same_rows(got, wanted)


@needs_cuda
@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_an_engine_answers_on_a_gpu(models_dir: Path, precision: Precision) -> None:
    engine = Engine(models_dir, device=DeviceChoice.CUDA)
    request = request_for("What is the capital of France?", precision=precision, max_tokens=16)
    run = finish(engine, request)
    likely = [token.p for token in engine.compare_answer(request, run.token_ids).tokens]
    engine.close()
    assert np.log(likely).mean() > -2, "the 16-bit model would hardly say that"
    assert run.environment["device"] == torch.cuda.get_device_name(0)
