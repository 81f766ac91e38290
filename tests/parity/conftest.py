"""Truth for the chosen files, recorded once; the summary table at the end."""

from collections import Counter
from collections.abc import Callable, Generator
from statistics import median
from typing import Any

import pytest

from runner import settings as runner_settings

import hard
from cases import KINDS, Case, hard_cases
from truth import Cache, Truth, record


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record",
        action="store_true",
        help="write the hard cases' truth and node definitions beside them, for tests/unit",
    )


@pytest.fixture(scope="session")
def cache(request: pytest.FixtureRequest) -> Cache:
    """Holds the truth of every file that this session tests."""
    comfyui_dir = runner_settings.from_environment().comfyui_dir
    found = Cache.of(comfyui_dir)
    to_record = request.config.getoption("--record")
    chosen = [item.callspec.params["case"] for item in request.session.items
              if isinstance(item, pytest.Function) and hasattr(item, "callspec")]  # fmt: skip
    cases = list(dict.fromkeys([*chosen, *(hard_cases() if to_record else [])]))
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # it takes minutes: progress is to be seen
        record(cases, found, comfyui_dir)
    if to_record:
        _record_hard_cases(found)
    return found


@pytest.fixture
def truth_of(cache: Cache) -> Callable[[Case], Truth]:
    def truth_of(case: Case) -> Truth:
        found = cache.get(case)
        assert found, f"{case} was not recorded"
        return found

    return truth_of


@pytest.fixture(scope="session")
def object_info(cache: Cache) -> dict[str, Any]:
    return cache.object_info()


def _record_hard_cases(cache: Cache) -> None:
    hard.write_object_info(hard_cases(), cache.object_info())
    for case in hard_cases():
        truth = cache.get(case)
        hard.write_truth(case, truth.prompt if truth and not truth.failure else None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Generator[None]:
    """One line per kind of file: how many are exact, how the others differ, how long it takes."""
    yield
    verdicts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for report in (each for reports in terminalreporter.stats.values() for each in reports):
        properties = dict(getattr(report, "user_properties", ()))
        if getattr(report, "when", None) == "call" and "kind" in properties:
            verdicts[properties["kind"]][properties.get("verdict", "raise")] += 1
            times[properties["kind"]] += [properties["ms"]] if "ms" in properties else []
    if not any(verdicts.values()):
        return
    terminalreporter.section("parity with the editor")
    terminalreporter.write_line(f"{'':10} files  exact  median ms  not exact")
    for kind, found in verdicts.items():
        if found:
            others = ", ".join(
                f"{n} {verdict}" for verdict, n in found.items() if verdict != "exact"
            )
            middle = f"{median(times[kind]):.1f}" if times[kind] else "–"
            terminalreporter.write_line(
                f"{kind:10} {found.total():5}  {found['exact']:5}  {middle:>9}  {others}".rstrip()
            )
