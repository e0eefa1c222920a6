"""Every setting, once: defaults < `lorefeed.toml` in the home < environment (`LOREFEED_*`) < systemd's credentials. Knows no registry and no torch.

Unknown keys are refused. What each key means is in `sections.py`; `lorefeed config` prints the result.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

from platformdirs import user_data_path
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, NestedSecretsSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.errors import ConfigError
from daemon.references import file_of_reference
from daemon.sections import (
    Canary,
    Check,
    Daemon,
    Elicit,
    Engine,
    Extract,
    Gateway,
    Gc,
    Learn,
    Notify,
    Novelty,
    Retention,
    Signing,
    Sources,
    Watermarks,
)

CONFIG_FILE = "lorefeed.toml"


class Settings(BaseSettings):
    """All of it, frozen."""

    model_config = SettingsConfigDict(env_prefix="LOREFEED_", env_nested_delimiter="__", extra="forbid", frozen=True)

    home: Path = Field(description="the directory that holds all state")
    model: str = Field("embedded", description="'embedded', a folder, or the id of any Hugging Face causal language model")
    revision: str | None = Field(None, description="revision of a Hugging Face model; pin it")
    sources: Sources = Sources()
    extract: Extract = Extract()
    novelty: Novelty = Novelty()
    elicit: Elicit = Elicit()
    learn: Learn = Learn()
    check: Check = Check()
    engine: Engine = Engine()
    gateway: Gateway = Gateway()
    canary: Canary = Canary()
    gc: Gc = Gc()
    daemon: Daemon = Daemon()
    watermarks: Watermarks = Watermarks()
    notify: Notify = Notify()
    retention: Retention = Retention()
    signing: Signing = Signing()

    @property
    def served_name(self) -> str:
        """The base model's name towards clients."""
        return "lorefeed-embedded" if self.model == "embedded" else self.model

    @property
    def private_key(self) -> Path | None:
        """The file of the key that signs new versions. ConfigError when it is a credential and none were handed over."""
        named = self.signing.private_key
        return None if named is None else file_of_reference(named, used_for="signing.private_key")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # the file's values arrive as init values, and the environment wins over the file; systemd's credentials (LoadCredential) win over
        # both: whoever keeps a key there wants it nowhere else
        given = os.environ.get("CREDENTIALS_DIRECTORY")
        keys = (NestedSecretsSettingsSource(file_secret_settings, secrets_dir=given, secrets_dir_missing="ok"),) if given else ()
        return *keys, env_settings, init_settings


def find_home(given: Path | None) -> Path:
    """`--home`, else `$LOREFEED_HOME`, else the user's data directory."""
    chosen = given or (Path(os.environ["LOREFEED_HOME"]) if os.environ.get("LOREFEED_HOME") else user_data_path("lorefeed"))
    return chosen.expanduser().resolve()


def load_settings(home: Path, **overrides: Any) -> Settings:
    """Settings of a home. Raises ConfigError that names the file, the key and the reason. A home given wins over $LOREFEED_HOME."""
    file = home / CONFIG_FILE
    written: dict[str, Any] = {}
    if file.exists():
        try:
            written = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            raise ConfigError(f"{file} is not valid TOML: {err}", hint=f"Correct {file}, or remove it to go back to the defaults.") from err
    try:
        settings = Settings(**{**written, "home": home, **overrides})
    except ValidationError as err:
        raise ConfigError(_sentence(err, file), hint="See all settings and their meaning: lorefeed config --explain") from err
    return settings if settings.home == home else settings.model_copy(update={"home": home})


def _sentence(err: ValidationError, file: Path) -> str:
    reasons = []
    for each in err.errors():
        key = ".".join(str(part) for part in each["loc"]) or "settings"
        if each["type"] == "extra_forbidden":
            reasons.append(f"unknown key {key!r}")
        else:
            reasons.append(f"{key}: {each['msg'].removeprefix('Value error, ')}")
    return f"The configuration ({file} and LOREFEED_* variables) cannot be used: {'; '.join(reasons)}."
