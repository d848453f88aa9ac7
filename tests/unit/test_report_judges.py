"""The report's comparison of judges, from their table in a real home."""

import json
import random
import re
from pathlib import Path

import pytest

from evaluation.detection import picture_of_truth
from evaluation.judge_bench import measure_judges
from evaluation.judges import pixels
from evaluation.judges.protocol import Judge
from t2i_assets.corpus.artifacts import read_ref
from t2i_assets.corpus.catalog import build_catalog
from t2i_assets.corpus.schemas import JUDGES
from t2i_assets.corpus.tables import write_table
from t2i_assets.report.page import write_report
from t2i_assets.synthweb.evaluation_set import shown
from t2i_assets.synthweb.scenes import sample_scene
from tests.sample_home import make_home
from tests.unit.test_judges import pictures_of


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Cells of the rows of the section about judges."""
    home = make_home(tmp_path_factory.mktemp("home"), samples=8, scenes=6)
    rng = random.Random(2)
    scenes = [sample_scene(rng) for _ in range(20)]
    truth = [picture_of_truth(json.dumps(shown(scene))) for scene in scenes]
    judge = Judge(pixels.VERSION, pixels.IMAGE_SIZE, pixels.PixelJudge())
    rows = measure_judges([("pixels", judge, pictures_of(scenes))], truth, disturbed=4, seed=0)
    write_table(read_ref(home, "judge").path / "judges.parquet", rows, JUDGES)
    build_catalog(home)
    out: Path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(home, out)
    html = out.read_text().split('<section id="judges">')[1].split("</section>")[0]
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]


def test_every_judge_has_its_ceilings_beside_the_floors_of_chance(section):
    (oracle,) = [row for row in section if row and row[0] == "oracle"]
    (judged,) = [row for row in section if row and row[0] == "pixels" and len(row) > 2]
    assert oracle[1:5] == ["100 %"] * 4
    assert judged[1] in ("95 %", "100 %")
    assert oracle[5] == "0 %" and judged[5] in ("0 %", "0.0 %")


def test_every_disturbance_is_a_row_with_a_column_for_each_judge(section):
    rows = {row[0]: row[1:] for row in section if row}
    assert rows["whole picture right, disturbed"] == ["pixels"]
    for condition in ("blur 0.35", "blur 1.0", "noise 0.12"):
        assert len(rows[condition]) == 1 and rows[condition][0].endswith("%")
