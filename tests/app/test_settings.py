from pathlib import Path

import pytest

from app.secrets import new_key
from app.settings import REPOSITORY, Settings, SettingsError
from engine.types import DeviceChoice


def test_defaults_lie_in_the_repository() -> None:
    settings = Settings.from_env({})
    assert settings.data_dir == REPOSITORY / "data"
    assert settings.models_dir == REPOSITORY / "data" / "models"
    assert settings.database_url == f"sqlite:///{REPOSITORY / 'data' / 'gearbox.db'}"
    assert settings.threads is None


def test_the_data_folder_moves_models_and_database(tmp_path: Path) -> None:
    settings = Settings.from_env({"GEARBOX_DATA_DIR": str(tmp_path)})
    assert settings.models_dir == tmp_path / "models"
    assert settings.database_url == f"sqlite:///{tmp_path / 'gearbox.db'}"


def test_a_relative_data_folder_and_a_home_folder_are_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Settings.from_env({"GEARBOX_DATA_DIR": "kept"}).data_dir == tmp_path / "kept"
    assert Settings.from_env({"GEARBOX_DATA_DIR": "~/kept"}).data_dir == tmp_path / "home" / "kept"


def test_the_database_can_lie_elsewhere(tmp_path: Path) -> None:
    url = "postgresql+psycopg://gearbox@db/runs"
    settings = Settings.from_env({"GEARBOX_DATA_DIR": str(tmp_path), "GEARBOX_DATABASE_URL": url})
    assert settings.database_url == url
    assert settings.data_dir == tmp_path


def test_a_variable_set_to_nothing_counts_as_unset() -> None:
    empty = {"GEARBOX_DATA_DIR": "", "GEARBOX_DATABASE_URL": "", "GEARBOX_THREADS": " "}
    assert Settings.from_env(empty) == Settings.from_env({})


def test_threads_are_read() -> None:
    assert Settings.from_env({"GEARBOX_THREADS": " 3 "}).threads == 3


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5", "²", "٣"])
def test_threads_that_are_no_count_are_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="GEARBOX_THREADS"):
        Settings.from_env({"GEARBOX_THREADS": value})


def test_model_memory_is_read_in_mebibytes() -> None:
    assert Settings.from_env({"GEARBOX_MODEL_MEMORY_MIB": "512"}).model_memory_bytes == 512 * 2**20
    with pytest.raises(SettingsError, match="GEARBOX_MODEL_MEMORY_MIB"):
        Settings.from_env({"GEARBOX_MODEL_MEMORY_MIB": "1 GiB"})


def test_how_long_runs_go_on_unwatched_is_read() -> None:
    assert Settings.from_env({}).unwatched_s == 60
    assert Settings.from_env({"GEARBOX_UNWATCHED_S": "5"}).unwatched_s == 5
    with pytest.raises(SettingsError, match="GEARBOX_UNWATCHED_S"):
        Settings.from_env({"GEARBOX_UNWATCHED_S": "0"})


def test_the_device_is_read() -> None:
    assert Settings.from_env({}).device is DeviceChoice.AUTO
    assert Settings.from_env({"GEARBOX_DEVICE": " cuda "}).device is DeviceChoice.CUDA
    with pytest.raises(SettingsError, match="GEARBOX_DEVICE must be one of auto, cpu, cuda, and is 'gpu'"):
        Settings.from_env({"GEARBOX_DEVICE": "gpu"})


def test_the_kv_cache_budget_and_the_share_verified_are_read() -> None:
    settings = Settings.from_env({"GEARBOX_KV_CACHE_MIB": "0", "GEARBOX_VERIFY_CACHE": "0.25"})
    assert (settings.kv_cache_bytes, settings.verify_cache) == (0, 0.25)
    assert Settings.from_env({"GEARBOX_KV_CACHE_MIB": "3"}).kv_cache_bytes == 3 * 2**20
    assert Settings.from_env({}).verify_cache == 0


@pytest.mark.parametrize("value", ["yes", "-0.1", "1.5", "nan", "inf"])
def test_a_share_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="GEARBOX_VERIFY_CACHE"):
        Settings.from_env({"GEARBOX_VERIFY_CACHE": value})


def prompts_file(folder: Path, *lines: str) -> dict[str, str]:
    path = folder / "shared.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return {"GEARBOX_SHARED_PROMPTS": str(path)}


def test_shared_prompts_are_read_by_name(tmp_path: Path) -> None:
    environ = prompts_file(
        tmp_path,
        '{"name": "clerk", "system": "  You are a clerk.\\nBe brief.\\n"}',
        "",
        '{"system": "Tu es\u2028un guide.", "name": "guide"}',
    )
    assert Settings.from_env(environ).shared_prompts == {
        "clerk": "You are a clerk.\nBe brief.",
        "guide": "Tu es\u2028un guide.",
    }
    assert Settings.from_env({}).shared_prompts == {}


@pytest.mark.parametrize(
    "line",
    [
        '{"name": "clerk"}',
        '{"name": "clerk", "system": " "}',
        '{"name": "", "system": "You are a clerk."}',
        '{"name": 1, "system": "You are a clerk."}',
        '{"name": "clerk", "system": "You are a clerk.", "for": "all"}',
    ],
)
def test_a_line_that_shares_no_prompt_is_named(tmp_path: Path, line: str) -> None:
    environ = prompts_file(tmp_path, '{"name": "guide", "system": "You are a guide."}', line)
    with pytest.raises(SettingsError, match=r"Line 2 of .*shared\.jsonl \(GEARBOX_SHARED_PROMPTS\) must be"):
        Settings.from_env(environ)


@pytest.mark.parametrize("line", ["clerk", "[1]", "[" * 100_000, '{"name": NaN}'])
def test_a_line_that_is_no_json_object_is_named(tmp_path: Path, line: str) -> None:
    environ = prompts_file(tmp_path, '{"name": "guide", "system": "You are a guide."}', line)
    with pytest.raises(SettingsError, match=r"GEARBOX_SHARED_PROMPTS must be .*shared\.jsonl.*Line 2: ") as refused:
        Settings.from_env(environ)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", ["GEARBOX_THREADS", "GEARBOX_MODEL_MEMORY_MIB", "GEARBOX_KV_CACHE_MIB"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_a_count_of_many_digits_is_refused(name: str, digits: int) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be a whole number"):
        Settings.from_env({name: "9" * digits})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"name": "guide", "system": "Other."}', "second prompt 'guide'"),
        ('{"name": "other", "system": "Guide."}', "stands there already"),
    ],
)
def test_a_prompt_is_shared_under_one_name(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Settings.from_env(prompts_file(tmp_path, '{"name": "guide", "system": "Guide."}', line))


def test_a_file_of_shared_prompts_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(SettingsError, match="GEARBOX_SHARED_PROMPTS must be a text file that can be read"):
            Settings.from_env({"GEARBOX_SHARED_PROMPTS": str(path)})
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SettingsError, match="GEARBOX_SHARED_PROMPTS"):
        Settings.from_env({"GEARBOX_SHARED_PROMPTS": str(tmp_path / "latin.jsonl")})


@pytest.mark.parametrize("folder", ["/srv/caf\udce9", "~nobody-of-this-name/data"])
def test_a_data_folder_that_cannot_be_used_is_refused_in_words(folder: str) -> None:
    with pytest.raises(SettingsError, match="GEARBOX_DATA_DIR") as refused:
        Settings.from_env({"GEARBOX_DATA_DIR": folder})
    assert str(refused.value).encode()


def test_who_sees_what_and_how_long_one_may_be_away_are_the_administrators_to_say() -> None:
    plain = Settings.from_env({})
    assert (plain.shared_desk, plain.away_s) == (False, 1800.0)
    told = Settings.from_env({"GEARBOX_SHARED_DESK": "1", "GEARBOX_AWAY_MINUTES": "5"})
    assert (told.shared_desk, told.away_s) == (True, 300.0)
    assert not Settings.from_env({"GEARBOX_SHARED_DESK": "0"}).shared_desk
    assert Settings.from_env({"GEARBOX_AWAY_MINUTES": "0"}).away_s == 0.0
    with pytest.raises(SettingsError, match="GEARBOX_SHARED_DESK must be 1 for yes or 0 for no"):
        Settings.from_env({"GEARBOX_SHARED_DESK": "yes"})
    with pytest.raises(SettingsError, match="GEARBOX_AWAY_MINUTES"):
        Settings.from_env({"GEARBOX_AWAY_MINUTES": "-1"})


def test_the_api_is_switched_on_for_others_and_its_requests_have_a_size() -> None:
    assert not Settings.from_env({}).api
    assert Settings.from_env({"GEARBOX_API": "1"}).api
    assert Settings.from_env({}).max_body == 2 * 2**20
    assert Settings.from_env({"GEARBOX_MAX_BODY_MIB": "5"}).max_body == 5 * 2**20
    for name in ("GEARBOX_API", "GEARBOX_MAX_BODY_MIB"):
        with pytest.raises(SettingsError, match=name):
            Settings.from_env({name: "on"})


def test_a_password_comes_from_the_environment_or_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("correct horse\n")
    assert Settings.from_env({}).password is None
    for environ in ({"GEARBOX_PASSWORD": "correct horse"}, {"GEARBOX_PASSWORD_FILE": str(file)}):
        settings = Settings.from_env(environ)
        assert settings.password == "correct horse"
        assert "correct" not in repr(settings)


@pytest.mark.parametrize("password", ["short", "\udcff" * 9])
def test_a_password_that_is_none_is_refused_without_repeating_it(password: str) -> None:
    with pytest.raises(SettingsError, match="The password must") as caught:
        Settings.from_env({"GEARBOX_PASSWORD": password})
    assert password not in str(caught.value)


def test_a_password_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with pytest.raises(SettingsError, match="GEARBOX_PASSWORD_FILE must be a text file"):
        Settings.from_env({"GEARBOX_PASSWORD_FILE": str(file)})
    file.write_text("\n")
    with pytest.raises(SettingsError, match="at least 8 characters"):
        Settings.from_env({"GEARBOX_PASSWORD_FILE": str(file)})
    with pytest.raises(SettingsError, match="choose one"):
        Settings.from_env({"GEARBOX_PASSWORD_FILE": str(file), "GEARBOX_PASSWORD": "correct horse"})


def test_who_may_come_in_by_a_provider_is_a_list_of_addresses() -> None:
    environ = {"GEARBOX_LOGIN_EMAILS": " Anna@Example.com, *@example.org ,"}
    assert Settings.from_env(environ).login_emails == ("anna@example.com", "*@example.org")
    for wrong in ("anna", "*", "@example.org", "a@b@c", "*.example.org", "anna @example.com"):
        with pytest.raises(SettingsError, match="GEARBOX_LOGIN_EMAILS must list"):
            Settings.from_env({"GEARBOX_LOGIN_EMAILS": wrong})


def test_the_server_of_a_judge_and_its_key_are_read() -> None:
    given = {"GEARBOX_JUDGE_URL": " https://judge.example/v1 ", "GEARBOX_JUDGE_KEY": "sk-secret\n"}
    settings = Settings.from_env(given)
    assert (settings.judge_url, settings.judge_key) == ("https://judge.example/v1", "sk-secret")
    assert "sk-secret" not in repr(settings)
    assert (Settings.from_env({}).judge_url, Settings.from_env({}).judge_key) == (None, None)


@pytest.mark.parametrize(
    "given",
    [
        {"GEARBOX_JUDGE_URL": "judge"},
        {"GEARBOX_JUDGE_URL": "https://me:sk-secret@judge.example"},
        {"GEARBOX_JUDGE_URL": "https://judge.example", "GEARBOX_JUDGE_KEY": "sk-secret\r\nX: 1"},
    ],
)
def test_a_judge_that_cannot_be_asked_is_refused_without_telling_the_key(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="GEARBOX_JUDGE_URL or GEARBOX_JUDGE_KEY") as refused:
        Settings.from_env(given)
    assert "sk-secret" not in str(refused.value)


def test_secret_keys_come_from_the_environment_or_a_file_and_are_never_shown(tmp_path: Path) -> None:
    new, old = new_key(), new_key()
    file = tmp_path / "key"
    file.write_text(f"{new},\n{old}\n")
    assert Settings.from_env({}).secret_keys == ()
    for environ in ({"GEARBOX_SECRET_KEY": f" {new}, {old},{new}"}, {"GEARBOX_SECRET_KEY_FILE": str(file)}):
        settings = Settings.from_env(environ)
        assert settings.secret_keys == (new, old)
        assert new not in repr(settings)


@pytest.mark.parametrize("key", ["passphrase", "A" * 44, "A" * 43 + "=,x", "\udcff" * 44])
def test_a_secret_key_that_is_none_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(SettingsError, match="gearbox secret-key") as caught:
        Settings.from_env({"GEARBOX_SECRET_KEY": key})
    assert key not in str(caught.value)


def test_a_secret_key_does_not_lie_beside_the_database(tmp_path: Path) -> None:
    file = tmp_path / "data" / "key"
    file.parent.mkdir()
    file.write_text(new_key())
    with pytest.raises(SettingsError, match="lies in the data folder"):
        Settings.from_env({"GEARBOX_DATA_DIR": str(tmp_path / "data"), "GEARBOX_SECRET_KEY_FILE": str(file)})
