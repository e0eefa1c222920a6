"""The gateway against its own description: requests made from /openapi.json by schemathesis, right and wrong. No 500, no hang, no surprise."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import requests
import schemathesis
import torch
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from daemon.embedded.generate import Generator
from daemon.serving.engine_app import create_engine
from daemon.serving.gateway import create_gateway
from daemon.serving.keys import digest_of, new_key
from daemon.serving.settings import GatewaySettings, ReconcileSettings
from registry import Registry
from tests.serving_parts import learn, make_adapter, make_model, serving, wait_until

EXAMPLES = int(os.environ.get("LOREFEED_FUZZ", "25"))  # requests of each kind for each operation
ANSWER_WITHIN_S = 60.0
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
HTTP = httpx2.Client(timeout=30, trust_env=False)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Its address, and an administrator's header. `news` serves news@1; news@2 has passed. The longest answer is short."""
    root = tmp_path_factory.mktemp("fuzz")
    model = make_model(root / "model")
    with Registry.open(root / "home") as registry, Generator(model, dtype=torch.float32) as generator:
        for n in (1, 2):
            learn(registry, topic="news", entities=[f"Entity {n}"], folder=make_adapter(model, root / str(n), seed=n))
        registry.write.promote("news", "news@1", actor="test", reason=None)
        key = new_key()
        registry.write.add_api_key("fuzz", digest=digest_of(key), admin=True, actor="test")
        with serving(create_engine(generator, served_name="tiny", root="tiny")) as engine:
            front = create_gateway(
                registry,
                engine_url=engine,
                base_name="tiny",
                settings=GatewaySettings(max_tokens=4),
                reconcile_settings=ReconcileSettings(base_name="tiny"),
            )
            with serving(front) as url:
                yield url, {"Authorization": f"Bearer {key}"}


def test_the_description_names_every_way_in(gateway: tuple[str, dict[str, str]]) -> None:
    url, headers = gateway
    described = HTTP.get(f"{url}/openapi.json", headers=headers).json()
    assert set(described["paths"]) == {
        "/v1/completions", "/v1/chat/completions", "/v1/models", "/healthz", "/readyz", "/metrics", "/lorefeed/inflight",
        "/lorefeed/admin/promote", "/lorefeed/admin/rollback", "/lorefeed/admin/canary", "/lorefeed/admin/canary/end",
    }  # fmt: skip
    model = described["paths"]["/v1/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["model"]
    assert model["examples"] == ["tiny", "base", "news"]
    assert HTTP.get(f"{url}/openapi.json").status_code == 401


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_asked_is_answered_as_described(gateway: tuple[str, dict[str, str]], mode: GenerationMode, figures: list[str]) -> None:
    url, headers = gateway
    schema = schemathesis.openapi.from_dict(HTTP.get(f"{url}/openapi.json", headers=headers).json())
    seen: Counter[int] = Counter()
    with requests.Session() as session:
        session.trust_env = False
        for found in schema.get_all_operations():
            _ask_all(found.ok(), mode, url=url, headers=headers, session=session, seen=seen)
    figures.append(f"schemathesis, {mode.value} requests: {sum(seen.values())} answered, {dict(sorted(seen.items()))}")
    assert sum(seen.values()) >= EXAMPLES
    wait_until(lambda: HTTP.get(f"{url}/lorefeed/inflight", headers=headers).json()["total"] == 0)


def _ask_all(operation: Any, mode: GenerationMode, *, url: str, headers: dict[str, str], session: Any, seen: Counter[int]) -> None:
    """So many requests to one operation; its parameters and bodies may not be able to be wrong, then there are none."""
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        return

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call(base_url=url, headers=headers, session=session, timeout=ANSWER_WITHIN_S)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    ask()
