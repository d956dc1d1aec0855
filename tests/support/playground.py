"""What the tests of the playground's page share: its widgets, two scripted engines, and what one does there."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from app.session import playground as session
from app.settings import REPOSITORY
from engine.types import Backend, GenerationRequest
from tests.support.fakes import FakeEngine, FakeGeneration

ENTRY = str(REPOSITORY / "streamlit_app.py")
RUN = "playground-run"
STOP = "playground-stop"
SAMPLE = "playground-sample"
LANE_A, LANE_B = map(session.lane_form, session.LANES)


class Lanes(FakeEngine):
    """Answers the reference backend with one script and everything else with another."""

    def __init__(self, plain: FakeEngine, optimised: FakeEngine) -> None:
        super().__init__()
        self.plain, self.optimised = plain, optimised

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        lane = self.plain if request.config.backend is Backend.REFERENCE else self.optimised
        self.requests.append(request)
        return lane.generate(request)


def run(page: AppTest) -> AppTest:
    page.button(key=RUN).click().run()
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    """All that is written on the page apart from its widgets."""
    alerts = [*page.success, *page.warning, *page.info, *page.error]
    titles = [alert.proto.title for alert in alerts]
    texts = [element.value for element in [*page.text, *page.caption, *page.markdown, *alerts]]
    return "\n".join([*titles, *texts])


def set_rounds(page: AppTest, rounds: int) -> AppTest:
    page.segmented_control(key=session.ROUNDS).set_value(rounds)
    return page


def speculate(page: AppTest, drafter: str = "auto", gamma: int | None = None) -> AppTest:
    """Turn lane B's gear on."""
    page.toggle(key=LANE_B.key("speculation")).set_value(True).run()
    page.selectbox(key=LANE_B.key("drafter")).set_value(drafter)
    page.number_input(key=LANE_B.key("gamma")).set_value(gamma)
    page.run()
    assert not page.exception
    return page
