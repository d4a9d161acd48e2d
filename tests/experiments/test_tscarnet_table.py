"""Table 1 of TSCARNet's paper: one schedule for all, cells measured once, published rows named so."""

import numpy as np
import pytest

from jaxqc.config import load_config
from jaxqc.data.dataset import Dataset
from jaxqc.errors import UserError
from jaxqc.experiments.tscarnet_table import MEMBERS, cells_of, markdown, run_cells
from jaxqc.saliency.networks import objective_of
from scripts import reproduce_tscarnet_table

DATA = Dataset("steel", ("In", "Pa", "Sc"), ())


def test_all_have_one_schedule_and_their_own_loss_and_rate():
    cells = cells_of(list(MEMBERS), 2)
    assert len(cells) == 2 * len(MEMBERS)
    assert {(c.config.phases, c.config.augment, c.config.data, c.config.eval_size) for c in cells} == {
        (cells[0].config.phases, cells[0].config.augment, cells[0].config.data, 224)
    }
    own = {cell.member: cell.config for cell in cells}
    assert own["PP-LiteSeg-T"].model.name == "pp_liteseg_t"
    assert own["MINet"].optim == load_config("minet_sd900").optim
    assert len({type(objective_of(config)) for config in own.values()}) == len(MEMBERS) - 1, "PP-LiteSeg is there twice"
    assert len({cell.key(DATA) for cell in cells}) == len(cells)
    with pytest.raises(UserError, match=r"no row 'MInet' \(did you mean 'MINet'\?\)"):
        cells_of(["MInet"], 1)


def test_what_is_measured_stays_measured(tmp_path):
    cells, calls = cells_of(["MINet", "TSCARNet"], 2), []

    def measure(cell, data, folder, progress):
        calls.append(cell.line())
        folder.mkdir(parents=True)
        value = round(0.8 + 0.1 * cell.config.seed, 3)
        measures = dict.fromkeys(("e_adaptive", "weighted_f", "s_measure", "mae"), value)
        return {**measures, "parameters": 1234, "seconds": 3.0, "steps": 6, "images": 90}

    first = next(run_cells(cells, DATA, tmp_path, measure=measure))[1]
    assert calls == ["MINet, seed 0"]
    found = list(run_cells(cells, DATA, tmp_path, measure=measure))
    assert (len(calls), found[0][1]) == (4, first)
    assert not list((tmp_path / "runs").iterdir())
    table = markdown(found).splitlines()
    deviation = np.std([0.8, 0.9], ddof=1)
    assert table[2] == f"| MINet | 1,234 | 2 | {' | '.join([f'0.8500 ± {deviation:.4f}'] * 4)} | 0.500 ± 0.000 |"
    assert (
        "| TSCARNet | 0.9757 | 0.9407 | 0.9501 | 0.0110 |"
        in table[table.index("Published, of the authors' own runs:") :]
    )


def test_mistakes_are_one_line(tmp_path, capsys):
    command = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert reproduce_tscarnet_table.main([*command, "--seeds", "0"]) == 2
    assert capsys.readouterr().err == "reproduce_tscarnet_table: --seeds 0: give 1 or more\n"
